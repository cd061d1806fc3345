/** How long the process runs: until its work ends, a signal comes, or the API is told to stop. */
import { exitCodes } from './exit-codes.ts'

/** From the first signal to the end by force: a script that sends SIGTERM may count on 5 s. */
const FORCE_MS = 4_500

export class Lifetime implements Disposable {
  readonly #abort = new AbortController()
  readonly #handlers = new Map<NodeJS.Signals, () => void>()
  #code: number = exitCodes.ok
  #timer: NodeJS.Timeout | undefined

  constructor() {
    const signals = { SIGINT: exitCodes.interrupted, SIGTERM: exitCodes.terminated, SIGHUP: exitCodes.hangup } as const
    for (const [name, code] of Object.entries(signals)) {
      const handler = (): void => this.#end(code)
      this.#handlers.set(name as NodeJS.Signals, handler)
      process.on(name, handler)
    }
  }

  /** Aborts at the first signal or `stop()`. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** What a command that was cut short exits with: 130 for Ctrl-C, 143 for SIGTERM. 0 after `stop()`. */
  get exitCode(): number {
    return this.#code
  }

  /** As a signal, but with exit code 0. */
  stop(): void {
    if (!this.signal.aborted) this.#end(exitCodes.ok)
  }

  /** Resolves at the first signal or `stop()`. */
  async ended(): Promise<void> {
    if (this.signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.signal.addEventListener('abort', () => resolve(), { once: true })
    // An abort listener does not keep the process alive, and a node may have nothing else that does.
    const alive = setInterval(() => {}, 2 ** 30)
    await promise
    clearInterval(alive)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    for (const [name, handler] of this.#handlers) process.off(name, handler)
  }

  #end(code: number): void {
    if (this.signal.aborted) process.exit(code) // a second Ctrl-C means now
    this.#code = code
    this.#timer = setTimeout(() => process.exit(code), FORCE_MS).unref()
    this.#abort.abort()
  }
}
