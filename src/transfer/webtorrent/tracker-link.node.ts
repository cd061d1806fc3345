/**
 * The one connection of this node to a WebSocket tracker, shared by all torrents that are announced there. It is kept up until disposed:
 * lost ones are made anew, ever more rarely. The tracker's address is checked and then kept to.
 */
import { isIPv6 } from 'node:net'
import { WebSocket } from 'ws'
import { bytesToHex, fromUtf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { AddressTrust, CheckAddress } from '../bittorrent/tracker.node.ts'
import {
  MAX_TRACKER_MESSAGE_BYTES,
  MAX_TRACKER_MESSAGES_PER_SECOND,
  MAX_WS_RETRY_MS,
  TRACKER_MESSAGES_BURST,
  WS_CLOSE_MS,
  WS_HANDSHAKE_MS,
  WS_RETRY_MS,
  WS_SILENCE_MS
} from './limits.ts'
import { type ClientMessage, readTrackerMessage, type TrackerMessage, writeClientMessage } from './tracker-messages.ts'

export interface TrackerLinkDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly checkAddress: CheckAddress
  /** 0 ≤ n < 1: so that clients of a tracker that was restarted do not come back all at once. */
  readonly random: () => number
}

/** A torrent's part in the connection. */
export interface TrackerListener {
  /** A message about the torrent. */
  message(message: Exclude<TrackerMessage, { kind: 'unknown' }>): void
}

/** One time that the connection was up. */
export interface TrackerSession {
  /** Aborted when it is lost. */
  readonly signal: AbortSignal
  /** Whose word the addresses are that peers at this tracker name: 'given' when the user pointed us to a tracker in a private network. */
  readonly trust: AddressTrust
  send(message: ClientMessage): void
}

export class TrackerLink implements AsyncDisposable {
  readonly url: string
  readonly #deps: TrackerLinkDeps
  readonly #trust: AddressTrust
  readonly #stop = new AbortController()
  readonly #listeners = new Map<string, TrackerListener>()
  readonly #running: Promise<void>
  #session: TrackerSession | undefined
  #onSession = Promise.withResolvers<TrackerSession>()

  constructor(deps: TrackerLinkDeps, url: string, trust: AddressTrust) {
    this.#deps = deps
    this.url = url
    this.#trust = trust
    this.#onSession.promise.catch(() => {})
    this.#running = this.#run()
  }

  /** Messages about this torrent go to the listener until disposed. */
  listen(infoHash: Uint8Array, listener: TrackerListener): Disposable {
    const key = bytesToHex(infoHash)
    this.#listeners.set(key, listener)
    return {
      [Symbol.dispose]: () => {
        if (this.#listeners.get(key) === listener) this.#listeners.delete(key)
      }
    }
  }
  /** Whether nobody listens any more. */
  get idle(): boolean {
    return this.#listeners.size === 0
  }

  /** The connection as it is; undefined while there is none. */
  get current(): TrackerSession | undefined {
    return this.#session
  }
  /** Waits until it is up. @throws when this link was closed */
  async session(): Promise<TrackerSession> {
    return this.#session ?? (await this.#onSession.promise)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#onSession.reject(new KithError('TRACKER_FAILED', 'the tracker is not used any more'))
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, log, random } = this.#deps
    const signal = this.#stop.signal
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        if (await this.#connectOnce()) failures = 0
      } catch (error) {
        if (!signal.aborted) log.debug('tracker connection failed', { tracker: this.url, error })
      }
      const pauseMs = Math.min(MAX_WS_RETRY_MS, WS_RETRY_MS * 2 ** failures) * (0.5 + random())
      await clock.sleep(pauseMs, signal).catch(() => {})
    }
  }

  /** Resolves when the connection has ended. @returns whether it was ever up */
  async #connectOnce(): Promise<boolean> {
    const url = new URL(this.url)
    const port = Number(url.port) || (url.protocol === 'wss:' ? 443 : 80)
    const ip = await this.#deps.checkAddress(url.hostname.replace(/^\[|\]$/g, ''), port, this.#trust)
    const trust = await this.#trustOfPeers(ip, port)
    if (this.#stop.signal.aborted) return false
    const family = isIPv6(ip) ? 6 : 4
    const socket = new WebSocket(url, {
      perMessageDeflate: false,
      maxPayload: MAX_TRACKER_MESSAGE_BYTES,
      handshakeTimeout: WS_HANDSHAKE_MS,
      followRedirects: false,
      headers: { 'user-agent': 'Kith' },
      lookup: (_name, options, done) => {
        if (options.all) done(null, [{ address: ip, family }])
        else done(null, ip, family)
      }
    })
    const ended = Promise.withResolvers<void>()
    const lost = new AbortController()
    const onStop = (): void => socket.close()
    this.#stop.signal.addEventListener('abort', onStop, { once: true })
    let cause: Error | undefined
    let up = false
    let lastMs = this.#deps.clock.monotonic()
    socket.on('error', error => (cause ??= error))
    socket.on('close', () => ended.resolve())
    socket.on('pong', () => (lastMs = this.#deps.clock.monotonic()))
    const messages = new TokenBucket(this.#deps.clock, MAX_TRACKER_MESSAGES_PER_SECOND, TRACKER_MESSAGES_BURST)
    socket.on('message', (data, isBinary) => {
      lastMs = this.#deps.clock.monotonic()
      if (!messages.tryTake()) {
        socket.terminate()
        return
      }
      if (!isBinary || data instanceof Uint8Array) this.#onMessage(data as Uint8Array)
    })
    socket.on('open', () => {
      up = true
      this.#begin({ signal: lost.signal, trust, send: m => socket.readyState === WebSocket.OPEN && socket.send(writeClientMessage(m)) })
    })
    const watching = this.#watch(socket, () => lastMs, lost.signal)
    await ended.promise
    this.#stop.signal.removeEventListener('abort', onStop)
    this.#end()
    lost.abort()
    await watching
    if (cause && !up) throw cause
    return up
  }

  #begin(session: TrackerSession): void {
    this.#session = session
    this.#onSession.resolve(session)
  }
  #end(): void {
    if (!this.#session || this.#stop.signal.aborted) return
    this.#session = undefined
    this.#onSession = Promise.withResolvers()
    this.#onSession.promise.catch(() => {})
  }

  /** A tracker that fell silent without a word is noticed. */
  async #watch(socket: WebSocket, lastMs: () => number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    while (!signal.aborted) {
      await clock.sleep(WS_SILENCE_MS, AbortSignal.any([signal, this.#stop.signal])).catch(() => {})
      if (this.#stop.signal.aborted)
        await clock.sleep(WS_CLOSE_MS, signal).then(
          () => socket.terminate(),
          () => {}
        )
      if (signal.aborted || this.#stop.signal.aborted) return
      const silentMs = clock.monotonic() - lastMs()
      if (silentMs > 2.5 * WS_SILENCE_MS) socket.terminate()
      else if (silentMs >= WS_SILENCE_MS && socket.readyState === WebSocket.OPEN) socket.ping()
    }
  }

  /** What cannot be read is skipped: one bad message of one peer must not cost all others their tracker. */
  #onMessage(bytes: Uint8Array): void {
    try {
      const m = readTrackerMessage(fromUtf8(bytes))
      if (m.kind === 'unknown') return
      if (m.infoHash) this.#listeners.get(bytesToHex(m.infoHash))?.message(m)
      else if (m.kind === 'failure') this.#deps.log.debug('tracker refused', { tracker: this.url, reason: m.reason })
    } catch (error) {
      this.#deps.log.debug('tracker message skipped', { tracker: this.url, error })
    }
  }

  async #trustOfPeers(ip: string, port: number): Promise<AddressTrust> {
    if (this.#trust === 'found') return 'found'
    return this.#deps.checkAddress(ip, port, 'found').then(
      () => 'found' as const,
      () => 'given' as const
    )
  }
}
