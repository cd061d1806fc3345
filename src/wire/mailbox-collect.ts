/**
 * The method `mailbox-collect`: an owner takes what a mailbox keeps for it, and says what of it is on its own disk.
 *
 * Request:
 *
 * | bytes | field       | notes                                                              |
 * | ----: | ----------- | ------------------------------------------------------------------ |
 * |     1 | version     | 1                                                                  |
 * |   2+n | certificate | peer chain of the caller: names the entity whose mailbox is meant   |
 * |     2 | done        | count ≤ 256, each u64: numbers of envelopes that may be deleted     |
 *
 * Answer:
 *
 * | bytes | field   | notes                                                      |
 * | ----: | ------- | ---------------------------------------------------------- |
 * |     4 | left    | envelopes that wait beyond these                           |
 * |     2 | waiting | count ≤ 256, each: number u64, sealed envelope bytes32     |
 *
 * Spec: docs/wire/reach.md §5
 */
import { type Codec, expectVersion, type Reader } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { MAX_COLLECTED, MAX_ENVELOPE_BYTES } from './limits.ts'
import { MAX_PEER_CHAIN_BYTES } from './peer-certificate.ts'

export const MAILBOX_COLLECT_METHOD = 'mailbox-collect'

export interface CollectRequest {
  readonly certificate: Uint8Array
  readonly done: readonly number[]
}

export const collectRequest: Codec<CollectRequest> = {
  write(w, m) {
    w.u8(1)
    w.bytes16(m.certificate)
    w.u16(m.done.length)
    for (const n of m.done) w.u64(n)
  },
  read(r) {
    expectVersion(r, 1)
    const certificate = r.bytes16(MAX_PEER_CHAIN_BYTES)
    return { certificate, done: times(r, () => r.u64()) }
  }
}

export interface CollectAnswer {
  readonly left: number
  readonly waiting: readonly { readonly number: number; readonly envelope: Uint8Array }[]
}

export const collectAnswer: Codec<CollectAnswer> = {
  write(w, m) {
    w.u32(m.left)
    w.u16(m.waiting.length)
    for (const { number, envelope } of m.waiting) {
      w.u64(number)
      w.bytes32(envelope)
    }
  },
  read(r) {
    const left = r.u32()
    return { left, waiting: times(r, () => ({ number: r.u64(), envelope: r.bytes32(MAX_ENVELOPE_BYTES) })) }
  }
}

function times<T>(r: Reader, read: () => T): T[] {
  const n = r.u16()
  if (n > MAX_COLLECTED) throw new KithError('WIRE_RANGE', 'too many entries', { count: n })
  return Array.from({ length: n }, read)
}
