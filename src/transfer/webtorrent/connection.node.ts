/**
 * One WebRTC connection with one reliable, ordered data channel: ours to offer, or an answer to somebody's offer. It owns the native
 * objects, and is only gone when the library has let go of them. Everything the library calls back is caught here.
 */

import type { DataChannel, PeerConnection } from 'node-datachannel'
import { randomBytes } from '#crypto'
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError, textOf } from '../../base/errors.ts'
import type { AddressPolicy } from '../address-filter.ts'
import type { ByteStream, ByteStreamEvents } from '../bittorrent/peer.node.ts'
import { keepAllowed } from './candidates.ts'
import { ChannelStream } from './channel.node.ts'
import type { IceServerConfig } from './ice-servers.ts'
import type { RtcLibrary } from './library.node.ts'
import {
  CONNECT_MS,
  GATHER_MS,
  HOLD_MS,
  HOLD_NEAR_MS,
  MAX_CANDIDATES,
  MAX_CHANNEL_MESSAGE_BYTES,
  RTC_CLOSE_MS,
  SEND_MESSAGE_BYTES
} from './limits.ts'
import { type Description, readDescription, writeCandidate, writeDescription } from './sdp.ts'

export interface RtcOptions {
  /** For finding our public address, and for relaying. */
  readonly iceServers?: readonly IceServerConfig[]
  /** Only through relays. */
  readonly relayOnly?: boolean
  /** Own address to use instead of all. */
  readonly bindAddress?: string | undefined
  /** First and last UDP port to use. */
  readonly ports?: readonly [first: number, last: number] | undefined
}

export interface RtcConnectionDeps {
  readonly clock: Clock
  readonly library: RtcLibrary
}

export class RtcConnection implements AsyncDisposable {
  /** For logs: there is no address before it is open. */
  readonly name: string = bytesToHex(randomBytes(4))
  readonly #deps: RtcConnectionDeps
  readonly #relayOnly: boolean
  readonly #pc: PeerConnection
  readonly #gathered = Promise.withResolvers<void>()
  readonly #opened = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #stop = new AbortController()
  #channel: DataChannel | undefined
  #remote: Description | undefined
  #events: ByteStreamEvents | undefined
  #error: KithError | undefined

  constructor(deps: RtcConnectionDeps, options: RtcOptions) {
    this.#deps = deps
    this.#opened.promise.catch(() => {})
    const { iceServers = [], relayOnly = false, bindAddress, ports } = options
    this.#relayOnly = relayOnly
    this.#pc = new deps.library.PeerConnection(this.name, {
      iceServers: [...iceServers],
      iceTransportPolicy: relayOnly ? 'relay' : 'all',
      maxMessageSize: MAX_CHANNEL_MESSAGE_BYTES,
      ...(bindAddress === undefined ? {} : { bindAddress }),
      ...(ports === undefined ? {} : { portRangeBegin: ports[0], portRangeEnd: ports[1] })
    })
    this.#pc.onGatheringStateChange(state => {
      if (state === 'complete') this.#gathered.resolve()
    })
    this.#pc.onStateChange(state => this.#guard(() => this.#onState(state)))
    this.#pc.onDataChannel(channel => this.#guard(() => this.#onChannel(channel)))
  }

  /** Resolves when the library has let go of it. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  /** Makes an offer. @returns what the other side is told @throws SOURCE_LOST */
  async offer(policy: AddressPolicy, signal: AbortSignal): Promise<string> {
    return this.#attempt(() => {
      this.#use(this.#pc.createDataChannel('kith'))
      return this.#describe('offer', policy, signal)
    })
  }

  /** Takes the answer to our offer. @throws BAD_SDP, SOURCE_LOST */
  async accept(sdp: string, policy: AddressPolicy): Promise<void> {
    await this.#attempt(async () => this.#setRemote(sdp, 'answer', policy))
  }

  /** Answers somebody's offer. @throws BAD_SDP, SOURCE_LOST */
  async answer(sdp: string, policy: AddressPolicy, signal: AbortSignal): Promise<string> {
    return this.#attempt(() => {
      this.#setRemote(sdp, 'offer', policy)
      return this.#describe('answer', policy, signal)
    })
  }

  /** Waits for the channel, CONNECT_MS at most. @throws SOURCE_LOST */
  async opened(signal: AbortSignal): Promise<void> {
    const late = new AbortController()
    const pause = this.#deps.clock.sleep(CONNECT_MS, AbortSignal.any([signal, late.signal]))
    try {
      await Promise.race([this.#opened.promise, pause])
      if (this.#channel?.isOpen()) return
      throw this.#error ?? new KithError('SOURCE_LOST', 'no way to the peer was found in time')
    } catch (error) {
      throw signal.aborted ? new KithError('SOURCE_LOST', 'connecting was given up') : error
    } finally {
      late.abort()
      pause.catch(() => {})
    }
  }

  /** Address of the other side, once it is open: "192.0.2.1:40000". */
  get address(): string {
    const remote = this.#pc.getSelectedCandidatePair()?.remote
    if (!remote) return this.name
    return remote.address.includes(':') ? `[${remote.address}]:${remote.port}` : `${remote.address}:${remote.port}`
  }

  /** The open channel as a stream; once. Closing that stream closes the connection. */
  stream(events: ByteStreamEvents): ByteStream {
    this.#events = events
    const wants = this.#remote?.maxMessageBytes || SEND_MESSAGE_BYTES
    const stream = new ChannelStream({
      channel: this.#channel!,
      messageBytes: Math.min(SEND_MESSAGE_BYTES, wants),
      events,
      bytesReceived: () => this.#pc.bytesReceived(),
      close: () => this.close(new KithError('SOURCE_LOST', 'the connection was closed here'))
    })
    if (this.#error) queueMicrotask(() => events.failed(this.#error!))
    void this.#gone.promise.then(() => events.gone())
    return stream
  }

  close(error: KithError): void {
    if (this.#error) return
    this.#error = error
    this.#stop.abort()
    this.#opened.reject(error)
    this.#gathered.resolve()
    void this.#letGo()
    this.#events?.failed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close(new KithError('SOURCE_LOST', 'the connection was closed here'))
    await this.#gone.promise
  }

  /**
   * The library says that it is closed; should it forget to, we do not wait for ever. The channel goes first and by itself: one whose
   * connection alone was closed is never told to be, and then holds the process by its callback.
   */
  async #letGo(): Promise<void> {
    for (const part of [this.#channel, this.#pc]) {
      try {
        part?.close()
      } catch {
        // closed already
      }
    }
    const late = new AbortController()
    const pause = this.#deps.clock.sleep(RTC_CLOSE_MS, late.signal).catch(() => {})
    await Promise.race([this.#gone.promise, pause])
    late.abort()
    this.#gone.resolve()
  }

  #onState(state: string): void {
    if (state === 'failed') this.close(new KithError('SOURCE_LOST', 'no way to the peer, or it is gone'))
    if (state !== 'closed') return
    this.close(new KithError('SOURCE_LOST', 'the connection was closed'))
    this.#gone.resolve()
  }

  #onChannel(channel: DataChannel): void {
    if (this.#channel || this.#error) {
      channel.onClosed(() => {}) // the library lets go only of a channel that has somebody to tell
      channel.close()
    } else this.#use(channel)
  }

  #use(channel: DataChannel): void {
    this.#channel = channel
    channel.onClosed(() => this.#guard(() => this.close(new KithError('SOURCE_LOST', 'the peer closed the connection'))))
    channel.onError(message => this.#guard(() => this.close(new KithError('SOURCE_LOST', `the channel failed: ${textOf(message)}`))))
    if (channel.isOpen()) this.#opened.resolve()
    else channel.onOpen(() => this.#opened.resolve())
  }

  #setRemote(sdp: string, type: 'offer' | 'answer', policy: AddressPolicy): void {
    const remote = keepAllowed(readDescription(sdp, type), policy)
    this.#remote = remote
    const early = type === 'answer' ? remote.candidates : []
    this.#pc.setRemoteDescription(writeDescription({ ...remote, candidates: early }), type)
    if (type === 'offer') void this.#addLater(remote, policy.allowPrivate && !this.#relayOnly ? HOLD_NEAR_MS : HOLD_MS)
  }

  /**
   * The other side of our answer speaks first. Were it us, our packets would often reach it before the answer does: the first of the DTLS
   * handshake would be lost, and repeated a second later; or, on a path of microseconds, libdatachannel 0.24 would compare the
   * certificate with an answer that it has not stored yet. Its addresses are tried from here when it does not come by itself.
   */
  async #addLater({ candidates, mid }: Description, holdMs: number): Promise<void> {
    await this.#deps.clock.sleep(holdMs, this.#stop.signal).catch(() => {})
    if (this.#error || this.#channel) return
    this.#guard(() => {
      for (const candidate of candidates) this.#pc.addRemoteCandidate(writeCandidate(candidate), mid)
    })
  }

  /** Own description, once all addresses are known or GATHER_MS are over. */
  async #describe(type: 'offer' | 'answer', policy: AddressPolicy, signal: AbortSignal): Promise<string> {
    const late = new AbortController()
    const pause = this.#deps.clock.sleep(GATHER_MS, AbortSignal.any([signal, late.signal])).catch(() => {})
    await Promise.race([this.#gathered.promise, pause])
    late.abort()
    if (this.#error) throw this.#error
    if (signal.aborted) throw new KithError('SOURCE_LOST', 'connecting was given up')
    const local = this.#pc.localDescription()
    if (!local) throw new KithError('SOURCE_LOST', 'the library made no description')
    const allowed = keepAllowed(readDescription(cutCandidates(local.sdp), type), policy)
    return writeDescription(allowed)
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      if (this.#error) throw this.#error
      return await work()
    } catch (cause) {
      const error = cause instanceof KithError ? cause : new KithError('SOURCE_LOST', `WebRTC: ${textOf(cause)}`, {}, { cause })
      this.close(error)
      throw error
    }
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (cause) {
      this.close(new KithError('INTERNAL', textOf(cause), {}, { cause }))
    }
  }
}

/** A machine may have more addresses than we let others name. */
function cutCandidates(sdp: string): string {
  let n = 0
  return sdp
    .split('\r\n')
    .filter(line => !line.startsWith('a=candidate:') || ++n <= MAX_CANDIDATES)
    .join('\r\n')
}
