/** The `PaymentGate` that transfer sees: bills for what this node downloads, credit for what it serves. */
import { bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { formatCoin } from '../wire/wei.ts'
import { isNoWallet, NO_WALLET } from './address.ts'
import { BillAccount } from './bill.node.ts'
import type { CreditBook } from './credit-book.node.ts'
import type { ChainConfig } from './networks.ts'
import type { PayerBook } from './payer-book.node.ts'
import type { Settler } from './settler.node.ts'
import type { Bill, CreditOptions, Customer, FileRef, PaymentGate } from './types.ts'
import type { Wallet } from './wallet.node.ts'

export interface GateDeps {
  readonly book: PayerBook
  readonly credit: CreditBook
  readonly settler: Settler
  readonly chain: ChainConfig
  readonly wallet: () => Wallet | undefined
  readonly clock: Pick<Clock, 'now'>
  readonly log: Logger
  readonly budgetWeiPerDay: bigint | undefined
}

const DAY_MS = 24 * 60 * 60 * 1000

export class Gate implements PaymentGate {
  readonly #deps: GateDeps
  /** Bills with money set aside. Bounded by the downloads that run. */
  readonly #bills = new Map<string, BillAccount>()

  constructor(deps: GateDeps) {
    this.#deps = deps
  }

  get wallet(): Uint8Array {
    return this.#deps.wallet()?.address ?? NO_WALLET
  }
  get terms(): { readonly wallet: Uint8Array; readonly chainId: number } | undefined {
    const wallet = this.#deps.wallet()
    return wallet && { wallet: wallet.address, chainId: this.#deps.chain.chainId }
  }

  async openBill(file: FileRef, options: { readonly maxCostWei: bigint | undefined }): Promise<Bill> {
    const key = bytesToHex(file.fileId)
    const { book, settler, chain, log, wallet } = this.#deps
    const id = book.openBill(file)
    const bill = new BillAccount(
      {
        book,
        settler,
        chain,
        log,
        wallet,
        day: b => this.#day(b),
        onClose: b => {
          if (this.#bills.get(key) === b) this.#bills.delete(key)
        }
      },
      id,
      file.size,
      options.maxCostWei
    )
    this.#bills.set(key, bill)
    return bill
  }

  creditFor(customer: Pick<Customer, 'peerId' | 'wallet' | 'address'>, options: CreditOptions = {}): number {
    if (isNoWallet(customer.wallet)) return 0
    return this.#deps.credit.left(customer, options.creditBytes)
  }

  charge(
    customer: Customer,
    file: FileRef,
    pricePerMb: bigint,
    _chunk: number,
    bytes: number,
    options: CreditOptions = {}
  ): string | undefined {
    if (pricePerMb === 0n) return undefined
    const price = `${formatCoin(pricePerMb)} coin per MB`
    if (!this.#deps.wallet()) return 'this node has no wallet to be paid to'
    if (isNoWallet(customer.wallet)) return `this file costs ${price}; you have no wallet`
    if (this.#deps.credit.take(customer, file.fileId, pricePerMb, bytes, options.creditBytes)) return undefined
    return `this file costs ${price} and your unpaid credit is used up: pay what you owe, then go on`
  }

  #day(bill: BillAccount): { readonly limitWei: bigint; readonly committedWei: bigint } | undefined {
    const { budgetWeiPerDay, book, clock } = this.#deps
    if (budgetWeiPerDay === undefined) return undefined
    let committedWei = book.invoicedSince(clock.now() - DAY_MS)
    for (const other of this.#bills.values()) if (other !== bill) committedWei += other.setAsideWei
    return { limitWei: budgetWeiPerDay, committedWei }
  }
}
