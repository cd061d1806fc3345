/** Peer records that were seen: bounded, the newest of each entity, and never one with a lower sequence than is known. */
import type { CheckedRecord } from './peer-registry-check.ts'

export interface CacheLimits {
  readonly maxRecords: number
  readonly maxBytes: number
}

export class RecordCache {
  readonly #limits: CacheLimits
  /** By entity, the one unused for longest first. */
  readonly #records = new Map<string, CheckedRecord>()
  readonly #entities = new Map<string, string>()
  readonly #kept = new Set<string>()
  #bytes = 0

  constructor(limits: CacheLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#records.size
  }

  get(entityId: string): CheckedRecord | undefined {
    return this.#records.get(entityId)
  }

  /** By a PeerId that told the record itself. */
  ofPeer(peerId: string): CheckedRecord | undefined {
    const entityId = this.#entities.get(peerId)
    return entityId === undefined ? undefined : this.#records.get(entityId)
  }

  all(): CheckedRecord[] {
    return [...this.#records.values()]
  }

  isKept(entityId: string): boolean {
    return this.#kept.has(entityId)
  }

  /** Kept records are not pushed out by others. */
  keep(entityId: string, on: boolean): void {
    if (on) this.#kept.add(entityId)
    else this.#kept.delete(entityId)
  }

  /**
   * @param isToldByItself whether the PeerId in it told it. An instance may name any PeerId in its record; only who has that PeerId's key can
   *   say the same, and only then the instance is found by it
   * @returns what is known afterwards: the given record, or the one that is newer
   */
  add(found: CheckedRecord, isToldByItself: boolean): CheckedRecord {
    const known = this.#records.get(found.entityId)
    if (known && known.record.sequence >= found.record.sequence) {
      this.#touch(known)
      if (isToldByItself && known.peerId === found.peerId) this.#entities.set(found.peerId, found.entityId)
      return known
    }
    const wasProved = known?.peerId === found.peerId && this.#entities.get(found.peerId) === found.entityId
    this.#remove(found.entityId)
    this.#records.set(found.entityId, found)
    if (isToldByItself || wasProved) this.#entities.set(found.peerId, found.entityId)
    this.#bytes += found.bytes.length
    this.#shrink(found.entityId)
    return found
  }

  #touch(known: CheckedRecord): void {
    this.#records.delete(known.entityId)
    this.#records.set(known.entityId, known)
  }

  #shrink(newest: string): void {
    const { maxRecords, maxBytes } = this.#limits
    for (const entityId of this.#records.keys()) {
      if (this.#records.size <= maxRecords && this.#bytes <= maxBytes) return
      if (entityId !== newest && !this.#kept.has(entityId)) this.#remove(entityId)
    }
  }

  #remove(entityId: string): void {
    const known = this.#records.get(entityId)
    if (!known) return
    this.#records.delete(entityId)
    if (this.#entities.get(known.peerId) === entityId) this.#entities.delete(known.peerId)
    this.#bytes -= known.bytes.length
  }
}
