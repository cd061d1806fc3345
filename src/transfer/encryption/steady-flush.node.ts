/** Brings a file to the disk while it is written, so that the last `fsync` does not wait for all of it. */
import { fdatasync, fsyncSync } from 'node:fs'

const STEP_BYTES = 32 * 1024 * 1024

export class SteadyFlush {
  readonly #fd: number
  #unflushed = 0
  #running: Promise<void> | undefined
  /** The kernel tells a failed write once: it must not be forgotten. */
  #error: unknown

  constructor(fd: number) {
    this.#fd = fd
  }

  /** So many bytes were written. One flush runs at a time, beside the thread. */
  wrote(bytes: number): void {
    this.#unflushed += bytes
    if (this.#unflushed < STEP_BYTES || this.#running) return
    this.#unflushed = 0
    this.#running = new Promise(resolve =>
      fdatasync(this.#fd, error => {
        this.#error ??= error ?? undefined
        this.#running = undefined
        resolve()
      })
    )
  }

  /** Resolves when everything is durable; then the file may be closed. Rejects with the system's error if any of it is not. */
  async end(): Promise<void> {
    await this.#running
    if (this.#error !== undefined) throw this.#error
    fsyncSync(this.#fd)
  }
}
