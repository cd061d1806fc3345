/**
 * fdatasync of one file that is believed until it fails once. The system says once that it could not write, may have dropped what it could
 * not, and answers the next fdatasync with success: so nothing of the file is told to be on disk any more until it is opened anew, by a
 * program that reads what is there.
 */
import { fdatasync, fdatasyncSync } from 'node:fs'
import { promisify } from 'node:util'
import { KithError } from '../base/errors.ts'

const syncFile = promisify(fdatasync)

export interface FileSyncOptions {
  /** Called once, when it fails for the first time. */
  readonly onFailed?: (error: KithError) => void
}

export class FileSync {
  readonly #path: string
  readonly #fd: number
  readonly #onFailed: ((error: KithError) => void) | undefined
  #failure: KithError | undefined

  /** @param path for messages @param fd stays its caller's */
  constructor(path: string, fd: number, { onFailed }: FileSyncOptions = {}) {
    this.#path = path
    this.#fd = fd
    this.#onFailed = onFailed
  }

  /** Why nothing is believed any more. */
  get failure(): KithError | undefined {
    return this.#failure
  }

  /** Resolves when what was written before is on disk. @throws DISK_FAILED, then and ever after */
  async sync(): Promise<void> {
    this.check()
    await syncFile(this.#fd).catch((cause: unknown) => this.#fail(cause))
    // Another one may have failed meanwhile, and what that was told is not told again.
    this.check()
  }
  /** As `sync`, at once. */
  syncNow(): void {
    this.check()
    try {
      fdatasyncSync(this.#fd)
    } catch (cause) {
      this.#fail(cause)
    }
    this.check()
  }

  /** @throws DISK_FAILED after a failure */
  check(): void {
    if (this.#failure) throw this.#failure
  }

  #fail(cause: unknown): void {
    if (this.#failure) return
    this.#failure = new KithError(
      'DISK_FAILED',
      `the disk did not keep what was written to ${this.#path}`,
      { path: this.#path },
      { cause, hint: 'look after the disk, then restart the node: it goes on with what the disk holds' }
    )
    this.#onFailed?.(this.#failure)
  }
}
