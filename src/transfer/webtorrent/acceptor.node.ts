/**
 * Answers offers of connections, whoever brings them: a tracker, or a peer over libp2p. Only for torrents that are here, and never more
 * than so many a second: an answer costs sockets, keys and a handshake (threats BT13).
 */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { AddressPolicy } from '../address-filter.ts'
import type { PeerHub } from '../bittorrent/hub.node.ts'
import { PeerWire } from '../bittorrent/peer.node.ts'
import { AnsweredPlaces } from './answered.ts'
import type { RtcConnection } from './connection.node.ts'
import {
  MAX_PENDING_ANSWERS,
  MAX_PENDING_ANSWERS_PER_CALLER,
  MAX_RATED_CALLERS,
  OFFERS_PER_CALLER_PER_SECOND,
  OFFERS_PER_SECOND
} from './limits.ts'
import type { RtcPool } from './pool.node.ts'
import { Rates } from './rates.ts'
import { readDescription } from './sdp.ts'

export interface AcceptorDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly pool: RtcPool
  readonly hub: PeerHub
  /** Whether this torrent is shared or downloaded here. */
  knows(infoHash: Uint8Array): boolean
}

export interface IncomingOffer {
  readonly infoHash: Uint8Array
  readonly sdp: string
  /** Whose rate counts: "rpc <PeerId>", "tracker <URL>". */
  readonly caller: string
  readonly policy: AddressPolicy
  readonly sameMachine?: boolean
}

export class Acceptor implements AsyncDisposable {
  readonly #deps: AcceptorDeps
  readonly #rate: Rates
  readonly #rateOfCaller: Rates
  readonly #stop = new AbortController()
  readonly #tasks = new Set<Promise<void>>()
  readonly #places = new AnsweredPlaces()
  /** Offers that are being answered, by caller. */
  readonly #pending = new Map<string, number>()

  constructor(deps: AcceptorDeps) {
    this.#deps = deps
    const all = { perSecond: OFFERS_PER_SECOND, burst: OFFERS_PER_SECOND }
    const each = { perSecond: OFFERS_PER_CALLER_PER_SECOND, burst: OFFERS_PER_SECOND }
    this.#rate = new Rates(deps.clock, { ...all, maxCallers: 1 })
    this.#rateOfCaller = new Rates(deps.clock, { ...each, maxCallers: MAX_RATED_CALLERS })
  }

  /**
   * Our answer; the connection goes to the hub as soon as its channel is open.
   * @throws UNKNOWN_SHARE, RATE_LIMITED, BAD_SDP, SOURCE_BUSY, SOURCE_LOST, WEBRTC_UNAVAILABLE
   */
  async answer(offer: IncomingOffer, signal: AbortSignal): Promise<string> {
    const { hub, pool } = this.#deps
    if (this.#stop.signal.aborted) throw new KithError('SOURCE_LOST', 'WebTorrent was closed')
    if (!this.#deps.knows(offer.infoHash)) throw new KithError('UNKNOWN_SHARE', 'an offer for a torrent that is not here')
    const ofCaller = this.#pending.get(offer.caller) ?? 0
    const isFull = this.#tasks.size >= MAX_PENDING_ANSWERS || ofCaller >= MAX_PENDING_ANSWERS_PER_CALLER || this.#places.isFull
    if (!this.#rateOfCaller.tryTake(offer.caller) || !this.#rate.tryTake('all') || isFull)
      throw new KithError('RATE_LIMITED', 'too many offers of connections')
    readDescription(offer.sdp, 'offer') // before anything is opened for it
    const started = Promise.withResolvers<string>()
    started.promise.catch(() => {})
    const work = async (): Promise<void> => {
      const connection = await pool.open(offer.sameMachine)
      try {
        started.resolve(await connection.answer(offer.sdp, offer.policy, AbortSignal.any([signal, this.#stop.signal])))
        await connection.opened(this.#stop.signal)
        const leave = this.#places.enter(connection.address)
        if (!leave) throw new KithError('SOURCE_BUSY', 'there are too many WebRTC connections from this address')
        void connection.gone.then(leave)
        hub.acceptOver(connection.address, options => PeerWire.over(events => connection.stream(events), options))
      } catch (error) {
        await connection[Symbol.asyncDispose]()
        throw error
      }
    }
    this.#track(offer.caller, work(), started)
    return started.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#tasks)
  }

  #track(caller: string, work: Promise<void>, started: PromiseWithResolvers<string>): void {
    this.#pending.set(caller, (this.#pending.get(caller) ?? 0) + 1)
    const task = work.catch(error => {
      this.#deps.log.debug('answering an offer failed', { error })
      started.reject(error)
    })
    this.#tasks.add(task)
    void task.then(() => {
      this.#tasks.delete(task)
      const left = this.#pending.get(caller)! - 1
      if (left > 0) this.#pending.set(caller, left)
      else this.#pending.delete(caller)
    })
  }
}

/** What a connection that we offered becomes when its channel is open. @throws SOURCE_LOST, SOURCE_LIED */
export async function dialOver(
  hub: PeerHub,
  connection: RtcConnection,
  torrent: Parameters<PeerHub['dialOver']>[2],
  signal: AbortSignal
): ReturnType<PeerHub['dialOver']> {
  try {
    await connection.opened(signal)
    return await hub.dialOver(connection.address, options => PeerWire.over(events => connection.stream(events), options), torrent, signal)
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}
