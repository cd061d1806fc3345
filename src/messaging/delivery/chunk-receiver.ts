/**
 * Large messages on their way in, of all peers: parts are kept in memory until the whole is there and its hash is right. A transfer belongs
 * to its sender and message, not to a link, so that it goes on where it was after the link has broken. What takes too much room or time
 * is dropped; the sender then begins again.
 * Spec: docs/wire/message.md §4 (chunk)
 */
import { sha256 } from '#hash'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { mostCrowded } from '../../base/crowding.ts'
import { KithError } from '../../base/errors.ts'
import type { ChunkInit, ChunkPart } from '../../wire/chunk-payloads.ts'
import {
  MAX_ASKED_RANGES,
  MAX_PARTIAL_BYTES,
  MAX_PARTIAL_BYTES_PER_PEER,
  MAX_PARTIALS,
  MAX_PARTIALS_PER_PEER,
  PART_OVERHEAD_BYTES,
  PARTIAL_IDLE_MS,
  PARTIAL_TOTAL_MS
} from '../limits.ts'
import type { EntityId } from '../types.ts'

interface Partial {
  readonly from: EntityId
  readonly init: ChunkInit
  readonly partBytes: number
  /** What has come: memory grows with that, not with what was announced. */
  readonly parts: (Uint8Array | undefined)[]
  bytes: number
  left: number
  readonly begunAt: number
  touchedAt: number
}

/** What came of a part: the whole payload, or what to ask for (undefined: nothing now). */
export type PartResult =
  | { readonly whole: Uint8Array; readonly type: string }
  | { readonly missing: readonly [number, number][] }
  | undefined

export class ChunkReceiver {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** The one that was silent for longest is first. */
  readonly #partials = new Map<string, Partial>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** Bytes that are kept, with what it takes to keep them. */
  get bytes(): number {
    return this.#bytesOf(undefined)
  }

  /** When the next may have been silent for too long (monotonic ms); undefined: there is none. */
  get dueAt(): number | undefined {
    const [first] = this.#partials.values()
    return first && first.touchedAt + PARTIAL_IDLE_MS
  }
  /** Forgets what was silent, or has taken, for too long. */
  dropOld(): void {
    const now = this.#clock.monotonic()
    for (const [key, p] of this.#partials)
      if (now - p.touchedAt >= PARTIAL_IDLE_MS || now - p.begunAt >= PARTIAL_TOTAL_MS) this.#partials.delete(key)
  }

  /** A message is announced, for the first time or again. @returns the ranges of parts that are to be sent */
  init(from: EntityId, init: ChunkInit): readonly [number, number][] {
    this.dropOld()
    const key = keyOf(from, init.transferId)
    const known = this.#partials.get(key)
    if (known && isSame(known.init, init)) return rangesOf(this.#touch(key, known))
    this.#partials.delete(key)
    this.#makePlace(from)
    const now = this.#clock.monotonic()
    const partBytes = Math.ceil(init.totalBytes / init.totalChunks)
    const parts = Array<Uint8Array | undefined>(init.totalChunks).fill(undefined)
    const partial: Partial = { from, init, partBytes, parts, bytes: 0, left: parts.length, begunAt: now, touchedAt: now }
    this.#partials.set(key, partial)
    return rangesOf(partial)
  }

  /**
   * A part. One of a transfer that is not known (any more) is asked for from the start: `missing` is empty then.
   * @throws TRANSFER_BROKEN when the whole is not what was announced, BAD_PAYLOAD when the part is not one of it
   */
  part(from: EntityId, part: ChunkPart): PartResult {
    const key = keyOf(from, part.transferId)
    const partial = this.#partials.get(key)
    if (!partial) return { missing: [] }
    const { init, partBytes, parts } = partial
    const at = part.chunkIndex * partBytes
    if (part.totalChunks !== init.totalChunks || part.data.length !== Math.min(partBytes, init.totalBytes - at))
      throw new KithError('BAD_PAYLOAD', 'a part that does not fit its transfer')
    this.#touch(key, partial)
    const isRight = equalBytes(sha256(part.data).subarray(0, 16), part.checksum)
    if (isRight && !parts[part.chunkIndex]) {
      const bytes = part.data.length + PART_OVERHEAD_BYTES
      this.#makeRoom(partial, bytes)
      parts[part.chunkIndex] = part.data
      partial.bytes += bytes
      partial.left--
    }
    if (partial.left > 0) return part.chunkIndex === parts.length - 1 || !isRight ? { missing: rangesOf(partial) } : undefined
    this.#partials.delete(key)
    const payload = concatBytes(...(parts as Uint8Array[]))
    if (!equalBytes(sha256(payload), init.sha256)) throw new KithError('TRANSFER_BROKEN', 'the parts do not make what was announced')
    return { whole: payload, type: init.originalMsgType }
  }

  #touch(key: string, partial: Partial): Partial {
    partial.touchedAt = this.#clock.monotonic()
    this.#partials.delete(key)
    this.#partials.set(key, partial)
    return partial
  }

  /**
   * A peer's own transfers make place for its next one. When there are too many in all one goes of which nothing has come, else one of the peer
   * that has most.
   */
  #makePlace(from: EntityId): void {
    const own = [...this.#partials].filter(([, p]) => p.from === from)
    if (own.length >= MAX_PARTIALS_PER_PEER) this.#partials.delete(own[0]![0])
    else if (this.#partials.size >= MAX_PARTIALS) {
      const empty = [...this.#partials].find(([, p]) => p.bytes === 0)
      this.#partials.delete((empty ?? mostCrowded(this.#partials, ([, p]) => p.from)!.oldest)[0])
    }
  }
  /** The same for the bytes of a part: own transfers first, then those of the peer that has most, so that many names take nothing from one. */
  #makeRoom(partial: Partial, bytes: number): void {
    const { from } = partial
    for (const [key, p] of this.#partials) {
      if (this.#bytesOf(from) + bytes <= MAX_PARTIAL_BYTES_PER_PEER) break
      if (p.from === from && p !== partial) this.#partials.delete(key)
    }
    while (this.#bytesOf(undefined) + bytes > MAX_PARTIAL_BYTES) {
      const held = new Map<EntityId, { key: string; bytes: number }>()
      for (const [key, p] of this.#partials) {
        if (p === partial || p.bytes === 0) continue
        const own = held.get(p.from)
        if (own) own.bytes += p.bytes
        else held.set(p.from, { key, bytes: p.bytes })
      }
      let most: { readonly key: string; readonly bytes: number } | undefined
      for (const own of held.values()) if (!most || own.bytes > most.bytes) most = own
      if (!most) return
      this.#partials.delete(most.key)
    }
  }
  #bytesOf(from: EntityId | undefined): number {
    let n = 0
    for (const p of this.#partials.values()) if (from === undefined || p.from === from) n += p.bytes
    return n
  }
}

const keyOf = (from: EntityId, id: string): string => `${from} ${id}`
const isSame = (a: ChunkInit, b: ChunkInit): boolean =>
  a.totalBytes === b.totalBytes &&
  a.totalChunks === b.totalChunks &&
  a.originalMsgType === b.originalMsgType &&
  equalBytes(a.sha256, b.sha256)

/** Parts that are not there, as ranges: as many as one answer holds. */
function rangesOf({ parts }: Partial): readonly [number, number][] {
  const out: [number, number][] = []
  for (const [i, part] of parts.entries()) {
    if (part) continue
    const last = out.at(-1)
    if (last && last[1] === i - 1) last[1] = i
    else if (out.length < MAX_ASKED_RANGES) out.push([i, i])
    else break
  }
  return out
}
