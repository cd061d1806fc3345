/**
 * One `fetch` of a source that asks for less than a chunk at a time: which chunks are still to be begun, which are open, and how it ended. A
 * chunk is only begun once it has a slot, so back-pressure needs no pause of the socket.
 */
import { KithError } from '../../base/errors.ts'
import type { Delivery, Slot } from '../protocol.ts'

/** The source that the run belongs to. */
export interface RunHost<Open> {
  /** Whether the other side has a chunk. */
  has(chunk: number): boolean
  /** What the host keeps of a chunk that is begun. */
  open(run: ChunkRun<Open>, chunk: number, slot: Slot): Open
  /** A chunk was opened while nobody was waiting for it: there is more to ask for. */
  pump(): void
  /** The run cannot go on. */
  end(run: ChunkRun<Open>, error: unknown): void
}

export class ChunkRun<Open> {
  readonly delivery: Delivery
  /** Chunks that have a slot and are not complete. */
  readonly open: Set<Open> = new Set()
  readonly #host: RunHost<Open>
  readonly #done = Promise.withResolvers<void>()
  #next: number
  #end: number
  /** A slot was asked for and is not there yet. */
  #waiting = false
  #settled = false

  constructor(delivery: Delivery, host: RunHost<Open>) {
    this.delivery = delivery
    this.#host = host
    this.#next = delivery.run.first
    this.#end = this.#next + delivery.run.count
  }

  /** It has ended; what comes for it is nobody's. */
  get settled(): boolean {
    return this.#settled
  }

  /** All chunks have come. */
  get isComplete(): boolean {
    return this.open.size === 0 && this.#next >= this.#end && !this.#waiting
  }

  /** Begins the next chunk, if there is one and its slot is there; the host is pumped when a slot comes later. */
  openNext(): Open | undefined {
    if (this.#waiting || this.#next >= this.#end || this.#settled) return undefined
    if (!this.delivery.wants(this.#next)) {
      this.#end = this.#next
      return undefined
    }
    if (!this.#host.has(this.#next)) {
      this.#host.end(this, new KithError('SOURCE_BUSY', 'the peer does not have this piece yet', { chunk: this.#next }))
      return undefined
    }
    const chunk = this.#next++
    const slot = this.delivery.slot(chunk)
    if (!(slot instanceof Promise)) return this.#open(chunk, slot)
    this.#waiting = true
    slot.then(
      s => {
        this.#waiting = false
        if (this.#settled) return
        this.#open(chunk, s)
        this.#host.pump()
      },
      error => this.#host.end(this, error)
    )
    return undefined
  }

  /** Marks it as ended. @returns what tells its caller, once no slot of it is written to any more; undefined when it had ended before */
  settle(error: unknown): (() => void) | undefined {
    if (this.#settled) return undefined
    this.#settled = true
    return error === undefined ? this.#done.resolve : () => this.#done.reject(error)
  }

  /** Resolves when its caller is told; ends it when `signal` aborts. @throws what it was ended with */
  async until(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#host.end(this, signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    try {
      await this.#done.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #open(chunk: number, slot: Slot): Open {
    const open = this.#host.open(this, chunk, slot)
    this.open.add(open)
    return open
  }
}
