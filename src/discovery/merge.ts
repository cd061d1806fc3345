/** Several searches as one: what any of them finds comes out at once, until all have ended or the reader stops. */

/** Sources that throw end quietly; when the reader stops, all are told to. */
export async function* merge<T>(sources: readonly AsyncGenerator<T, void, undefined>[]): AsyncGenerator<T, void, undefined> {
  const pending = new Map(sources.map((source, i) => [i, step(source, i)]))
  try {
    while (pending.size > 0) {
      const { i, result } = await Promise.race(pending.values())
      if (!result || result.done) pending.delete(i)
      else {
        pending.set(i, step(sources[i]!, i))
        yield result.value
      }
    }
  } finally {
    // A source that waits hears of it when its own signal aborts: the caller sees to that.
    for (const source of sources) source.return().catch(() => {})
  }
}

async function step<T>(
  source: AsyncGenerator<T, void, undefined>,
  i: number
): Promise<{ i: number; result: IteratorResult<T, void> | undefined }> {
  try {
    return { i, result: await source.next() }
  } catch {
    return { i, result: undefined }
  }
}
