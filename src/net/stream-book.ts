/** Which stream protocols there are, and how many streams are open: the accepting side, apart from what carries the bytes. */
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { MAX_FRAME_BYTES, MAX_STREAMS } from './limits.ts'
import { isMethodName } from './rpc-methods.ts'
import type { FramedStream, StreamHandlerOptions } from './streams.ts'

interface Entry {
  readonly options: StreamHandlerOptions
  readonly handler: (stream: FramedStream) => Promise<void>
  readonly open: Map<string, number>
}

export class StreamBook {
  readonly #log: Logger
  readonly #entries = new Map<string, Entry>()
  #total = 0

  constructor(log: Logger) {
    this.#log = log
  }

  /** Accepted streams that are open; for tests of leaks. */
  get size(): number {
    return this.#total
  }

  /** @throws METHOD_EXISTS, BAD_METHOD as programming errors */
  add(protocol: string, options: StreamHandlerOptions, handler: Entry['handler']): Disposable {
    if (!isMethodName(protocol)) throw new KithError('BAD_METHOD', 'not a protocol name', { protocol })
    if (options.maxFrameBytes > MAX_FRAME_BYTES)
      throw new KithError('BAD_METHOD', 'frame limit is above the limit of all protocols', { protocol })
    if (this.#entries.has(protocol)) throw new KithError('METHOD_EXISTS', 'the protocol has a handler already', { protocol })
    this.#entries.set(protocol, { options, handler, open: new Map() })
    return { [Symbol.dispose]: () => void this.#entries.delete(protocol) }
  }

  /** Options of a protocol; undefined when nobody handles it. */
  optionsOf(protocol: string): StreamHandlerOptions | undefined {
    return this.#entries.get(protocol)?.options
  }

  /** Serves an accepted stream until it ends; drops it at once when there is no place for it. Never throws. */
  async serve(protocol: string, stream: FramedStream): Promise<void> {
    const entry = this.#entries.get(protocol)
    const open = entry?.open.get(stream.peerId) ?? 0
    if (!entry || open >= entry.options.maxStreamsPerPeer || this.#total >= MAX_STREAMS) {
      this.#log.debug('stream refused', { protocol, peer: stream.peerId, open, total: this.#total })
      return stream[Symbol.asyncDispose]()
    }
    this.#total++
    entry.open.set(stream.peerId, open + 1)
    try {
      await entry.handler(stream)
      await stream.close()
    } catch (cause) {
      this.#log.debug('stream ended', { protocol, peer: stream.peerId, cause })
    } finally {
      await stream[Symbol.asyncDispose]()
      this.#total--
      const left = entry.open.get(stream.peerId)! - 1
      if (left === 0) entry.open.delete(stream.peerId)
      else entry.open.set(stream.peerId, left)
    }
  }
}
