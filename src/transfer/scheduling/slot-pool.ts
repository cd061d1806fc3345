/**
 * A fixed number of chunk slots in shared memory. Bulk bytes go from the socket into a slot, the verify worker reads them there, and
 * the slot comes back: no copy and no garbage. When all are in use `acquire` gives a promise; that is the back-pressure.
 */
import type { Slot } from '../protocol.ts'

export interface PoolSlot extends Slot {
  readonly index: number
}

export class SlotPool {
  readonly buffer: SharedArrayBuffer
  readonly #free: PoolSlot[] = []
  readonly #waiting: ((slot: PoolSlot) => void)[] = []
  readonly count: number

  /** @param maxBytes memory for all slots; at least `minSlots` are made even when they need more (large foreign pieces). */
  constructor(chunkBytes: number, maxBytes: number, minSlots = 3) {
    this.count = Math.max(minSlots, Math.floor(maxBytes / chunkBytes))
    this.buffer = new SharedArrayBuffer(this.count * chunkBytes)
    for (let i = this.count - 1; i >= 0; i--) this.#free.push({ index: i, bytes: new Uint8Array(this.buffer, i * chunkBytes, chunkBytes) })
  }

  get free(): number {
    return this.#free.length
  }

  /** A free slot, or a promise for the next one; first come, first served. */
  acquire(): PoolSlot | Promise<PoolSlot> {
    return this.#free.pop() ?? new Promise(resolve => this.#waiting.push(resolve))
  }

  release(slot: PoolSlot): void {
    const next = this.#waiting.shift()
    if (next) next(slot)
    else this.#free.push(slot)
  }
}
