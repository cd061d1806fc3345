/** So many at once; further ones wait in line. Pure. */
export class Lanes {
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(count: number) {
    this.#free = count
  }

  /** Waits for a place. An aborted wait takes none. @throws the reason of the signal */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else {
      const turn = Promise.withResolvers<void>()
      const onAbort = (): void => {
        const at = this.#waiting.indexOf(turn.resolve)
        if (at === -1) return
        this.#waiting.splice(at, 1)
        turn.reject(signal.reason)
      }
      this.#waiting.push(turn.resolve)
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        await turn.promise
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    }
    let isOver = false
    return {
      [Symbol.dispose]: () => {
        if (isOver) return
        isOver = true
        const next = this.#waiting.shift()
        if (next) next()
        else this.#free++
      }
    }
  }
}
