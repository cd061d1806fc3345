/** A typed event map. Events are state changes that others may ignore: past tense, `peer:connected`. */
export class Emitter<M extends Record<string, unknown>> {
  readonly #listeners = new Map<keyof M, Set<(payload: never) => void>>()
  readonly #onError: (error: unknown) => void

  /** @param onError hears what a listener throws; the emitter never does. */
  constructor(onError: (error: unknown) => void = () => {}) {
    this.#onError = onError
  }

  on<K extends keyof M>(name: K, listener: (payload: M[K]) => void, signal?: AbortSignal): () => void {
    const set = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, set)
    set.add(listener as (payload: never) => void)
    const off = (): void => {
      set.delete(listener as (payload: never) => void)
      // A signal that outlives many listeners must not keep them.
      signal?.removeEventListener('abort', off)
    }
    if (signal?.aborted) off()
    else signal?.addEventListener('abort', off, { once: true })
    return off
  }

  emit<K extends keyof M>(name: K, payload: M[K]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        ;(listener as (payload: M[K]) => void)(payload)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}
