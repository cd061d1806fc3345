/**
 * Asking about a file: the multipacket of eMule, the single packets of before, which parts the other side has, and part hashes.
 *
 *     C5 A4 hash | u64 size | sub*     C5 92: without size; sub: 58 [status][u16 sources], 4F, 83 u8 4 u16 0, 81, 9E
 *     C5 93 hash | sub*                sub: 59 u16 length name, 50 status, 9D AICH root (20)
 *     status: u16 n | bits, lowest first       n = 0: everything; else floor(size / 9,728,000) + 1
 *     E3 52 hash | u16 n | n × hash
 *
 * Spec: docs/wire/ed2k.md §5
 */
import { dataParts, hashSetCount } from '../hashing/ed2k-hash.ts'
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { MAX_PARTS, MAX_TEXT_BYTES } from './limits.ts'
import { edonkey, emule } from './opcodes.ts'

/** Which parts somebody has. */
export type PartStatus = { readonly complete: true } | { readonly complete: false; readonly count: number; readonly bits: Uint8Array }

export const COMPLETE: PartStatus = { complete: true }

export const hasPart = (status: PartStatus, part: number): boolean =>
  status.complete || (part < status.count && (status.bits[part >> 3]! & (1 << (part & 7))) !== 0)

/** Status of a file from which parts are there. */
export function statusOf(size: number, has: (part: number) => boolean): PartStatus {
  const parts = dataParts(size)
  const count = hashSetCount(size)
  const bits = new Uint8Array(Math.ceil(count / 8))
  let n = 0
  for (let p = 0; p < parts; p++) {
    if (!has(p)) continue
    bits[p >> 3]! |= 1 << (p & 7)
    n++
  }
  return n === parts ? COMPLETE : { complete: false, count, bits }
}

export function writeStatus(w: LeWriter, status: PartStatus): LeWriter {
  return status.complete ? w.u16(0) : w.u16(status.count).bytes(status.bits)
}

/** @throws ED2K_WIRE early end; a count that does not belong to a file of `size` (when that is known) */
export function readStatus(r: LeReader, size?: number): PartStatus {
  const count = r.u16()
  if (count === 0) return COMPLETE
  if (size !== undefined && count !== hashSetCount(size) && count !== dataParts(size))
    throw wireError('part status for a file of another size', { count })
  return { complete: false, count, bits: r.bytes(Math.ceil(count / 8)) }
}

export interface FileRequest {
  readonly hash: Uint8Array
  /** undefined in packets that do not say it. */
  readonly size: number | undefined
  /** What the asker has; undefined when it does not say. */
  readonly status: PartStatus | undefined
  readonly wantsName: boolean
  readonly wantsStatus: boolean
  readonly wantsAich: boolean
  /** Version of the answer that is understood; undefined: no sources are wanted. */
  readonly wantsSources: number | undefined
}

/** Payload of C5 A4, or of C5 92 when `size` is undefined. */
export function encodeFileRequest(q: FileRequest, extendedRequests: number): Uint8Array<ArrayBuffer> {
  const w = new LeWriter().bytes(q.hash)
  if (q.size !== undefined) w.u64(q.size)
  if (q.wantsName) {
    w.u8(edonkey.nameRequest)
    if (extendedRequests >= 1) writeStatus(w, q.status ?? COMPLETE)
    if (extendedRequests >= 2) w.u16(0)
  }
  if (q.wantsStatus) w.u8(edonkey.statusRequest)
  if (q.wantsSources !== undefined) w.u8(emule.sourcesRequest2).u8(q.wantsSources).u16(0)
  if (q.wantsAich) w.u8(emule.aichRootRequest)
  return w.done()
}

/** What an unknown sub-packet and those behind it want is not known: it is left out. @throws ED2K_WIRE */
export function decodeFileRequest(payload: Uint8Array, withSize: boolean, extendedRequests: number): FileRequest {
  const r = new LeReader(payload)
  const q = {
    hash: r.hash(),
    size: withSize ? r.u64() : undefined,
    status: undefined as PartStatus | undefined,
    wantsName: false,
    wantsStatus: false,
    wantsAich: false,
    wantsSources: undefined as number | undefined
  }
  while (r.left > 0) {
    const sub = r.u8()
    if (sub === edonkey.nameRequest) {
      q.wantsName = true
      q.status = readAskerStatus(r, extendedRequests)
    } else if (sub === edonkey.statusRequest) q.wantsStatus = true
    else if (sub === emule.sourcesRequest2) {
      q.wantsSources = r.u8()
      r.u16()
    } else if (sub === emule.aichRootRequest) q.wantsAich = true
    else if (sub !== emule.sourcesRequest) break
  }
  return q
}

/** What follows a request for the name, alone or in a multipacket. An asker with nothing yet says 0 parts too. */
export function readAskerStatus(r: LeReader, extendedRequests: number): PartStatus | undefined {
  if (extendedRequests < 1 || r.left === 0) return undefined
  const status = readStatus(r)
  if (extendedRequests >= 2 && r.left > 0) r.u16()
  return status
}

export interface FileAnswer {
  readonly hash: Uint8Array
  readonly name: string | undefined
  readonly status: PartStatus | undefined
  /** AICH root, 20 bytes. */
  readonly aich: Uint8Array | undefined
}

/** The status is last: for exact multiples of 8 parts aMule reads a byte less than it writes. */
export function encodeFileAnswer(a: FileAnswer): Uint8Array<ArrayBuffer> {
  const w = new LeWriter().bytes(a.hash)
  if (a.name !== undefined) w.u8(edonkey.name).text16(a.name)
  if (a.aich) w.u8(emule.aichRoot).bytes(a.aich)
  if (a.status) writeStatus(w.u8(edonkey.status), a.status)
  return w.done()
}

/** @throws ED2K_WIRE */
export function decodeFileAnswer(payload: Uint8Array, size: number): FileAnswer {
  const r = new LeReader(payload)
  const hash = r.hash()
  let name: string | undefined
  let status: PartStatus | undefined
  let aich: Uint8Array | undefined
  while (r.left > 0) {
    const sub = r.u8()
    if (sub === edonkey.name) name = r.text16(MAX_TEXT_BYTES)
    else if (sub === edonkey.status) status = readStatus(r, size)
    else if (sub === emule.aichRoot) aich = r.bytes(20)
    else break
  }
  return { hash, name, status, aich }
}

/** Payload of E3 52. */
export function encodeHashSet(hash: Uint8Array, hashes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new LeWriter(18 + hashes.length)
    .bytes(hash)
    .u16(hashes.length / 16)
    .bytes(hashes)
    .done()
}

/** @returns the file's hash and those of its parts, 16 bytes each @throws ED2K_WIRE */
export function decodeHashSet(payload: Uint8Array): { readonly hash: Uint8Array; readonly hashes: Uint8Array } {
  const r = new LeReader(payload)
  const hash = r.hash()
  const count = r.u16()
  if (count > MAX_PARTS) throw wireError('too many part hashes', { count })
  const hashes = r.bytes(16 * count)
  r.end()
  return { hash, hashes }
}
