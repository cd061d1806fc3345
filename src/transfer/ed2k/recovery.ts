/**
 * AICH recovery: the hashes of all blocks of one part, with those of its siblings up to the root of the file's tree.
 *
 *     C5 9B hash | u16 part | root 20
 *     C5 9C hash | u16 part | root 20 | u16 n | n × { u16 path, SHA-1 } | u16 0        files up to 4 GiB
 *     C5 9C hash | u16 part | root 20 | u16 0 | u16 n | n × { u32 path, SHA-1 }        larger files
 *     C5 9C hash                                                                      refused
 *
 * A path is bits from the root down behind a leading 1; 1 is left. Spec: docs/wire/ed2k.md §7
 */
import type { AichEntry } from '../hashing/aich.ts'
import { LeReader, LeWriter, wireError } from './bytes.ts'

export interface RecoveryRequest {
  readonly hash: Uint8Array
  readonly part: number
  readonly root: Uint8Array
}

export interface RecoveryAnswer {
  readonly hash: Uint8Array
  /** undefined: refused. */
  readonly data: { readonly part: number; readonly root: Uint8Array; readonly nodes: readonly AichEntry[] } | undefined
}

/** 53 blocks of a part, and one sibling for each level above it. */
const MAX_NODES = 53 + 32

export const encodeRecoveryRequest = (q: RecoveryRequest): Uint8Array<ArrayBuffer> =>
  new LeWriter().bytes(q.hash).u16(q.part).bytes(q.root).done()

/** @throws ED2K_WIRE */
export function decodeRecoveryRequest(payload: Uint8Array): RecoveryRequest {
  const r = new LeReader(payload)
  const q = { hash: r.hash(), part: r.u16(), root: r.bytes(20) }
  r.end()
  return q
}

export function encodeRecoveryAnswer({ hash, data }: RecoveryAnswer): Uint8Array<ArrayBuffer> {
  const w = new LeWriter(2048).bytes(hash)
  if (!data) return w.done()
  const isLong = data.nodes.some(n => n.id > 0xffff)
  w.u16(data.part).bytes(data.root)
  if (isLong) w.u16(0)
  w.u16(data.nodes.length)
  for (const n of data.nodes) (isLong ? w.u32(n.id) : w.u16(n.id)).bytes(n.hash)
  if (!isLong) w.u16(0)
  return w.done()
}

/** @throws ED2K_WIRE */
export function decodeRecoveryAnswer(payload: Uint8Array): RecoveryAnswer {
  const r = new LeReader(payload)
  const hash = r.hash()
  if (r.left === 0) return { hash, data: undefined }
  const part = r.u16()
  const root = r.bytes(20)
  const nodes: AichEntry[] = []
  for (const read of [() => r.u16(), () => r.u32()]) {
    if (r.left === 0) break
    const count = r.u16()
    if (nodes.length + count > MAX_NODES) throw wireError('too many hashes for one part', { count })
    for (let i = 0; i < count; i++) nodes.push({ id: read(), hash: r.bytes(20) })
  }
  r.end()
  return { hash, data: { part, root, nodes } }
}
