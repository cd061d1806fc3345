/** What a search finds, as it finds it. */

/** Resolves when the signal aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

/**
 * Runs `search` and yields what it adds, in order. Ends when the search has ended or `signal` aborts, and ends the search when nobody wants
 * more. What the search throws is thrown here.
 */
export async function* gather<T>(
  search: (add: (item: T) => void, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal
): AsyncGenerator<T, void> {
  const over = new AbortController()
  const all = AbortSignal.any([signal, over.signal])
  let fresh: T[] = []
  let wake = Promise.withResolvers<void>()
  let done = false
  const running = search(item => {
    fresh.push(item)
    wake.resolve()
  }, all).finally(() => {
    done = true
    wake.resolve()
  })
  running.catch(() => {}) // thrown below
  void aborted(all).then(() => wake.resolve())
  try {
    for (;;) {
      while (fresh.length > 0 && !signal.aborted) {
        const batch = fresh
        fresh = []
        yield* batch
      }
      if (done || signal.aborted) break
      await wake.promise
      wake = Promise.withResolvers<void>()
    }
  } finally {
    over.abort()
    await running
  }
}
