/**
 * Ids of Kad: 128 bits, of nodes, files and clients. Kept as 16 bytes, most significant first, as hashes are written; on the wire they are
 * four words of 32 bits, each little endian. Spec: docs/wire/ed2k.md §11
 */

import { concatBytes, utf8 } from '../../base/bytes.ts'
import type { LeReader, LeWriter } from '../ed2k/bytes.ts'
import { md4 } from '../hashing/md4.ts'
import { sharedBits } from '../kademlia/distance.ts'
import { TOLERANCE_BITS } from './limits.ts'

export const ID_BYTES = 16

export const readId = (r: LeReader): Uint8Array<ArrayBuffer> => swapWords(r.bytes(ID_BYTES))
export const writeId = (w: LeWriter, id: Uint8Array): LeWriter => w.bytes(swapWords(id))

/** From one order to the other. */
export function swapWords(id: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(ID_BYTES)
  for (let i = 0; i < ID_BYTES; i++) out[i] = id[(i & ~3) + 3 - (i & 3)]!
  return out
}

/** The id that a client has in Kad when it chooses none: the same after a restart, so that others know it again. */
export const idOfClient = (userHash: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(md4(concatBytes(utf8('kad'), userHash)))

/** Whether a node with this id keeps what belongs to `target`. */
export const isNear = (id: Uint8Array, target: Uint8Array): boolean => sharedBits(id, target) >= TOLERANCE_BITS
