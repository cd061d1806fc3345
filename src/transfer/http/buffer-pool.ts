/** Read buffers that are used again and again, so that serving a large file makes no garbage. */
import { MAX_POOLED_BUFFERS, READ_BYTES } from './limits.ts'

export class BufferPool {
  readonly #free: Uint8Array<ArrayBuffer>[] = []

  /** A buffer of READ_BYTES with old content. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#free.pop() ?? new Uint8Array(READ_BYTES)
  }
  /** Takes a buffer back that nothing reads or writes any more; surplus ones are left to the garbage collector. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    if (this.#free.length < MAX_POOLED_BUFFERS) this.#free.push(buffer)
  }
}
