/** A part of the node that is opened when it is first needed: most commands need few of them, and each costs start-up time. */
import type { Endpoint, Source, TransferProtocol } from '../transfer/protocol.ts'

export class Service<T extends AsyncDisposable> implements AsyncDisposable {
  readonly #start: () => Promise<T>
  #opening: Promise<T> | undefined
  #closed = false
  /** Set once it runs. */
  opened: T | undefined

  constructor(start: () => Promise<T>) {
    this.#start = start
  }

  /** Opens it, once. After a failure the next call tries again. */
  open(): Promise<T> {
    this.#opening ??= this.#begin()
    return this.#opening
  }

  async #begin(): Promise<T> {
    try {
      const opened = await this.#start()
      if (this.#closed) await opened[Symbol.asyncDispose]()
      this.opened = opened
      return opened
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    const opened = await this.#opening?.catch(() => undefined)
    await opened?.[Symbol.asyncDispose]()
  }
}

/** The downloader's half of a protocol whose parts are opened with its first source. Disposing it is the service's task. */
export function lazyProtocol<T extends AsyncDisposable>(
  name: string,
  service: Service<T>,
  protocolOf: (opened: T) => TransferProtocol
): TransferProtocol {
  return {
    name,
    openSource: async (endpoint: Endpoint, signal: AbortSignal): Promise<Source> =>
      protocolOf(await service.open()).openSource(endpoint, signal),
    [Symbol.asyncDispose]: async () => {}
  }
}
