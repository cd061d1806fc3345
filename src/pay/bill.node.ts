/** One download's account (transfer's `Bill`): admits offers within the limits, notes who delivered what, and has it paid. */

import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { amountDue } from '../wire/wei.ts'
import { isNoWallet } from './address.ts'
import { checkBudget, worstCase } from './budget.ts'
import type { ChainConfig } from './networks.ts'
import type { PayerBook, TermsRow } from './payer-book.node.ts'
import { chunkBytes } from './receipts.ts'
import type { Settler } from './settler.node.ts'
import type { Bill, CheckedOffer, SettlementView } from './types.ts'
import type { Wallet } from './wallet.node.ts'

export interface BillDeps {
  readonly book: PayerBook
  readonly settler: Settler
  readonly chain: ChainConfig
  readonly log: Logger
  readonly wallet: () => Wallet | undefined
  /** The daily budget, and what everything but this bill has spent or set aside; undefined when none is configured. */
  readonly day: (bill: BillAccount) => { readonly limitWei: bigint; readonly committedWei: bigint } | undefined
  readonly onClose: (bill: BillAccount) => void
}

export class BillAccount implements Bill {
  readonly #deps: BillDeps
  readonly #id: number
  readonly #size: number
  readonly #maxCostWei: bigint | undefined
  readonly #free = new Set<string>()
  readonly #terms = new Map<string, TermsRow>()
  readonly #bytesByTerms = new Map<number, number>()
  #chunks = new Set<number>()
  #deliveredBytes = 0
  #dearest = 0n
  #open = true

  constructor(deps: BillDeps, id: number, size: number, maxCostWei: bigint | undefined) {
    this.#deps = deps
    this.#id = id
    this.#size = size
    this.#maxCostWei = maxCostWei
    for (const t of deps.book.terms(id)) this.#terms.set(t.seeder, t)
    this.#chunks = new Set(deps.book.chunksOf(id))
    for (const c of this.#chunks) this.#deliveredBytes += chunkBytes(size, c)
    this.#recount()
  }

  admit(offer: CheckedOffer, remainingBytes: number = this.#size - this.#deliveredBytes): void {
    const { pricePerMb: price, chainId, wallet: payee } = offer.offer
    if (price === 0n) return void this.#free.add(offer.seeder)
    const wallet = this.#deps.wallet()
    if (!wallet)
      throw new KithError('PAYMENTS_OFF', 'this seeder wants to be paid and this node has no wallet', {}, { hint: 'kith wallet create' })
    if (!wallet.canSign)
      throw new KithError('WALLET_LOCKED', 'the wallet is locked', {}, { hint: 'start kith with the passphrase of the wallet' })
    if (chainId !== this.#deps.chain.chainId)
      throw new KithError('WRONG_CHAIN', `this seeder is paid on chain ${chainId}, this node pays on ${this.#deps.chain.chainId}`, {
        chainId
      })
    if (payee.length !== 20 || isNoWallet(payee)) throw new KithError('INVALID_ADDRESS', 'this seeder wants to be paid and names no wallet')
    const remaining = Math.max(0, Math.min(remainingBytes, this.#size))
    checkBudget(this.#state(), price, remaining, this.#deps.day(this))
    this.#open = true
    this.#free.delete(offer.seeder)
    this.#terms.set(offer.seeder, this.#deps.book.saveTerms(this.#id, offer))
    if (price > this.#dearest) this.#dearest = price
  }

  delivered(seeder: string, protocol: string, chunk: number, bytes: number): void {
    if (this.#chunks.has(chunk)) return
    if (bytes !== chunkBytes(this.#size, chunk) || bytes === 0) {
      this.#deps.log.warn('a chunk of the wrong size is not paid for', { chunk, bytes })
      return
    }
    const terms = this.#free.has(seeder) ? undefined : this.#terms.get(seeder)
    if (terms && !this.#deps.book.addDelivery(this.#id, terms.id, chunk, protocol)) return
    this.#chunks.add(chunk)
    this.#deliveredBytes += bytes
    if (terms) this.#bytesByTerms.set(terms.id, (this.#bytesByTerms.get(terms.id) ?? 0) + bytes)
  }

  async settle(seeder: string | undefined, signal: AbortSignal): Promise<SettlementView> {
    try {
      const view = await this.#deps.settler.settle(this.#id, seeder, signal)
      if (seeder === undefined) {
        this.#deps.book.markSettled(this.#id)
        this.close()
      }
      return view
    } finally {
      this.#recount()
    }
  }

  get owedWei(): bigint {
    return this.#deps.book.invoices(this.#id).reduce((n, i) => (i.tx === null ? n + BigInt(i.total) : n), this.#unbilled())
  }
  get paidWei(): bigint {
    return this.#deps.book.invoices(this.#id).reduce((n, i) => (i.tx === null ? n : n + BigInt(i.total)), 0n)
  }
  /** The most this bill may still add to what is invoiced, for the daily budget of others. */
  get setAsideWei(): bigint {
    if (!this.#open) return this.#unbilled()
    return worstCase(this.#state(), 0n, this.#size - this.#deliveredBytes)
  }

  close(): void {
    this.#open = false
    this.#deps.onClose(this)
  }

  #state(): { maxCostWei: bigint | undefined; invoicedWei: bigint; unbilledWei: bigint; dearest: bigint } {
    const invoicedWei = this.#deps.book.invoices(this.#id).reduce((n, i) => n + BigInt(i.total), 0n)
    return { maxCostWei: this.#maxCostWei, invoicedWei, unbilledWei: this.#unbilled(), dearest: this.#dearest }
  }
  #unbilled(): bigint {
    const prices = new Map([...this.#terms.values()].map(t => [t.id, BigInt(t.price)]))
    let sum = 0n
    for (const [terms, bytes] of this.#bytesByTerms) sum += amountDue(bytes, prices.get(terms) ?? this.#priceOf(terms))
    return sum
  }
  /** Terms that a newer offer of the same seeder has replaced. */
  #priceOf(terms: number): bigint {
    return BigInt(this.#deps.book.terms(this.#id).find(t => t.id === terms)?.price ?? 0)
  }
  #recount(): void {
    this.#bytesByTerms.clear()
    for (const { terms, chunks } of this.#deps.book.openDeliveries(this.#id, undefined)) {
      this.#bytesByTerms.set(
        terms.id,
        chunks.reduce((n, c) => n + chunkBytes(this.#size, c.chunk), 0)
      )
    }
  }
}
