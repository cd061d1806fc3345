/** Decides whether bytes may be served: free files to anybody, paid ones to tickets with credit, all within the upload limits. */
import type { Clock } from '../base/clock.ts'
import { RateLimiter } from '../base/token-bucket.ts'
import type { PaymentGate } from './payment-gate.ts'
import type { Customer, Share, UploadGate } from './protocol.ts'
import type { TicketBook } from './tickets.ts'

/** What the share book knows beyond `Share`. */
export interface Terms {
  /** Bytes per second of this share; undefined: no limit. */
  readonly uploadLimit: number | undefined
  /** Unpaid bytes strangers may take of this share; undefined: the node's default. */
  readonly creditBytes: number | undefined
}

export interface UploadGateDeps {
  readonly clock: Clock
  readonly tickets: TicketBook
  readonly payments: Pick<PaymentGate, 'charge'>
  readonly termsOf: (share: Share) => Terms
  /** Bytes of a share were let through. */
  readonly onAdmitted: (share: Share, bytes: number) => void
  /** Bytes left over a protocol. */
  readonly onSent: (protocol: string, bytes: number) => void
}

/** A gate that says how much to ask for at a time. */
export interface PacedGate extends UploadGate {
  /** Bytes of one `admit`, at most `most`, so that with a low limit and many readers each of them still gets something every second. */
  pieceBytes(share: Share, most: number): number
}

export function createUploadGate(deps: UploadGateDeps, options: { readonly uploadLimit: number | undefined }): PacedGate {
  const all = new RateLimiter(deps.clock, options.uploadLimit)
  const perShare = new WeakMap<Share, RateLimiter>()
  const limitOf = (share: Share): RateLimiter => {
    let limit = perShare.get(share)
    if (!limit) perShare.set(share, (limit = new RateLimiter(deps.clock, deps.termsOf(share).uploadLimit)))
    return limit
  }
  return {
    async admit(share: Share, customer: Customer | undefined, chunk: number, bytes: number, signal: AbortSignal) {
      if (share.pricePerMb !== 0n) {
        if (!customer) return 'this file costs money: fetch it with kith, which shows a ticket'
        const file = { fileId: share.fileId, root: share.root, size: share.grid.size }
        const refusal = deps.payments.charge(customer, file, share.pricePerMb, chunk, bytes, {
          creditBytes: deps.termsOf(share).creditBytes
        })
        if (refusal !== undefined) return refusal
      }
      await limitOf(share).take(bytes, signal)
      await all.take(bytes, signal)
      deps.onAdmitted(share, bytes)
      return undefined
    },
    pieceBytes: (share, most) => all.pieceBytes(limitOf(share).pieceBytes(most)),
    customerOf: (ticketId, share) => deps.tickets.customerOf(ticketId, share.fileId),
    sent: deps.onSent
  }
}
