/**
 * What `transfer` needs to know about money: nothing but this. `pay` implements it and `node` joins the two (spec 004's
 * decoupling). With payments off, `freeGate` stands here: free offers are used, paid ones are refused in words.
 */
import { KithError } from '../base/errors.ts'
import type { Offer } from '../wire/offer.ts'
import type { Customer } from './protocol.ts'

export interface FileRef {
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly size: number
}

/** An offer whose signature, peer and file were checked. */
export interface CheckedOffer {
  readonly offer: Offer
  /** Hex instance key that signed it. */
  readonly seeder: string
  /** SHA-256 of the signed body. */
  readonly hash: Uint8Array
  /** libp2p PeerId text and the multiaddrs it was reached at. */
  readonly peerId: string
  readonly addresses: readonly string[]
}

/** One download's account: what it may cost, who delivered what, who was paid. */
export interface Bill {
  /**
   * May chunks be fetched under this offer? Called before the first byte; free offers always pass.
   * @throws PAYMENTS_OFF, OVER_BUDGET, WRONG_CHAIN, INVALID_ADDRESS: use this seeder not at all
   */
  admit(offer: CheckedOffer): void
  /** A chunk from this seeder was verified. Idempotent: a chunk counts once, also across restarts. */
  delivered(seeder: string, protocol: string, chunk: number, bytes: number): void
  /**
   * Pays what is owed so far, to one seeder (it answered 402) or to all, and tells the payees. Resolves when payees accepted or the
   * transaction is confirmed; a chain that is down leaves the debt queued and resolves with `queued`.
   * @throws OVER_BUDGET when the next bytes would exceed the limit, PAYMENT_FAILED
   */
  settle(seeder: string | undefined, signal: AbortSignal): Promise<SettlementView>
  /** wei owed and not yet in a transaction. */
  readonly owedWei: bigint
  /** wei paid or in a transaction for this file. */
  readonly paidWei: bigint
  /** Gives back what `admit` set aside of the daily budget: call it when a download ends in any way. Idempotent. */
  close(): void
}

export interface SettlementView {
  readonly state: 'nothing-owed' | 'confirmed' | 'sent' | 'queued'
  readonly tx: string | undefined
  readonly invoiceId: string | undefined
  readonly totalWei: bigint
  readonly gasUsed: bigint | undefined
  readonly payees: readonly { readonly seeder: string; readonly wallet: string; readonly amountWei: bigint; readonly bytes: number }[]
  /** Why it is queued, in words. */
  readonly reason?: string
}

export interface CreditOptions {
  /** Unpaid bytes the owner allows for this share; default 1 MiB. */
  readonly creditBytes?: number | undefined
}

export interface PaymentGate {
  /** 20-byte wallet of this node as payer; zeros when it has none. */
  readonly wallet: Uint8Array
  /** Opens (or continues after a restart) the bill of one file. */
  openBill(file: FileRef, options: { readonly maxCostWei: bigint | undefined }): Promise<Bill>
  /** Seller side: bytes of credit this customer has left, for offers. */
  creditFor(customer: Pick<Customer, 'peerId' | 'wallet' | 'address'>, options?: CreditOptions): number
  /** Seller side: takes credit for bytes about to be served; durable first. @returns why not, in words, or undefined */
  charge(customer: Customer, file: FileRef, pricePerMb: bigint, chunk: number, bytes: number, options?: CreditOptions): string | undefined
  /** Seller side: what new offers say. undefined while this node cannot be paid. */
  readonly terms: { readonly wallet: Uint8Array; readonly chainId: number } | undefined
}

/** Payments off: the default (DESIGN §7). */
export const freeGate: PaymentGate = {
  wallet: new Uint8Array(20),
  terms: undefined,
  creditFor: () => 0,
  charge: () => 'this node does not take payments',
  openBill: async () => ({
    owedWei: 0n,
    paidWei: 0n,
    admit: ({ offer }) => {
      if (offer.pricePerMb !== 0n) {
        throw new KithError(
          'PAYMENTS_OFF',
          'this seeder wants to be paid and payments are off',
          {},
          { hint: 'kith wallet create, then kith get … --max-cost 0.01' }
        )
      }
    },
    delivered: () => {},
    close: () => {},
    settle: async () => ({ state: 'nothing-owed', tx: undefined, invoiceId: undefined, totalWei: 0n, gasUsed: undefined, payees: [] })
  })
}
