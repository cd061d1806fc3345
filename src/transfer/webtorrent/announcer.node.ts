/**
 * Keeps one torrent announced at one WebSocket tracker, sends offers of connections along, and handles the offers and answers that come
 * back. A seeder offers when it joins, which reaches who is waiting; later ones reach it with their own offers.
 */
import { randomBytes } from '#crypto'
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { AddressPolicy } from '../address-filter.ts'
import type { AddressTrust } from '../bittorrent/tracker.node.ts'
import type { RtcConnection } from './connection.node.ts'
import { MAX_OFFERS, MAX_WS_ANNOUNCE_MS, MIN_WS_ANNOUNCE_MS, OFFER_MS, TRACKER_INTERVAL_SECONDS } from './limits.ts'
import type { RtcPool } from './pool.node.ts'
import type { TrackerLink, TrackerSession } from './tracker-link.node.ts'
import type { ClientEvent, OfferItem, TrackerMessage } from './tracker-messages.ts'

export interface RtcAnnouncerDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly pool: RtcPool
  readonly link: TrackerLink
  /** 20 bytes. */
  readonly peerId: Uint8Array
}

export interface RtcAnnouncerOptions {
  readonly infoHash: Uint8Array
  /** Bytes that are still missing; 0 for a seeder. */
  left(): number
  /** How many more connections are wanted. */
  room(): number
  /** Whether there is nobody to fetch from: then the tracker's interval is not waited for. */
  hungry(): boolean
  /** Answers somebody's offer. */
  answer(offer: { readonly sdp: string; readonly policy: AddressPolicy }, signal: AbortSignal): Promise<string>
  /** Our offer was answered: the connection may open soon. The callee owns it. */
  onAnswered(connection: RtcConnection): void
}

export const policyOf = (trust: AddressTrust): AddressPolicy => ({ allowPrivate: trust === 'given', allowLoopback: trust === 'given' })

type About = Exclude<TrackerMessage, { kind: 'unknown' }>

export class RtcAnnouncer implements AsyncDisposable {
  readonly #deps: RtcAnnouncerDeps
  readonly #options: RtcAnnouncerOptions
  readonly #stop = new AbortController()
  readonly #tasks = new Set<Promise<void>>()
  readonly #listening: Disposable
  /** Our offers by their id, until they are answered or too old. */
  readonly #offers = new Map<string, RtcConnection>()
  #intervalMs: number = TRACKER_INTERVAL_SECONDS * 1000
  #wake: (() => void) | undefined

  constructor(deps: RtcAnnouncerDeps, options: RtcAnnouncerOptions) {
    this.#deps = deps
    this.#options = options
    this.#listening = deps.link.listen(options.infoHash, { message: m => this.#onMessage(m) })
    this.#track(this.#run())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return void (await Promise.all(this.#tasks))
    this.#stop.abort()
    this.#listening[Symbol.dispose]()
    const session = this.#deps.link.current
    if (session) this.#send(session, 'stopped', [])
    await Promise.all([...this.#offers.values()].map(c => c[Symbol.asyncDispose]()))
    await Promise.all(this.#tasks)
  }

  async #run(): Promise<void> {
    const signal = this.#stop.signal
    const stopped = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
    let done = this.#options.left() === 0
    while (!signal.aborted) {
      const session = await Promise.race([stopped, this.#deps.link.session().catch(() => stopped)])
      for (let first = true; session && !signal.aborted && !session.signal.aborted; first = false) {
        const left = this.#options.left()
        const offers = await this.#makeOffers(left > 0 || first ? Math.min(MAX_OFFERS, this.#options.room()) : 0, session)
        if (signal.aborted) return
        this.#send(session, first ? 'started' : !done && left === 0 ? 'completed' : undefined, offers)
        done ||= left === 0
        await this.#pause(AbortSignal.any([signal, session.signal]))
      }
    }
  }

  #send(session: TrackerSession, event: ClientEvent, offers: readonly OfferItem[]): void {
    const { infoHash } = this.#options
    session.send({ kind: 'announce', infoHash, peerId: this.#deps.peerId, event, left: this.#options.left(), offers })
  }

  /** Until the next announcement. The interval may come, and peers may go, while we wait. */
  async #pause(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    const beganMs = clock.monotonic()
    const pauseMs = (): number => (this.#options.hungry() ? MIN_WS_ANNOUNCE_MS : this.#intervalMs)
    for (let leftMs = pauseMs(); leftMs > 0 && !signal.aborted; leftMs = pauseMs() - (clock.monotonic() - beganMs)) {
      const changed = new AbortController()
      this.#wake = () => changed.abort()
      const lookMs = this.#options.left() > 0 ? Math.min(leftMs, MIN_WS_ANNOUNCE_MS) : leftMs
      await clock.sleep(lookMs, AbortSignal.any([signal, changed.signal])).catch(() => {})
      this.#wake = undefined
    }
  }

  async #makeOffers(count: number, session: TrackerSession): Promise<OfferItem[]> {
    const made = await Promise.all(Array.from({ length: count }, () => this.#makeOffer(session)))
    return made.filter(offer => offer !== undefined)
  }

  async #makeOffer(session: TrackerSession): Promise<OfferItem | undefined> {
    const { clock, log, pool } = this.#deps
    const signal = this.#stop.signal
    const offerId = randomBytes(20)
    const key = bytesToHex(offerId)
    try {
      const connection = await pool.open()
      this.#offers.set(key, connection)
      void connection.gone.then(() => this.#offers.delete(key))
      const sdp = await connection.offer(policyOf(session.trust), signal)
      this.#track(
        clock.sleep(OFFER_MS, signal).then(
          () => this.#expire(key),
          () => {}
        )
      )
      return { offerId, sdp }
    } catch (error) {
      await this.#expire(key)
      log.debug('an offer was not made', { code: codeOf(error), error })
      return undefined
    }
  }

  async #expire(key: string): Promise<void> {
    const connection = this.#offers.get(key)
    this.#offers.delete(key)
    await connection?.[Symbol.asyncDispose]()
  }

  #onMessage(m: About): void {
    if (this.#stop.signal.aborted) return
    if (m.kind === 'announced') {
      if (m.intervalSeconds === undefined) return
      this.#intervalMs = Math.min(MAX_WS_ANNOUNCE_MS, Math.max(MIN_WS_ANNOUNCE_MS, m.intervalSeconds * 1000))
      this.#wake?.()
    } else if (m.kind === 'failure') this.#deps.log.debug('tracker refused', { tracker: this.#deps.link.url, reason: m.reason })
    else if (equalBytes(m.peerId, this.#deps.peerId)) return
    else if (m.kind === 'offer') this.#track(this.#onOffer(m))
    else this.#track(this.#onAnswer(m))
  }

  async #onOffer({ sdp, peerId, offerId }: Extract<About, { kind: 'offer' | 'answer' }>): Promise<void> {
    const session = this.#deps.link.current
    if (!session || this.#options.room() <= 0) return
    try {
      const signal = AbortSignal.any([this.#stop.signal, session.signal])
      const answer = await this.#options.answer({ sdp, policy: policyOf(session.trust) }, signal)
      const { infoHash } = this.#options
      session.send({ kind: 'answer', infoHash, peerId: this.#deps.peerId, toPeerId: peerId, offerId, sdp: answer })
    } catch (error) {
      this.#deps.log.debug('an offer was not answered', { code: codeOf(error), error })
    }
  }

  async #onAnswer({ sdp, offerId }: Extract<About, { kind: 'offer' | 'answer' }>): Promise<void> {
    const key = bytesToHex(offerId)
    const connection = this.#offers.get(key)
    const session = this.#deps.link.current
    if (!connection || !session) return
    this.#offers.delete(key)
    try {
      await connection.accept(sdp, policyOf(session.trust))
      this.#options.onAnswered(connection)
    } catch (error) {
      this.#deps.log.debug('an answer was not usable', { code: codeOf(error), error })
      await connection[Symbol.asyncDispose]()
    }
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}
