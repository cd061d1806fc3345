/**
 * `paid`: the payer tells a payee which transaction pays which receipts. The invoice id that stands on the chain is
 * SHA-256 over `invoiceBytes`, so that it commits to every receipt it pays and to nothing that could be guessed without the salt.
 *
 * | bytes  | field    | notes                                            |
 * | -----: | -------- | ------------------------------------------------ |
 * |      1 | version  | 1                                                |
 * |      8 | chainId  |                                                  |
 * |     32 | tx       | transaction hash                                 |
 * |     32 | salt     | random, of this invoice                          |
 * |      2 | n        | 1..128                                           |
 * | 32 × n | receipts | SHA-256 of each receipt's body, ascending, unique |
 *
 * Answer:
 *
 * | bytes | field       | notes                                                       |
 * | ----: | ----------- | ----------------------------------------------------------- |
 * |     1 | version     | 1                                                           |
 * |     1 | state       | 1 accepted; 2 pending: not seen on the chain, or not deep enough |
 * |     8 | creditBytes | what the payer may now take unpaid                          |
 *
 * Spec: docs/wire/payment.md §3
 */
import { bytesToHex, concatBytes, utf8 } from '../base/bytes.ts'
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'

export const INVOICE_DOMAIN = 'kith/invoice/1'
/** Receipts one transaction may pay. */
export const MAX_PAID_RECEIPTS = 128

export interface Paid {
  readonly chainId: number
  readonly tx: Uint8Array
  readonly salt: Uint8Array
  readonly receipts: readonly Uint8Array[]
}

export const paidCodec: Codec<Paid> = {
  write(w, m) {
    w.u8(1)
    w.u64(m.chainId)
    w.bytes(m.tx)
    w.bytes(m.salt)
    w.u16(m.receipts.length)
    for (const hash of m.receipts) w.bytes(hash)
  },
  read(r) {
    expectVersion(r, 1)
    const head = { chainId: r.u64(), tx: r.bytes(32), salt: r.bytes(32) }
    const n = r.u16()
    if (n < 1 || n > MAX_PAID_RECEIPTS) throw new KithError('WIRE_RANGE', 'an invoice without receipts or with too many', { count: n })
    const receipts: Uint8Array[] = []
    let last = ''
    for (let i = 0; i < n; i++) {
      const hash = r.bytes(32)
      const hex = bytesToHex(hash)
      if (hex <= last) throw new KithError('WIRE_RANGE', 'receipts of an invoice are out of order')
      last = hex
      receipts.push(hash)
    }
    return { ...head, receipts }
  }
}

/** What the invoice id is the SHA-256 of: domain ‖ 0x00 ‖ salt ‖ the receipts' hashes in ascending order. */
export const invoiceBytes = (salt: Uint8Array, receipts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> =>
  concatBytes(utf8(INVOICE_DOMAIN), Uint8Array.of(0), salt, ...receipts)

export const paidState = { accepted: 1, pending: 2 } as const
export type PaidState = keyof typeof paidState

export interface PaidAnswer {
  readonly state: PaidState
  readonly creditBytes: number
}

export const paidAnswer: Codec<PaidAnswer> = {
  write(w, m) {
    w.u8(1)
    w.u8(paidState[m.state])
    w.u64(m.creditBytes)
  },
  read(r) {
    expectVersion(r, 1)
    const state = r.u8()
    if (state !== 1 && state !== 2) throw new KithError('WIRE_RANGE', 'unknown state of a payment', { state })
    return { state: state === 1 ? 'accepted' : 'pending', creditBytes: r.u64() }
  }
}

/**
 * Answer to `receipt` (whose request is a Signed receipt): the payee's signature over the same body with COUNTERSIGN_DOMAIN.
 *
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |    64 | signature   |
 */
export const countersignAnswer: Codec<Uint8Array> = {
  write(w, signature) {
    w.u8(1)
    w.bytes(signature)
  },
  read(r) {
    expectVersion(r, 1)
    return r.bytes(64)
  }
}
