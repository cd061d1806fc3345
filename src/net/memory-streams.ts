/** Two ends of a framed stream in one process, with the back-pressure of a real one: for tests of what is built on `Streams`. */
import type { Clock } from '../base/clock.ts'
import { type BytePipe, FrameStream, type FrameStreamInit } from './frame-stream.ts'
import { READ_AHEAD_BYTES } from './limits.ts'

/** Bytes from one end to the other; holds what the other does not take. */
class MemoryPipe implements BytePipe {
  other: MemoryPipe | undefined
  stream: FrameStream | undefined
  readonly #waiting: Uint8Array[] = []
  #held = 0
  #paused = false
  #ending = false
  #over = false
  #room = Promise.withResolvers<void>()

  write(bytes: Uint8Array): boolean {
    if (this.#over || !this.other || this.other.#over) throw new Error('the other end is gone')
    return this.other.#take(Uint8Array.from(bytes))
  }
  drained(signal: AbortSignal): Promise<void> {
    const room = this.other!.#room.promise
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      room.then(resolve, reject)
    })
  }
  pause(): void {
    this.#paused = true
  }
  resume(): void {
    this.#paused = false
    queueMicrotask(() => this.#flush())
  }
  async close(): Promise<void> {
    this.other!.#ending = true
    this.other!.#flush()
  }
  abort(error: Error): void {
    if (this.#over) return
    this.#over = true
    const { other } = this
    queueMicrotask(() => {
      other!.#room.resolve()
      this.#room.reject(error)
      if (!other!.#ending) other!.stream?.onGone(error)
    })
    this.#room.promise.catch(() => {})
  }

  #take(bytes: Uint8Array): boolean {
    this.#waiting.push(bytes)
    this.#held += bytes.length
    queueMicrotask(() => this.#flush())
    if (this.#held <= READ_AHEAD_BYTES) return true
    this.#room = Promise.withResolvers()
    return false
  }
  #flush(): void {
    while (!this.#paused && this.#waiting.length > 0) {
      const bytes = this.#waiting.shift()!
      this.#held -= bytes.length
      this.stream!.onBytes(bytes)
    }
    if (this.#waiting.length > 0) return
    this.#room.resolve()
    if (this.#ending) this.stream!.onEnd()
  }
}

type End = Omit<FrameStreamInit, 'clock'>

/** Joins two new streams; `a` is what the first end knows of the second. */
export function memoryStreamPair(clock: Pick<Clock, 'monotonic' | 'sleep'>, a: End, b: End): readonly [FrameStream, FrameStream] {
  const [one, two] = [new MemoryPipe(), new MemoryPipe()]
  one.other = two
  two.other = one
  one.stream = new FrameStream({ ...a, clock }, one)
  two.stream = new FrameStream({ ...b, clock }, two)
  return [one.stream, two.stream]
}
