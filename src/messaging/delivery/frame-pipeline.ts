/**
 * Frames that are being checked at once: signatures are verified in other threads where there are some, and what comes out goes on in the
 * order in which it came. Where the platform answers at once, nothing waits here.
 */
import { type Eventual, isPromise } from '../../platform/crypto-types.ts'
import { PIPELINE_BYTES, PIPELINE_FRAMES } from '../limits.ts'

interface Item<T> {
  readonly frame: Uint8Array
  readonly opening: Promise<T>
}

export interface FramePipelineDeps<T> {
  readonly open: (frame: Uint8Array) => Eventual<T>
  /** Resolves when more may come. */
  readonly take: (frame: Uint8Array, opened: T) => Promise<void> | undefined
  readonly onBad: (frame: Uint8Array, error: unknown) => void
}

export class FramePipeline<T> {
  readonly #deps: FramePipelineDeps<T>
  readonly #items: Item<T>[] = []
  #bytes = 0
  #draining: Promise<void> | undefined
  #onRoom: (() => void) | undefined

  constructor(deps: FramePipelineDeps<T>) {
    this.#deps = deps
  }

  /** Resolves when the next frame may come. */
  push(frame: Uint8Array): Promise<void> | undefined {
    let opening: Eventual<T>
    try {
      opening = this.#deps.open(frame)
    } catch (error) {
      opening = Promise.reject(error)
    }
    if (!isPromise(opening) && this.#items.length === 0) return this.#deps.take(frame, opening)
    const promise = Promise.resolve(opening)
    promise.catch(() => {}) // `#drain` sees it
    this.#items.push({ frame, opening: promise })
    this.#bytes += frame.length
    this.#draining ??= this.#drain()
    return this.#hasRoom ? undefined : new Promise(resolve => (this.#onRoom = resolve))
  }

  /** Resolves when everything was handed on. */
  async end(): Promise<void> {
    await this.#draining
  }

  get #hasRoom(): boolean {
    return this.#items.length < PIPELINE_FRAMES && this.#bytes < PIPELINE_BYTES
  }

  async #drain(): Promise<void> {
    for (let item = this.#items[0]; item; item = this.#items[0]) {
      try {
        await this.#deps.take(item.frame, await item.opening)
      } catch (error) {
        this.#deps.onBad(item.frame, error)
      }
      this.#items.shift()
      this.#bytes -= item.frame.length
      if (this.#onRoom && this.#hasRoom) {
        const wake = this.#onRoom
        this.#onRoom = undefined
        wake()
      }
    }
    this.#draining = undefined
  }
}
