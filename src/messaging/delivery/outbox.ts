/**
 * Our own messages: durable before `send` resolves, counted, bounded, expired, and told about. Who delivers them, and when, is
 * delivery.ts's.
 */
import { utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import type { Emitter } from '../../base/events.ts'
import type { Logger } from '../../base/log.ts'
import { looksLikeDid } from '../../wire/did-key.ts'
import { MESSAGE_TYPES, type MessageType } from '../../wire/message-types.ts'
import { checkBody } from '../../wire/payloads.ts'
import { isUuidV4 } from '../../wire/secure-message.ts'
import { canonicalJson, type JsonObject } from '../../wire/strict-json.ts'
import type { Failpoint, FailpointName } from '../failpoints.ts'
import {
  MAX_ANSWERS_PER_PEER,
  MAX_MESSAGE_BODY_BYTES,
  MAX_PEER_FIGURES,
  MAX_TTL_MS,
  MAX_WAITING,
  MAX_WAITING_BESIDE_ANSWERS,
  MAX_WAITING_BYTES,
  MAX_WAITING_BYTES_PER_PEER,
  MAX_WAITING_PER_PEER,
  PUT_OFF_MS
} from '../limits.ts'
import type { MessageStore, NewOutgoing, OutboxRow, WaitingMessage } from '../store.ts'
import type { DeliveryState, EntityId, MessengerEvents, OutgoingMessage, SentMessage } from '../types.ts'
import { newUuid } from '../uuid.ts'
import { notCarriedReason, putOffReason } from './wait-reasons.ts'

export interface OutboxDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly log: Logger
  readonly store: MessageStore
  readonly events: Emitter<MessengerEvents>
  readonly failpoint: Failpoint
  /** A message for `to` is on disk. */
  readonly onQueued: (to: EntityId, message: WaitingMessage, expiresAt: number) => void
  /** A message has ended without being delivered on a link: it is not to be sent. */
  readonly onEnded: (to: EntityId, id: string) => void
  /** `expire` is to be called in so many ms: something could not be written. */
  readonly onUnwritten: (ms: number) => void
}

/** What is needed of a message that ends. */
type Ending = Pick<OutboxRow, 'seq' | 'id' | 'to' | 'type' | 'bytes' | 'createdAt' | 'attempts'>

type Reason = NonNullable<SentMessage['reason']>

/** Why a message waits, since when, and when it is tried again (ms since 1970). */
interface Hold {
  readonly reason: Reason
  readonly since: number
  readonly at: number
  /** Why nobody brings it on, once that is known. */
  readonly noCarrier?: string
}

interface Unwritten {
  readonly messages: readonly Ending[]
  readonly state: 'delivered' | 'failed'
  readonly reason: SentMessage['reason']
}

interface Total {
  messages: number
  bytes: number
}

const EXPIRED = 'EXPIRED'
/** A wall clock that goes ahead of the monotonic one by so much at once was set (or the machine slept): nothing expires for a while. */
const CLOCK_JUMP_MS = 60_000
const CLOCK_DOUBT_MS = 10 * 60_000
/** Messages that tell that, and why, their recipient cannot be reached. */
const TOLD_AT_ONCE = 50
/** Rows that are expired in one transaction. */
const EXPIRE_AT_ONCE = 500

export class Outbox {
  readonly #deps: OutboxDeps
  readonly #self: EntityId
  readonly #totals = new Map<EntityId, Total>()
  readonly #all: Total = { messages: 0, bytes: 0 }
  /** Ids that were given to a transaction that has not ended. */
  readonly #sending = new Map<string, Promise<SentMessage>>()
  /** Sent on a link and not acknowledged: a matter of this process. */
  readonly #onTheWay = new Set<string>()
  /** Why what waits for a peer cannot be delivered; and what it has put off itself, by id. A matter of this process, too. */
  readonly #notReached = new Map<EntityId, Hold>()
  readonly #putOff = new Map<string, Hold>()

  /** Ends that could not be written, on a full disk say; written when there is room. No look at anything before then (monotonic ms). */
  #unwritten: Unwritten[] = []
  #pausedUntil = 0
  /** By how much the wall clock leads the monotonic one, and until when it is doubted (monotonic ms). */
  #lead: number
  #doubtUntil = 0

  constructor(deps: OutboxDeps, self: EntityId) {
    this.#deps = deps
    this.#self = self
    this.#lead = deps.clock.now() - deps.clock.monotonic()
    for (const t of deps.store.waitingTotals()) this.#count(t.to, t.messages, t.bytes)
  }

  /** Recipients for whom something waits. */
  recipients(): EntityId[] {
    return [...this.#totals.keys()]
  }
  waitingFor(to: EntityId): Readonly<Total> {
    return this.#totals.get(to) ?? { messages: 0, bytes: 0 }
  }

  send(message: OutgoingMessage): Promise<SentMessage> {
    const id = message.id ?? newUuid()
    const known = message.id === undefined ? undefined : (this.#sending.get(id) ?? this.sent(id))
    if (known) return Promise.resolve(known)
    try {
      const row = this.#check(message, id)
      this.#reserve(row, message.isAnswer === true)
      const sending = this.#store(row).finally(() => this.#sending.delete(id))
      this.#sending.set(id, sending)
      return sending
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Stores an answer inside a transaction that runs already, or drops it when many wait. @returns what is to be done when that is durable */
  addWithin(message: OutgoingMessage): () => void {
    if (this.waitingFor(message.to).messages >= MAX_ANSWERS_PER_PEER || this.#all.messages >= MAX_WAITING_BESIDE_ANSWERS) return () => {}
    const row = this.#check(message, newUuid())
    const seq = this.#deps.store.addOutgoing(row)
    return () => {
      this.#count(row.to, 1, row.body.length)
      if (seq !== undefined) this.#queued(row, seq)
    }
  }

  sent(id: string): SentMessage | undefined {
    const row = isUuidV4(id) ? this.#deps.store.outgoing(id) : undefined
    return row && this.#view(row)
  }
  list(limit: number, type?: MessageType): SentMessage[] {
    return this.#deps.store.outbox(limit, type).map(r => this.#view(r))
  }

  cancel(id: string): boolean {
    const row = isUuidV4(id) ? this.#deps.store.outgoing(id) : undefined
    if (!row || hasEnded(row.state)) return false
    const reason = { code: 'CANCELLED', message: 'taken back by the sender' }
    this.#deps.onEnded(row.to, id)
    this.#end([row], 'failed', reason)
    return true
  }

  /** The message went out on a link; nothing of that is on disk, because a restart sends it again. */
  onTheWay(to: EntityId, m: WaitingMessage): void {
    this.#onTheWay.add(m.id)
    const { id, type, createdAt } = m
    const changedAt = this.#deps.clock.now()
    this.#tell({ id, to, type, state: 'sent', reason: undefined, createdAt, changedAt, attempts: m.attempts + 1 })
  }
  /** Why what waits for a peer waits, as long as this process runs. The newest messages tell it. @param inMs until the next attempt */
  notReached(to: EntityId, reason: Reason, inMs: number): void {
    const before = this.#notReached.get(to)
    const now = this.#deps.clock.now()
    // That it was tried too often says less than why it failed.
    const isNews = before?.reason.code !== reason.code && !(before && reason.code === 'CIRCUIT_OPEN')
    this.#notReached.delete(to)
    this.#notReached.set(to, { reason: isNews ? reason : before!.reason, since: before?.since ?? now, at: now + inMs })
    if (this.#notReached.size > MAX_PEER_FIGURES) this.#notReached.delete(this.#notReached.keys().next().value!)
    if (isNews) this.#tellWaiting(to)
  }
  /** Nobody could bring it on either. */
  notCarried(to: EntityId, why: string): void {
    const before = this.#notReached.get(to)
    const reason = before && notCarriedReason(before.reason, why)
    if (!before || reason!.message === before.reason.message || before.noCarrier === why) return
    this.#notReached.set(to, { ...before, reason: reason!, noCarrier: why })
    this.#tellWaiting(to)
  }
  reached(to: EntityId): void {
    this.#notReached.delete(to)
  }
  /** The recipient does not take it for the moment. @param inMs until the next attempt */
  putOff(to: EntityId, m: WaitingMessage, code: string, inMs: number): void {
    const now = this.#deps.clock.now()
    this.#onTheWay.delete(m.id)
    const since = this.#putOff.get(m.id)?.since ?? now
    const row = this.#deps.store.outgoing(m.id)
    if (!row || row.to !== to || hasEnded(row.state)) return
    this.#putOff.set(m.id, { reason: putOffReason(code), since, at: now + inMs })
    this.#tell({ ...this.#view(row), changedAt: now, attempts: m.attempts + 1 })
  }
  /** Their link has ended: they wait again. @param inMs until the next attempt @returns those that have not ended in the meantime */
  notDelivered(messages: readonly WaitingMessage[], reason: Reason, inMs: number): WaitingMessage[] {
    const changedAt = this.#deps.clock.now()
    return messages.flatMap(m => {
      this.#onTheWay.delete(m.id)
      this.#putOff.delete(m.id)
      const row = this.#deps.store.outgoing(m.id)
      if (!row || hasEnded(row.state)) return []
      const attempts = m.attempts + 1
      this.#tell({ ...row, reason, retry: { since: changedAt, at: changedAt + inMs }, changedAt, attempts })
      return { ...m, attempts }
    })
  }
  #tellWaiting(to: EntityId): void {
    for (const row of this.#deps.store.outbox(TOLD_AT_ONCE)) if (row.to === to && row.state === 'waiting') this.#tell(this.#view(row))
  }
  /** The recipient has them on disk. */
  delivered(to: EntityId, messages: readonly WaitingMessage[]): void {
    this.#end(
      messages.map(m => this.#ending(to, m)),
      'delivered',
      undefined,
      'delivered:in-transaction',
      'delivered:committed'
    )
  }
  /** The recipient does not want one, and never will. */
  failed(to: EntityId, m: WaitingMessage, reason: NonNullable<SentMessage['reason']>): void {
    this.#end([this.#ending(to, m)], 'failed', reason, undefined, 'failed:committed')
  }
  /** Somebody has taken it durably and brings it on. */
  async relayed(m: WaitingMessage): Promise<void> {
    const { store, clock, failpoint } = this.#deps
    const isNew = await store.commit(() => store.setState(m.seq, 'relayed', clock.now(), m.attempts + 1, undefined))
    failpoint('relayed:committed')
    const row = isNew ? store.outgoing(m.id) : undefined
    if (row) this.#tell(row)
  }
  /** Delivered messages that are known by their id alone: a receipt for what was sealed. */
  receipt(from: EntityId, ids: readonly string[]): void {
    const rows = ids.flatMap(id => this.#deps.store.outgoing(id) ?? []).filter(r => r.to === from && !hasEnded(r.state))
    for (const { id } of rows) this.#deps.onEnded(from, id)
    this.#end(rows, 'delivered', undefined)
  }

  /** Writes ends that could not be written before, and ends what has waited for too long. @returns when to look again (wall clock); undefined: nothing waits */
  expire(): number | undefined {
    const { clock, store, onEnded } = this.#deps
    const pause = this.#pausedUntil - clock.monotonic()
    if (pause > 0) return clock.now() + pause
    for (const { messages, state, reason } of this.#unwritten.splice(0)) this.#end(messages, state, reason)
    const doubt = this.#doubtMs()
    if (doubt > 0) return clock.now() + doubt
    const due = store.expired(clock.now(), EXPIRE_AT_ONCE).filter(r => !this.#onTheWay.has(r.id))
    const reason = { code: EXPIRED, message: 'it was not delivered in time' }
    for (const row of due) onEnded(row.to, row.id)
    this.#end(due, 'failed', reason)
    return store.nextExpiry()
  }

  /** After the wall clock jumped ahead: how long it is not believed (threats ST3). It may jump back. */
  #doubtMs(): number {
    const { clock } = this.#deps
    const [lead, now] = [clock.now() - clock.monotonic(), clock.monotonic()]
    if (lead - this.#lead > CLOCK_JUMP_MS) this.#doubtUntil = now + CLOCK_DOUBT_MS
    else if (this.#lead - lead > CLOCK_JUMP_MS) this.#doubtUntil = now
    this.#lead = lead
    return this.#doubtUntil - now
  }

  #check(message: OutgoingMessage, id: string): NewOutgoing {
    const { to, type, body, priority = MESSAGE_TYPES[type], ttlMs = MAX_TTL_MS } = message
    if (!looksLikeDid(to) || to === this.#self)
      throw new KithError('BAD_ENTITY', 'a message goes to the did:key of somebody else', {}, { hint: 'it looks like did:key:z6Mk…' })
    if (!isUuidV4(id)) throw new KithError('BAD_PAYLOAD', 'the id of a message is a UUID v4 in lower case')
    if (priority === undefined || INTERNAL_TYPES.has(type)) throw new KithError('BAD_PAYLOAD', 'not a type that can be sent', { type })
    if ('message_id' in body) throw new KithError('BAD_PAYLOAD', 'message_id is given beside the body')
    const text = utf8(canonical(body))
    if (text.length > MAX_MESSAGE_BODY_BYTES)
      throw new KithError(
        'TOO_LARGE',
        'the message is larger than messages may be',
        { bytes: text.length, max: MAX_MESSAGE_BODY_BYTES },
        { hint: 'share it as a file and send the link: kith share' }
      )
    checkBody(type, body, text.length)
    const createdAt = this.#deps.clock.now()
    return { id, to, type, priority, createdAt, expiresAt: createdAt + Math.max(0, Math.min(ttlMs, MAX_TTL_MS)), body: text }
  }

  /** Counts before it is stored, so that many sends at once cannot pass the limit together. */
  #reserve({ to, body }: NewOutgoing, isAnswer: boolean): void {
    const own = this.waitingFor(to)
    // Whoever asks may be anybody, under any number of names.
    const [most, mostInAll] = isAnswer ? [MAX_ANSWERS_PER_PEER, MAX_WAITING_BESIDE_ANSWERS] : [MAX_WAITING_PER_PEER, MAX_WAITING]
    const isFull = (t: Readonly<Total>, messages: number, bytes: number): boolean =>
      t.messages + 1 > messages || t.bytes + body.length > bytes
    if (isFull(own, most, MAX_WAITING_BYTES_PER_PEER) || isFull(this.#all, mostInAll, MAX_WAITING_BYTES))
      throw new KithError(
        'QUEUE_FULL',
        'too much waits for this recipient, or in all',
        { messages: own.messages, bytes: own.bytes },
        { hint: 'wait until some of it is delivered, or take some of it back' }
      )
    this.#count(to, 1, body.length)
  }
  #count(to: EntityId, messages: number, bytes: number): void {
    const total = this.#totals.get(to) ?? { messages: 0, bytes: 0 }
    for (const t of [total, this.#all]) {
      t.messages += messages
      t.bytes += bytes
    }
    if (total.messages > 0) this.#totals.set(to, total)
    else this.#totals.delete(to)
  }

  async #store(row: NewOutgoing): Promise<SentMessage> {
    const { store, failpoint } = this.#deps
    const { id, to, type, createdAt } = row
    let seq: number | undefined
    failpoint('send:asked')
    try {
      // It may go out while the disk is at work. What a power cut takes then is a message of which nobody was told that it is sent.
      seq = await store.commit(
        () => {
          failpoint('send:in-transaction')
          return store.addOutgoing(row)
        },
        number => number !== undefined && this.#queued(row, number)
      )
    } finally {
      if (seq === undefined) this.#count(to, -1, -row.body.length)
    }
    failpoint('send:committed')
    if (seq === undefined) return this.sent(id)!
    return {
      id,
      to,
      type,
      state: this.#onTheWay.has(id) ? 'sent' : 'waiting',
      reason: undefined,
      createdAt,
      changedAt: createdAt,
      attempts: 0
    }
  }

  #queued({ id, to, type, priority, createdAt, expiresAt, body }: NewOutgoing, seq: number): void {
    this.#deps.onQueued(to, { seq, id, type, priority, bytes: body.length, createdAt, attempts: 0, relayed: false, body }, expiresAt)
  }

  #ending(to: EntityId, m: WaitingMessage): Ending {
    const { seq, id, type, bytes, createdAt } = m
    return { seq, id, to, type, bytes, createdAt, attempts: m.attempts + 1 }
  }

  /** Makes an end of some messages durable, then takes them off the counts and tells. A failure leaves them as they were: `expire` tries again. */
  #end(
    messages: readonly Ending[],
    state: 'delivered' | 'failed',
    reason: SentMessage['reason'],
    inside?: FailpointName,
    after?: FailpointName
  ): void {
    if (messages.length === 0) return
    const { store, failpoint, log, clock } = this.#deps
    const changedAt = clock.now()
    const change = (): boolean[] => {
      if (inside) failpoint(inside)
      return messages.map(m => store.setState(m.seq, state, changedAt, m.attempts, reason))
    }
    const tell = (isNew: readonly boolean[]): void => {
      if (after) failpoint(after)
      for (const [i, m] of messages.entries()) if (isNew[i]) this.#tell({ ...m, state, reason, changedAt })
    }
    // That it was delivered is true whatever becomes of our mark; that it will not be delivered is not, before the mark is on disk.
    const isTrue = state === 'delivered'
    const written = (isNew: readonly boolean[]): void => {
      for (const [i, m] of messages.entries()) {
        if (!isNew[i]) continue
        this.#onTheWay.delete(m.id)
        this.#putOff.delete(m.id)
        this.#count(m.to, -1, -m.bytes)
      }
      if (isTrue) tell(isNew)
    }
    const durable = (isNew: readonly boolean[]): void => void (isTrue || tell(isNew))
    const failed = (cause: unknown): void => {
      log.error('the end of a message could not be written', { code: codeOf(cause), cause })
      // What has expired is found again.
      if (reason?.code !== EXPIRED) this.#unwritten.push({ messages, state, reason })
      this.#pausedUntil = clock.monotonic() + PUT_OFF_MS
      this.#deps.onUnwritten(PUT_OFF_MS)
    }
    store.commitLater(change, written).then(durable, failed)
  }

  #view(row: OutboxRow): SentMessage {
    const { id, to, type, reason, createdAt, changedAt, attempts } = row
    const state = row.state === 'waiting' && this.#onTheWay.has(id) ? 'sent' : row.state
    const hold = state === 'waiting' ? (this.#notReached.get(to) ?? this.#putOff.get(id)) : undefined
    const retry = hold && { since: hold.since, at: hold.at }
    return { id, to, type, state, reason: reason ?? hold?.reason, retry, createdAt, changedAt, attempts }
  }
  #tell(message: SentMessage): void {
    const { id, to, type, state, reason, retry, createdAt, changedAt, attempts } = message
    this.#deps.events.emit('message:changed', { message: { id, to, type, state, reason, retry, createdAt, changedAt, attempts } })
  }
}

/** JSON that every reader takes. @throws BAD_PAYLOAD */
function canonical(body: JsonObject): string {
  try {
    return canonicalJson(body)
  } catch (cause) {
    throw new KithError('BAD_PAYLOAD', 'the body is not JSON that can be sent', { code: codeOf(cause) }, { cause })
  }
}

const hasEnded = (state: DeliveryState): boolean => state === 'delivered' || state === 'failed'

/** What delivery itself sends. */
export const INTERNAL_TYPES: ReadonlySet<string> = new Set(['handshake', 'handshake_ack', 'handshake_confirm', 'ack', 'chunk', 'heartbeat'])
