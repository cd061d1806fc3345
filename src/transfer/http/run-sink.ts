/** Lays the body of one answer into chunk slots as a `Delivery` hands them out. No I/O: the connection calls it. */
import { chunkLength, type Grid } from '../grid.ts'
import type { Delivery, Slot } from '../protocol.ts'

export interface RunSinkEvents {
  /** A slot came free after `ready` had been false. */
  onRoom(): void
  /** The next chunk is no longer wanted. */
  onUnwanted(): void
  onError(error: unknown): void
}

export class RunSink {
  readonly #delivery: Delivery
  readonly #grid: Grid
  readonly #events: RunSinkEvents
  readonly #end: number
  #chunk: number
  #slot: Slot | undefined
  #length = 0
  #filled = 0
  #begun = false
  #stopped = false

  constructor(delivery: Delivery, events: RunSinkEvents) {
    this.#delivery = delivery
    this.#grid = delivery.grid
    this.#events = events
    this.#chunk = delivery.run.first
    this.#end = delivery.run.first + delivery.run.count
  }

  /** Chunk being filled, or the next to be; the end of the run when all are complete. */
  get chunk(): number {
    return this.#chunk
  }
  /** Whether no byte of the current chunk has arrived. */
  get atBoundary(): boolean {
    return this.#filled === 0
  }
  get ready(): boolean {
    return this.#slot !== undefined
  }

  /** Asks for the first slot, once; to be called when a body begins. The caller has asked whether the first chunk is wanted. */
  begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.#ask()
  }
  /** Touches no slot from now on, whatever promise still resolves. */
  stop(): void {
    this.#stopped = true
    this.#slot = undefined
  }
  target(): Uint8Array {
    return this.#slot!.bytes.subarray(this.#filled, this.#length)
  }
  filled(n: number): void {
    this.#filled += n
    this.#delivery.received(n)
    if (this.#filled < this.#length || this.#stopped) return
    const chunk = this.#chunk++
    this.#slot = undefined
    this.#filled = 0
    this.#delivery.complete(chunk)
    if (this.#chunk < this.#end) this.#next()
  }

  #next(): void {
    if (this.#stopped) return
    if (!this.#delivery.wants(this.#chunk)) {
      this.stop()
      this.#events.onUnwanted()
    } else this.#ask()
  }

  #ask(): void {
    this.#length = chunkLength(this.#grid, this.#chunk)
    const slot = this.#delivery.slot(this.#chunk)
    if (!(slot instanceof Promise)) {
      this.#slot = slot
      return
    }
    slot.then(
      s => {
        if (this.#stopped) return
        this.#slot = s
        this.#events.onRoom()
      },
      (error: unknown) => {
        if (!this.#stopped) this.#events.onError(error)
      }
    )
  }
}
