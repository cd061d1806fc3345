/**
 * Who is linked to whom: opens a link when something waits, takes the links of others, keeps one for each peer, tries again later with
 * longer pauses, and hands messages to a carrier when there is no way. Nothing runs while nothing waits.
 */
import type { Clock } from '../../base/clock.ts'
import { mostCrowded } from '../../base/crowding.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import type { Emitter } from '../../base/events.ts'
import type { Logger } from '../../base/log.ts'
import { backoffMs } from '../../base/retry.ts'
import type { MessageType } from '../../wire/message-types.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import { Alarm } from '../alarm.ts'
import type { Channel, Channels } from '../channel.ts'
import type { Failpoint } from '../failpoints.ts'
import type { Guard } from '../guard.ts'
import { CROSSING_MS, HANDSHAKE_MS, MAX_LINKS, MAX_OPENING, MAX_PEER_FIGURES, RETRY_MAX_MS, RETRY_MS } from '../limits.ts'
import type { LinkOpener, MessageLink } from '../link.ts'
import { PeerFigures, type PeerStats } from '../peer-figures.ts'
import type { MessageStore, WaitingMessage } from '../store.ts'
import type { EntityId, MessengerEvents } from '../types.ts'
import type { ChunkReceiver } from './chunk-receiver.ts'
import type { GreetingLink } from './greeting-link.ts'
import { Greetings } from './greetings.ts'
import type { Inbox } from './inbox.ts'
import { originNetwork } from './origin-key.ts'
import type { Outbox } from './outbox.ts'
import { Peer } from './peer.ts'
import { PeerLink } from './peer-link.ts'
import { PeerQueue } from './peer-queue.ts'
import { LANES } from './priorities.ts'
import { notReachedReason } from './wait-reasons.ts'

/** Messages read from disk at a time for a carrier. */
const CARRY_BATCH = 16
const RETRY = { firstMs: RETRY_MS, maxMs: RETRY_MAX_MS, jitter: 0.5 }

export interface DeliveryDeps {
  readonly clock: Clock
  /** A number in [0, 1). */
  readonly random: () => number
  readonly log: Logger
  readonly store: MessageStore
  readonly channels: Channels
  readonly opener: LinkOpener
  readonly guard: Guard
  readonly failpoint: Failpoint
  readonly events: Emitter<MessengerEvents>
  readonly outbox: Outbox
  readonly inbox: Inbox
  readonly chunks: ChunkReceiver
  /** Tries to hand a message to somebody who brings it on. @returns true: it is taken durably; else why not, if that is known */
  readonly carry: ((to: EntityId, message: WaitingMessage, signal: AbortSignal) => Promise<boolean | string>) | undefined
}

export class Delivery implements AsyncDisposable {
  readonly #deps: DeliveryDeps
  readonly #self: EntityId
  readonly #peers = new Map<EntityId, Peer>()
  readonly #figures = new Map<EntityId, PeerFigures>()
  readonly #alarm: Alarm
  readonly #closing = new AbortController()
  readonly #tasks = new Set<Promise<unknown>>()
  #opening = 0
  /** Links of others. */
  readonly #greetings = new Greetings()

  constructor(deps: DeliveryDeps, self: EntityId) {
    this.#deps = deps
    this.#self = self
    this.#alarm = new Alarm(deps.clock, () => this.#tick())
  }

  /** Goes on with what a run before this one has left. */
  start(): void {
    const now = this.#deps.clock.monotonic()
    for (const to of this.#deps.outbox.recipients()) {
      const peer = this.#peer(to)
      // Not all at once.
      peer.retryAt = now + this.#deps.random() * 1000
    }
    this.#tick()
  }

  /** A message is on disk. */
  queued(to: EntityId, message: WaitingMessage, expiresAt: number): void {
    const known = this.#peers.get(to)
    const peer = known ?? this.#peer(to)
    // A new queue reads it from disk.
    if (known) peer.queue.push(message)
    this.#expiresAt(expiresAt)
    this.#serve(peer)
  }
  /** The outbox wants to be looked at in so many ms. */
  lookAgain(ms: number): void {
    this.#alarm.at(this.#deps.clock.monotonic() + ms)
  }
  /** A message has ended otherwise. */
  ended(to: EntityId, id: string): void {
    this.#peers.get(to)?.queue.drop(id)
  }
  /** A peer is known to be there again: what waits for it is tried now. */
  wake(entityId: EntityId): void {
    const peer = this.#peers.get(entityId)
    if (!peer) return
    peer.failures = 0
    peer.retryAt = 0
    this.#serve(peer)
  }

  async sendNow(to: EntityId, type: MessageType, body: JsonObject): Promise<boolean> {
    return (await this.#peers.get(to)?.link?.sayNow(type, body)) ?? false
  }
  isConnected(entityId: EntityId): boolean {
    return this.#peers.get(entityId)?.link !== undefined
  }

  /** Serves a link that somebody else has opened, until it ends. Never rejects. */
  async accept(link: MessageLink): Promise<void> {
    const greeting = this.#closing.signal.aborted ? undefined : this.#greetings.begin(link)
    if (!greeting) return link[Symbol.asyncDispose]()
    this.#deps.failpoint('link:accepted')
    let channel: Channel | undefined
    try {
      channel = await this.#greet(signal => this.#deps.channels.accept(link, signal))
    } catch (cause) {
      const code = greeting.isDisplaced ? 'LINK_REPLACED' : codeOf(cause)
      this.#deps.guard.report({ entityId: undefined, peerId: link.peerId, address: link.address }, code)
      this.#deps.log.debug('greeting failed', { peer: link.peerId, code, cause })
    } finally {
      greeting[Symbol.dispose]()
    }
    if (!channel) return link[Symbol.asyncDispose]()
    await this.#adopt(this.#peer(channel.peer), link, channel, false)
  }

  stats(): PeerStats[] {
    const now = this.#deps.clock.monotonic()
    return [...this.#figures].map(([entityId, f]) => {
      const link = this.#peers.get(entityId)?.link
      const { sent, delivered, received, resent, bytesIn, bytesOut, latencies } = f
      return {
        ...{ entityId, connected: link !== undefined, sessionAgeMs: link && now - link.since },
        ...{ queued: this.#deps.outbox.waitingFor(entityId).messages, windowBytes: link?.window },
        ...{ sent, delivered, received, resent, bytesIn, bytesOut },
        ...{ ackP50Ms: latencies.percentile(0.5), ackP99Ms: latencies.percentile(0.99) }
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(closed())
    this.#alarm[Symbol.dispose]()
    for (const peer of this.#peers.values()) peer.link?.end(closed())
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks)
  }

  #peer(id: EntityId): Peer {
    let peer = this.#peers.get(id)
    if (peer) return peer
    const queue = new PeerQueue((priority, after, limit) => this.#deps.store.waiting(id, priority, after, limit))
    this.#peers.set(id, (peer = new Peer(id, queue, this.#figuresOf(id))))
    return peer
  }
  #figuresOf(id: EntityId): PeerFigures {
    const figures = this.#figures.get(id) ?? new PeerFigures()
    this.#figures.delete(id)
    this.#figures.set(id, figures)
    for (const old of this.#figures.keys()) {
      if (this.#figures.size <= MAX_PEER_FIGURES) break
      if (!this.#peers.has(old)) this.#figures.delete(old)
    }
    return figures
  }
  /** A peer without a link for whom nothing waits needs no place. */
  #forget(peer: Peer): void {
    if (!peer.link && !peer.opening && !peer.isCarrying && peer.queue.isEmpty) this.#peers.delete(peer.id)
  }

  /** Does what can be done for a peer now. */
  #serve(peer: Peer): void {
    if (this.#closing.signal.aborted || peer.opening) return
    if (peer.link) peer.link.pump()
    else if (peer.queue.isEmpty) this.#forget(peer)
    else if (this.#deps.clock.monotonic() < peer.retryAt) this.#alarm.at(peer.retryAt)
    // When one ends the next is looked for.
    else if (this.#opening < MAX_OPENING) this.#track(this.#open(peer))
  }

  /** Makes a new session on a link that lives. */
  #renew(peer: Peer, old: PeerLink): void {
    const may = peer.link === old && !peer.opening && !this.#closing.signal.aborted && this.#deps.clock.monotonic() >= peer.retryAt
    if (may) this.#track(this.#rekey(peer, old))
  }
  async #rekey(peer: Peer, old: PeerLink): Promise<void> {
    const stop = new AbortController()
    peer.opening = stop
    await using greeting = old.greet()
    try {
      const channel = await this.#greet(signal => this.#deps.channels.connect(greeting, peer.id, signal), stop.signal)
      this.#handOver(peer, old, channel)
    } catch (error) {
      // The peer's own goes on, or this session is used for a while longer.
      this.#deps.log.debug('no new session', { peer: peer.id, code: codeOf(error) })
      peer.retryAt = this.#deps.clock.monotonic() + RETRY_MS
      this.#alarm.at(peer.retryAt)
    } finally {
      if (peer.opening === stop) peer.opening = undefined
    }
  }
  /** The peer begins a new session on its link. */
  async #rekeyed(peer: Peer, old: PeerLink, link: GreetingLink): Promise<void> {
    await using greeting = link
    try {
      const channel = await this.#greet(signal => this.#deps.channels.accept(greeting, signal))
      this.#handOver(peer, old, channel)
    } catch (error) {
      this.#deps.guard.report({ entityId: peer.id, peerId: greeting.peerId, address: greeting.address }, codeOf(error))
      this.#deps.log.debug('no new session', { peer: peer.id, code: codeOf(error) })
    }
  }
  /** From here on the link is the new session's, on both sides at the same place in the stream of frames. */
  #handOver(peer: Peer, old: PeerLink, channel: Channel): void {
    const isStill = peer.link === old && !old.ended && !this.#closing.signal.aborted
    if (!isStill || channel.peer !== peer.id) {
      channel.close()
      throw new KithError(isStill ? 'IDENTITY_MISMATCH' : 'LINK_REPLACED', 'the link is not to have this session')
    }
    this.#deps.failpoint('session:made')
    const left = old.replace()
    peer.queue.putBack(this.#deps.outbox.notDelivered(left, notReachedReason('LINK_REPLACED', 'a new session began'), 0))
    peer.opening?.abort(new KithError('LINK_REPLACED', 'there is a new session'))
    peer.opening = undefined
    this.#track(this.#run(peer, old.link, channel, old.openedByUs, old.channel.sessionId))
  }

  async #open(peer: Peer): Promise<void> {
    const stop = new AbortController()
    peer.opening = stop
    this.#opening++
    let link: MessageLink | undefined
    let channel: Channel | undefined
    try {
      link = await this.#deps.opener.open(peer.id, AbortSignal.any([stop.signal, this.#closing.signal]))
      this.#deps.failpoint('link:opened')
      const opened = link
      channel = await this.#greet(signal => this.#deps.channels.connect(opened, peer.id, signal), stop.signal)
      if (channel.peer !== peer.id) throw new KithError('IDENTITY_MISMATCH', 'somebody else answers there')
    } catch (error) {
      channel = undefined
      this.#notOpened(peer, error)
    } finally {
      peer.opening = undefined
      this.#opening--
    }
    if (link && channel) await this.#adopt(peer, link, channel, true)
    else {
      await link?.[Symbol.asyncDispose]()
      this.#next()
    }
  }

  #notOpened(peer: Peer, error: unknown): void {
    if (this.#closing.signal.aborted) return
    if (peer.link) {
      // The other side's came first, or a worn session is used for a while longer.
      peer.retryAt = this.#deps.clock.monotonic() + RETRY_MS
      return
    }
    peer.failures++
    peer.lastError = error instanceof KithError ? error : new KithError('PEER_UNREACHABLE', textOf(error), {}, { cause: error })
    this.#deps.log.debug('peer not reached', { peer: peer.id, code: peer.lastError.code, failures: peer.failures })
    const backoff = backoffMs(peer.failures - 1, RETRY, this.#deps.random)
    peer.retryAt = this.#deps.clock.monotonic() + backoff
    const { code, message, data } = peer.lastError
    // While a circuit is open an attempt comes to nothing.
    const pause = typeof data['retryAfterMs'] === 'number' ? data['retryAfterMs'] : 0
    this.#deps.outbox.notReached(peer.id, notReachedReason(code, message), Math.max(backoff, pause))
    this.#alarm.at(peer.retryAt)
    if (this.#deps.carry && !peer.isCarrying) this.#track(this.#carryAll(peer))
  }

  /** A handshake has its own time, and ends with the messenger. */
  #greet(greet: (signal: AbortSignal) => Promise<Channel>, stop?: AbortSignal): Promise<Channel> {
    const late = new AbortController()
    const signal = AbortSignal.any([late.signal, this.#closing.signal, ...(stop ? [stop] : [])])
    const done = new AbortController()
    this.#deps.clock.sleep(HANDSHAKE_MS, done.signal).then(
      () => late.abort(new KithError('PEER_TIMEOUT', 'the handshake took too long')),
      () => {}
    )
    // A listener keeps such a joined signal alive for as long as the messenger is: it goes with the greeting.
    const gone = Promise.withResolvers<never>()
    const onAbort = (): void => gone.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    return Promise.race([greet(signal), gone.promise]).finally(() => {
      done.abort()
      signal.removeEventListener('abort', onAbort)
    })
  }

  /** Takes a link as the one of its peer, or not; serves it until it ends. */
  async #adopt(peer: Peer, link: MessageLink, channel: Channel, byUs: boolean): Promise<void> {
    this.#deps.failpoint('session:made')
    const refusal = this.#refusal(peer, byUs) ?? this.#makeRoom(peer)
    if (refusal) {
      this.#deps.log.debug('link not kept', { peer: peer.id, code: refusal.code })
      channel.close()
      await link[Symbol.asyncDispose]()
      return this.#forget(peer)
    }
    this.#deps.opener.identify?.(link, peer.id)
    const isNew = peer.link === undefined
    peer.link?.end(new KithError('LINK_REPLACED', 'the peer has opened another link'))
    peer.opening?.abort(new KithError('LINK_REPLACED', 'the peer has opened a link'))
    // Between two peers there is at most one link, and its object lives as long as it.
    this.#peers.set(peer.id, peer)
    const running = this.#run(peer, link, channel, byUs)
    this.#deps.outbox.reached(peer.id)
    if (isNew) this.#deps.events.emit('peer:connected', { entityId: peer.id, peerId: link.peerId })
    await running
  }

  /** Serves a session on a link until one of them ends. */
  async #run(peer: Peer, link: MessageLink, channel: Channel, byUs: boolean, replaces?: string): Promise<void> {
    const served: PeerLink = new PeerLink(
      { ...this.#linkDeps(peer, () => served), ...(replaces === undefined ? {} : { replaces }) },
      link,
      channel,
      byUs
    )
    peer.link = served
    peer.failures = 0
    peer.retryAt = 0
    const running = served.run()
    this.#track(running)
    const left = await running
    this.#lost(peer, served, left)
  }

  #lost(peer: Peer, link: PeerLink, left: readonly WaitingMessage[]): void {
    const { outbox, events, clock, random } = this.#deps
    const why = link.ended ?? new KithError('PEER_PROTOCOL', 'the link ended')
    const backoff = backoffMs(0, RETRY, random)
    if (left.length > 0) peer.queue.putBack(outbox.notDelivered(left, notReachedReason(why.code, why.message), backoff))
    if (peer.link === link) {
      peer.link = undefined
      peer.failures = 1
      peer.retryAt = clock.monotonic() + backoff
      if (!this.#closing.signal.aborted) events.emit('peer:lost', { entityId: peer.id, reason: why.code })
    }
    this.#serve(peer)
    this.#next()
  }

  /** Two links to one peer: see CROSSING_MS. Everybody comes to the same result (threats CO19). */
  #refusal(peer: Peer, byUs: boolean): KithError | undefined {
    if (peer.id === this.#self) return new KithError('SELF_CONNECTION', 'the other end is this instance itself')
    const old = peer.link
    if (!old || old.ended || old.openedByUs === byUs) return undefined
    const isCrossing = this.#deps.clock.monotonic() - old.since < CROSSING_MS
    const oursStays = this.#self < peer.id
    return isCrossing && old.openedByUs === oursStays ? new KithError('LINK_REPLACED', 'there is a link already') : undefined
  }

  /** Ends the link that was unused for longest when there are too many. @returns why there is no place */
  #makeRoom(peer: Peer): KithError | undefined {
    if (peer.link) return undefined
    const links = [...this.#peers.values()].flatMap(({ link }) => (link && !link.ended ? [link] : []))
    if (links.length < MAX_LINKS) return undefined
    // Of the network that has most, so that who has many names takes no links from others.
    const unused = links.filter(l => !l.hasUnacked).sort((a, b) => a.usedAt - b.usedAt)
    const idle = mostCrowded(unused, l => (l.openedByUs ? `peer ${l.channel.peer}` : originNetwork(l.link)))?.oldest
    if (!idle) return new KithError('QUEUE_FULL', 'too many links are open')
    idle.end(new KithError('LINK_REPLACED', 'it was unused for longest, and another needs its place'))
    return undefined
  }

  #linkDeps(peer: Peer, served: () => PeerLink): ConstructorParameters<typeof PeerLink>[0] {
    const { clock, log, guard, failpoint, outbox, inbox } = this.#deps
    return {
      ...{ clock, log, guard, failpoint, queue: peer.queue, figures: peer.figures },
      onSent: m => outbox.onTheWay(peer.id, m),
      onDelivered: all => outbox.delivered(peer.id, all),
      onWorn: () => this.#renew(peer, served()),
      onGreeting: greeting => this.#track(this.#rekeyed(peer, served(), greeting)),
      onReceipt: ids => outbox.receipt(peer.id, ids),
      chunks: this.#deps.chunks,
      hasReceived: id => this.#deps.store.hasReceived(peer.id, id),
      durable: () => this.#deps.store.commit(() => {}),
      onPutOff: (m, code, until) => outbox.putOff(peer.id, m, code, until - clock.monotonic()),
      onRefused: (m, code) => outbox.failed(peer.id, m, { code, message: 'the recipient refused it' }),
      receive: (message, bytes, settle) => {
        inbox.add(message, bytes, settle)
        return inbox.hasRoom ? undefined : inbox.room()
      },
      wakeAt: due => this.#alarm.at(due)
    }
  }

  /** Hands what waits to a carrier, one after the other, until it takes one no more. */
  async #carryAll(peer: Peer): Promise<void> {
    const { carry, outbox, failpoint } = this.#deps
    peer.isCarrying = true
    try {
      for (const message of this.#toCarry(peer)) {
        failpoint('relayed:before')
        const taken = await carry!(peer.id, message, this.#closing.signal)
        if (typeof taken === 'string') outbox.notCarried(peer.id, taken)
        if (taken !== true) break
        await outbox.relayed(message)
      }
    } catch (cause) {
      this.#deps.log.debug('messages could not be handed on', { peer: peer.id, code: codeOf(cause), cause })
    } finally {
      peer.isCarrying = false
    }
    this.#serve(peer)
  }
  /** What nobody has taken yet, urgent ones first, read as it is needed. They stay in the queue: a link may come before the receipt does. */
  *#toCarry(peer: Peer): Generator<WaitingMessage> {
    for (const lane of LANES) {
      for (let after = 0; ; ) {
        const found = this.#deps.store.waiting(peer.id, lane, after, CARRY_BATCH)
        for (const message of found) {
          if (peer.link || this.#closing.signal.aborted) return
          if (!message.relayed) yield message
          after = message.seq
        }
        if (found.length < CARRY_BATCH) break
      }
    }
  }

  /** Looks at everything that may be due, and asks for the next alarm. */
  #tick(): void {
    const now = this.#deps.clock.monotonic()
    this.#expiresLater()
    const { chunks } = this.#deps
    chunks.dropOld()
    if (chunks.dueAt !== undefined) this.#alarm.at(chunks.dueAt)
    for (const peer of [...this.#peers.values()]) {
      if (peer.link) this.#alarm.at(peer.link.tick(now))
      else this.#serve(peer)
    }
  }
  #next(): void {
    if (this.#opening >= MAX_OPENING || this.#closing.signal.aborted) return
    for (const peer of [...this.#peers.values()]) if (!peer.link && !peer.opening) this.#serve(peer)
  }
  #expiresLater(): void {
    const at = this.#deps.outbox.expire()
    if (at !== undefined) this.#expiresAt(at)
  }
  #expiresAt(at: number): void {
    const { clock } = this.#deps
    this.#alarm.at(clock.monotonic() + Math.max(1, at - clock.now()))
  }

  #track(task: Promise<unknown>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task)).catch(() => {})
  }
}

const closed = (): KithError => new KithError('MESSENGER_CLOSED', 'the messenger has been closed')
