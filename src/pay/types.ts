/**
 * The shapes through which the rest of Kith uses payments. They mirror `transfer/payment-gate.ts`, which this folder must not
 * import (spec 004's decoupling): TypeScript's structural typing makes the two fit.
 */
import type { Offer } from '../wire/offer.ts'
import type { Signed } from '../wire/signed.ts'

export interface FileRef {
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly size: number
}

export interface CheckedOffer {
  readonly offer: Offer
  /** Hex instance key that signed it. */
  readonly seeder: string
  /** SHA-256 of the signed body. */
  readonly hash: Uint8Array
  readonly peerId: string
  readonly addresses: readonly string[]
}

/** Who is asking to be served, as proven by a ticket. */
export interface Customer {
  readonly peerId: string
  /** Hex instance key. */
  readonly instance: string
  /** 20 bytes; zeros when it has no wallet. */
  readonly wallet: Uint8Array
  readonly address: string
}

export interface PayeeView {
  readonly seeder: string
  readonly wallet: string
  readonly amountWei: bigint
  readonly bytes: number
}

export interface SettlementView {
  readonly state: 'nothing-owed' | 'confirmed' | 'sent' | 'queued'
  readonly tx: string | undefined
  readonly invoiceId: string | undefined
  readonly totalWei: bigint
  readonly gasUsed: bigint | undefined
  readonly payees: readonly PayeeView[]
  readonly reason?: string
}

export interface Bill {
  /** @param remainingBytes not yet verified; by default the file without what this bill was told of */
  admit(offer: CheckedOffer, remainingBytes?: number): void
  delivered(seeder: string, protocol: string, chunk: number, bytes: number): void
  settle(seeder: string | undefined, signal: AbortSignal): Promise<SettlementView>
  readonly owedWei: bigint
  readonly paidWei: bigint
  /** Gives back what `admit` set aside of the daily budget: call it when a download ends in any way. Idempotent. */
  close(): void
}

export interface CreditOptions {
  /** Unpaid bytes the owner allows for this share; default 1 MiB. */
  readonly creditBytes?: number | undefined
}

export interface PaymentGate {
  /** 20-byte wallet of this node; zeros when it has none. */
  readonly wallet: Uint8Array
  readonly terms: { readonly wallet: Uint8Array; readonly chainId: number } | undefined
  openBill(file: FileRef, options: { readonly maxCostWei: bigint | undefined }): Promise<Bill>
  creditFor(customer: Pick<Customer, 'peerId' | 'wallet' | 'address'>, options?: CreditOptions): number
  charge(customer: Customer, file: FileRef, pricePerMb: bigint, chunk: number, bytes: number, options?: CreditOptions): string | undefined
}

/** The instance that signs receipts: its key is certified by the identity, its seed never comes here. */
export interface Signer {
  readonly instanceKey: Uint8Array
  sign(domain: string, body: Uint8Array): Promise<Signed>
}

/** Called with a step's name right after the step became durable or visible; tests end the process there. */
export type Failpoint = (step: FailpointName) => void

export const failpointNames = [
  'invoice:stored',
  'receipts:sent',
  'tx:signed',
  'tx:stored',
  'tx:sent',
  'tx:mined',
  'invoice:confirmed',
  'payee:told',
  'invoice:told'
] as const
export type FailpointName = (typeof failpointNames)[number]
