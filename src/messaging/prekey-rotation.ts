/** Keeps this instance's prekey young: looks every hour, makes a new one once a week, deletes old secrets, and tells who publishes it. */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { type PrekeyDeps, type PrekeyStore, rotatePrekeys } from '../session/prekeys.ts'
import { PREKEY_CHECK_MS } from './limits.ts'

export interface PrekeyRotationDeps extends PrekeyDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly store: PrekeyStore
  /** Told the encoded signed prekey whenever it is another one: for the peer record. */
  readonly onChange: (signed: Uint8Array) => Promise<void>
}

export class PrekeyRotation implements AsyncDisposable {
  readonly #deps: PrekeyRotationDeps
  readonly #closing = new AbortController()
  readonly #task: Promise<void>
  #current: { readonly id: string; readonly signed: Uint8Array }

  constructor(deps: PrekeyRotationDeps, current: { readonly id: string; readonly signed: Uint8Array }) {
    this.#deps = deps
    this.#current = current
    this.#task = this.#run()
  }

  /** The encoded signed prekey to publish. */
  get signed(): Uint8Array {
    return this.#current.signed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#task
  }

  async #run(): Promise<void> {
    const { clock, log, store, onChange } = this.#deps
    const { signal } = this.#closing
    while (!signal.aborted) {
      await clock.sleep(PREKEY_CHECK_MS, signal).catch(() => {})
      if (signal.aborted) return
      try {
        const next = await rotatePrekeys(this.#deps, store)
        if (next.id === this.#current.id) continue
        await onChange(next.signed)
        // Only now: one that could not be published is tried again.
        this.#current = next
      } catch (cause) {
        log.warn('the prekey was not renewed', { cause })
      }
    }
  }
}

/** Makes a prekey if there is none that is young enough, then keeps it so until disposed. @throws DISK_FULL, STORE_READ_ONLY, STORE_CORRUPT */
export async function openPrekeyRotation(deps: PrekeyRotationDeps): Promise<PrekeyRotation> {
  return new PrekeyRotation(deps, await rotatePrekeys(deps, deps.store))
}
