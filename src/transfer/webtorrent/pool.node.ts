/** All WebRTC connections of this node: so many and no more, and none is left when it is closed. */
import type { Clock } from '../../base/clock.ts'
import { KithError, textOf } from '../../base/errors.ts'
import { RtcConnection, type RtcOptions } from './connection.node.ts'
import { type LoadRtc, loadRtc, useRtc } from './library.node.ts'
import { MAX_RTC_CONNECTIONS } from './limits.ts'

export interface RtcPoolDeps {
  readonly clock: Clock
  /** Brings the native library; the installed one unless it is given. */
  readonly load?: LoadRtc | undefined
}

export class RtcPool implements AsyncDisposable {
  readonly #deps: RtcPoolDeps
  readonly #options: RtcOptions
  readonly #connections = new Set<RtcConnection>()
  readonly #use = useRtc()
  #opening = 0
  #closed = false

  constructor(deps: RtcPoolDeps, options: RtcOptions) {
    this.#deps = deps
    this.#options = options
  }

  get size(): number {
    return this.#connections.size + this.#opening
  }

  /**
   * A connection that is not connected yet. It must be disposed, or closed by what uses it.
   * @param sameMachine both ends are on this machine, which may have no other address than loopback's
   * @throws WEBRTC_UNAVAILABLE, SOURCE_BUSY when there are too many, SOURCE_LOST
   */
  async open(sameMachine = false): Promise<RtcConnection> {
    if (this.size >= MAX_RTC_CONNECTIONS) throw new KithError('SOURCE_BUSY', 'there are too many WebRTC connections')
    this.#opening++
    try {
      const library = await loadRtc(this.#deps.load)
      if (this.#closed) throw new KithError('SOURCE_LOST', 'WebTorrent was closed')
      const bindAddress = this.#options.bindAddress ?? (sameMachine && !this.#options.relayOnly ? '127.0.0.1' : undefined)
      const connection = new RtcConnection({ clock: this.#deps.clock, library }, { ...this.#options, bindAddress })
      this.#connections.add(connection)
      void connection.gone.then(() => this.#connections.delete(connection))
      return connection
    } catch (cause) {
      throw cause instanceof KithError ? cause : new KithError('SOURCE_LOST', `WebRTC: ${textOf(cause)}`, {}, { cause })
    } finally {
      this.#opening--
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#connections].map(c => c[Symbol.asyncDispose]()))
    this.#use[Symbol.dispose]()
  }
}
