/**
 * Settlement from debt to told payees, in steps that each survive a crash: invoice stored, transaction stored, sent, confirmed, payees
 * told. An invoice is never taken forward twice at once: a patient caller waits for its turn, the background leaves it alone.
 */
import { bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { codeOf, hasCode, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { formatAddress } from './address.ts'
import type { Cashier } from './cashier.node.ts'
import type { JsonRpc } from './chain/rpc.node.ts'
import type { ChainSession } from './chain/session.ts'
import { makeInvoices, splitInvoice } from './invoicer.node.ts'
import { Mutex } from './mutex.ts'
import type { ChainConfig } from './networks.ts'
import type { InvoiceRow, PayerBook } from './payer-book.node.ts'
import type { Teller } from './teller.node.ts'
import type { Failpoint, SettlementView, Signer } from './types.ts'
import type { Wallet } from './wallet.node.ts'

export interface SettlerDeps {
  readonly book: PayerBook
  readonly rpc: JsonRpc
  readonly cashier: Cashier
  readonly teller: Teller
  readonly signer: Signer
  readonly wallet: () => Wallet | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly random: (n: number) => Uint8Array
  readonly failpoint: Failpoint
  /** Something is left to do later. */
  readonly onUnfinished: () => void
}

export class Settler implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #deps: SettlerDeps
  readonly #chain: ChainConfig
  readonly #invoicing = new Mutex()
  readonly #running = new Map<string, Promise<readonly Uint8Array[]>>()

  constructor(deps: SettlerDeps, chain: ChainConfig) {
    this.#deps = deps
    this.#chain = chain
  }

  /** Invoices what a bill owes (to one seeder or to all), pays it together with what is still unpaid of it, and tells the payees. */
  async settle(bill: number, seeder: string | undefined, signal: AbortSignal): Promise<SettlementView> {
    const { book } = this.#deps
    const wallet = this.#deps.wallet()
    if (wallet) await this.#invoicing.run(() => makeInvoices(this.#deps, bill, seeder, wallet.address))
    const unpaid = book.invoices(bill).filter(i => i.state === 'open' || i.state === 'signed')
    const mine = seeder === undefined ? unpaid : unpaid.filter(i => book.payees(i.id).some(p => p.seeder === seeder))
    const done = await Promise.all([...mine.map(i => this.advance(i.id, true, signal)), this.#tellAgain(bill, seeder, signal)])
    return this.view(done.flat())
  }

  /** Paid before, perhaps by an earlier process, but the seeder that asks for money has not heard of it. @returns the invoices it heard of now */
  async #tellAgain(bill: number, seeder: string | undefined, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const { book } = this.#deps
    if (seeder === undefined) return []
    const untold = (id: Uint8Array): boolean => book.payees(id).some(p => p.seeder === seeder && p.told === null)
    const paid = book.invoices(bill).filter(i => i.state === 'confirmed' && untold(i.id))
    await Promise.all(paid.map(i => this.advance(i.id, true, signal)))
    return paid.map(i => i.id).filter(id => !untold(id))
  }

  /**
   * Takes an invoice as far as it gets. Never throws: what is in the way is noted in the ledger.
   * @param patient waits for confirmations and for payees
   * @returns the invoices it became: itself, or its parts when it had to be split
   */
  advance(id: Uint8Array, patient: boolean, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const key = bytesToHex(id)
    const running = this.#running.get(key)
    if (running) return patient ? running.then(() => this.advance(id, patient, signal)) : Promise.resolve([id])
    const work = this.#advance(id, patient, AbortSignal.any([signal, this.#stop.signal])).finally(() => this.#running.delete(key))
    this.#running.set(key, work)
    return work
  }

  /** Stops waiting; what is unfinished goes on when it is opened again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.allSettled(this.#running.values())
  }

  /** One pass over everything unfinished, one after the other. @returns how many invoices are still unfinished */
  async retry(signal: AbortSignal): Promise<number> {
    const { book, wallet: walletOf, rpc, cashier } = this.#deps
    const wallet = walletOf()
    for (const i of book.unfinished()) {
      if (signal.aborted) break
      await this.advance(i.id, false, signal)
    }
    if (wallet && book.liveTransactions(wallet.address, this.#chain.chainId).some(t => t.kind === 'send')) {
      await cashier.sweepTransfers(await rpc.session(signal), wallet.address)
    }
    return book.unfinished().length
  }

  /** What a set of invoices came to. */
  view(ids: readonly Uint8Array[]): SettlementView {
    const { book } = this.#deps
    const rows = ids.map(id => book.invoice(id)).filter(r => r !== undefined && r.total !== '0') as InvoiceRow[]
    if (rows.length === 0)
      return { state: 'nothing-owed', tx: undefined, invoiceId: undefined, totalWei: 0n, gasUsed: undefined, payees: [] }
    const main = rows.at(-1)!
    const reason = rows.find(r => r.reason && r.state !== 'confirmed')?.reason
    const state = rows.every(r => r.state === 'confirmed')
      ? 'confirmed'
      : rows.every(r => r.state === 'open' || r.state === 'held')
        ? 'queued'
        : 'sent'
    const payees = rows
      .flatMap(r => book.payees(r.id))
      .map(p => ({
        seeder: p.seeder,
        wallet: formatAddress(p.wallet),
        amountWei: BigInt(p.amount),
        bytes: p.bytes
      }))
    return {
      state,
      tx: main.tx ?? undefined,
      invoiceId: bytesToHex(main.id),
      totalWei: rows.reduce((n, r) => n + BigInt(r.total), 0n),
      gasUsed: rows.every(r => r.gas_used === null) ? undefined : rows.reduce((n, r) => n + BigInt(r.gas_used ?? 0), 0n),
      payees,
      ...(reason ? { reason } : {})
    }
  }

  async #advance(id: Uint8Array, patient: boolean, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const { book, log } = this.#deps
    try {
      const parts = await this.#pay(id, patient, signal)
      for (const part of parts) await this.#afterwards(part, patient, signal)
      return parts
    } catch (error) {
      if (!signal.aborted) {
        log.debug('a payment waits', { invoice: bytesToHex(id), code: codeOf(error) })
        if (!(error instanceof KithError)) log.error('a payment failed unexpectedly', { error })
      }
      if (book.invoice(id)?.state !== 'confirmed') book.note(id, signal.aborted ? 'stopped before it was confirmed' : textOf(error))
      return [id]
    } finally {
      if (book.unfinished().length > 0) this.#deps.onUnfinished()
    }
  }

  /** Until confirmed, held, or (not patient, or out of time) sent. */
  async #pay(id: Uint8Array, patient: boolean, signal: AbortSignal): Promise<readonly Uint8Array[]> {
    const { book, clock, cashier, rpc, teller } = this.#deps
    const until = clock.monotonic() + (patient ? CONFIRM_POLLS * this.#chain.pollMs + this.#chain.confirmations * 30_000 : 0)
    let session: ChainSession | undefined
    for (;;) {
      const invoice = book.invoice(id)
      if (!invoice || invoice.state === 'confirmed' || invoice.state === 'held') return [id]
      const wallet = this.#wallet()
      if (invoice.state === 'open') {
        if (invoice.total === '0') {
          await teller.countersign(id, signal)
          book.settleForNothing(id)
          return [id]
        }
        await teller.countersign(id, signal)
        session = await rpc.session(signal) // says the chain id again before each signature
        if (await this.#sign(invoice, session, wallet)) continue
        const parts = splitInvoice(this.#deps, invoice)
        return (await Promise.all(parts.map(p => this.advance(p, patient, signal)))).flat()
      }
      session ??= await rpc.session(signal)
      if (!(await cashier.check(invoice, session, wallet.address))) {
        this.#deps.failpoint('tx:sent')
        if (clock.monotonic() >= until) return [id]
        await clock.sleep(this.#chain.pollMs, signal)
      }
    }
  }

  /** @returns false when the chain has no usable contract for several payees */
  async #sign(invoice: InvoiceRow, session: ChainSession, wallet: Wallet): Promise<boolean> {
    try {
      await this.#deps.cashier.sign(invoice, session, wallet)
      return true
    } catch (error) {
      if (!hasCode(error, 'SETTLEMENT_MISMATCH')) throw error
      this.#deps.log.warn('no settlement contract: paying one by one', { reason: textOf(error) })
      return false
    }
  }

  async #afterwards(id: Uint8Array, patient: boolean, signal: AbortSignal): Promise<void> {
    const { book, teller, cashier, rpc } = this.#deps
    const invoice = book.invoice(id)
    if (invoice?.state !== 'confirmed' || invoice.final === 1) return
    const told = await teller.tell(invoice, patient, signal)
    if (!patient && (await cashier.watch(invoice, await rpc.session(signal))) && told) book.finish(id)
  }

  #wallet(): Wallet {
    const wallet = this.#deps.wallet()
    if (!wallet) throw new KithError('PAYMENTS_OFF', 'this node has no wallet', {}, { hint: 'kith wallet create' })
    return wallet
  }
}

/** Looks at the chain before a transaction that nobody mines is left to the background. */
const CONFIRM_POLLS = 50
