/** Retries what could not be finished: sleeps without a timer while there is nothing to do, backs off while there is. */
import type { Clock } from '../base/clock.ts'
import { codeOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

export interface BackgroundOptions {
  /** First pause; doubles up to `maxMs`. */
  readonly minMs?: number
  readonly maxMs?: number
}
export const backgroundDefaults: Required<BackgroundOptions> = { minMs: 2_000, maxMs: 60_000 }

export class Background implements AsyncDisposable {
  readonly #stop = new AbortController()
  readonly #done: Promise<void>
  #wake: () => void = () => {}
  #woken = true

  /** @param pass does what it can and says how much is left; what it throws counts as "something is left" */
  constructor(
    deps: { readonly clock: Clock; readonly log: Logger },
    pass: (signal: AbortSignal) => Promise<number>,
    options: BackgroundOptions = {}
  ) {
    this.#done = this.#run(deps, pass, { ...backgroundDefaults, ...options })
  }

  /** There is something to do, after the first pause. */
  wake(): void {
    this.#woken = true
    this.#wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#wake()
    await this.#done
  }

  async #run(
    { clock, log }: { readonly clock: Clock; readonly log: Logger },
    pass: (signal: AbortSignal) => Promise<number>,
    { minMs, maxMs }: Required<BackgroundOptions>
  ): Promise<void> {
    const { signal } = this.#stop
    let pause = minMs
    let left = -1
    while (!signal.aborted) {
      if (!this.#woken) {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
        pause = minMs
      }
      try {
        await clock.sleep(pause, signal)
        this.#woken = false
        const before = left
        left = await pass(signal)
        pause = left === before ? Math.min(maxMs, pause * 2) : minMs
        if (left > 0) this.#woken = true
      } catch (error) {
        if (signal.aborted) return
        log.debug('a payment pass failed', { code: codeOf(error) })
        this.#woken = true
        pause = Math.min(maxMs, pause * 2)
      }
    }
  }
}
