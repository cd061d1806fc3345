/**
 * Messengers without links and disks: a post office in memory that obeys src/messaging/types.ts. What is durable belongs to the post office,
 * so a messenger can be killed and opened again: what it had taken is still there, and what it had not finished is offered again.
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { codeOf, hasCode, KithError, textOf } from '../../src/base/errors.ts'
import { Emitter } from '../../src/base/events.ts'
import type {
  DeliveryState,
  EntityId,
  IncomingMessage,
  MessageHandler,
  Messenger,
  MessengerEvents,
  OutgoingMessage,
  SentMessage
} from '../../src/messaging/types.ts'
import { MESSAGE_TYPES, type MessageType } from '../../src/wire/message-types.ts'
import { canonicalJson, type JsonObject, parseJsonObject } from '../../src/wire/strict-json.ts'

const TTL_MS = 7 * 24 * 3_600_000

interface Letter {
  sent: SentMessage
  readonly message: OutgoingMessage & { readonly id: string }
  readonly expiresAt: number
}
interface Received {
  readonly message: IncomingMessage
  done: boolean
}
/** What survives the end of a process. */
interface Disk {
  readonly outbox: Map<string, Letter>
  readonly inbox: Map<string, Received>
}

export class MemoryPost {
  readonly #clock: Clock
  readonly #disks = new Map<EntityId, Disk>()
  readonly #open = new Map<EntityId, MemoryMessenger>()
  readonly #cut = new Set<string>()
  /** Called for each message on its way: false loses it (or its acknowledgement), and it is sent again after the next `heal`. */
  passes: (message: OutgoingMessage, step: 'message' | 'ack') => boolean = () => true

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** Opens the messenger of an entity over what it left. */
  open(self: EntityId): MemoryMessenger {
    if (this.#open.has(self)) throw new Error('already open')
    const disk = this.#disks.get(self) ?? { outbox: new Map(), inbox: new Map() }
    this.#disks.set(self, disk)
    const messenger = new MemoryMessenger(this, disk, self, this.#clock)
    this.#open.set(self, messenger)
    queueMicrotask(() => this.#connected(self))
    return messenger
  }
  /** Ends a messenger as kill -9 would: nothing that runs is finished. */
  kill(self: EntityId): void {
    this.#open.get(self)?.end()
    this.#gone(self)
  }
  cut(a: EntityId, b: EntityId): void {
    this.#cut.add(pair(a, b))
    this.#open.get(a)?.lost(b)
    this.#open.get(b)?.lost(a)
  }
  heal(a: EntityId, b: EntityId): void {
    this.#cut.delete(pair(a, b))
    for (const [x, y] of [
      [a, b],
      [b, a]
    ] as const) {
      if (!this.reach(x, y)) continue
      this.#open.get(x)?.connected(y)
    }
  }
  /** The other end, if it can be talked to now. */
  reach(from: EntityId, to: EntityId): MemoryMessenger | undefined {
    return this.#cut.has(pair(from, to)) ? undefined : this.#open.get(to)
  }
  closed(self: EntityId): void {
    this.#gone(self)
  }

  #connected(self: EntityId): void {
    for (const other of [...this.#open.keys()]) if (other !== self && this.reach(self, other)) this.heal(self, other)
  }
  #gone(self: EntityId): void {
    if (!this.#open.delete(self)) return
    for (const other of this.#open.values()) if (!this.#cut.has(pair(self, other.self))) other.lost(self)
  }
}

const pair = (a: EntityId, b: EntityId): string => [a, b].sort().join(' ')

export class MemoryMessenger implements Messenger {
  readonly self: EntityId
  readonly events: Emitter<MessengerEvents> = new Emitter()
  readonly #post: MemoryPost
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #handlers = new Map<MessageType, MessageHandler>()
  readonly #running = new Set<Promise<void>>()
  readonly #stop = new AbortController()
  #ended = false

  constructor(post: MemoryPost, disk: Disk, self: EntityId, clock: Clock) {
    this.#post = post
    this.#disk = disk
    this.self = self
    this.#clock = clock
    for (const letter of disk.outbox.values()) {
      if (letter.sent.state === 'sent') letter.sent = { ...letter.sent, state: 'waiting' }
      if (letter.sent.state === 'waiting') this.#expires(letter)
    }
  }

  async send(message: OutgoingMessage): Promise<SentMessage> {
    if (this.#ended) throw new KithError('MESSENGER_CLOSED', 'closed')
    const id = message.id ?? randomUUID()
    const known = this.#disk.outbox.get(id)
    if (known) return known.sent
    const now = this.#clock.now()
    const sent: SentMessage = {
      ...{ id, to: message.to, type: message.type, state: 'waiting', reason: undefined, createdAt: now, changedAt: now, attempts: 0 }
    }
    const letter = { sent, message: { ...message, id, body: copy(message.body) }, expiresAt: now + (message.ttlMs ?? TTL_MS) }
    this.#disk.outbox.set(id, letter)
    this.#expires(letter)
    queueMicrotask(() => this.#deliver(letter))
    return sent
  }
  async sendNow(message: OutgoingMessage): Promise<boolean> {
    const other = this.#ended ? undefined : this.#post.reach(this.self, message.to)
    if (!other || !this.#post.passes(message, 'message')) return false
    queueMicrotask(() => other.receive(this.#incoming({ ...message, id: message.id ?? randomUUID() })))
    return true
  }
  handle(type: MessageType, handler: MessageHandler): Disposable {
    if (this.#handlers.has(type)) throw new KithError('HANDLER_EXISTS', 'the type has a handler already')
    this.#handlers.set(type, handler)
    for (const entry of this.#disk.inbox.values()) if (entry.message.type === type && !entry.done) this.#act(entry)
    return { [Symbol.dispose]: () => void this.#handlers.delete(type) }
  }
  sent(id: string): SentMessage | undefined {
    return this.#disk.outbox.get(id)?.sent
  }
  outbox(limit = 100): SentMessage[] {
    return [...this.#disk.outbox.values()]
      .map(l => l.sent)
      .reverse()
      .slice(0, limit)
  }
  inbox(options: { limit?: number; type?: MessageType; from?: EntityId } = {}): IncomingMessage[] {
    const all = [...this.#disk.inbox.values()].map(e => e.message).reverse()
    const wanted = all.filter(m => (!options.type || m.type === options.type) && (!options.from || m.from === options.from))
    return wanted.slice(0, options.limit ?? 100)
  }
  cancel(id: string): boolean {
    const letter = this.#disk.outbox.get(id)
    if (!letter || !isOpen(letter)) return false
    this.#change(letter, 'failed', { code: 'CANCELLED', message: 'taken back' })
    return true
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    this.#post.closed(this.self)
    while (this.#running.size > 0) await Promise.all(this.#running)
    this.end()
  }

  /** From here on it does nothing any more. */
  end(): void {
    this.#ended = true
    this.#stop.abort()
  }
  connected(other: EntityId): void {
    if (this.#ended) return
    this.events.emit('peer:connected', { entityId: other, peerId: undefined })
    for (const letter of [...this.#disk.outbox.values()]) if (letter.message.to === other) this.#deliver(letter)
  }
  lost(other: EntityId): void {
    if (!this.#ended) this.events.emit('peer:lost', { entityId: other, reason: 'gone' })
  }

  /** @returns whether it is on "disk" now */
  take(message: IncomingMessage): boolean {
    if (this.#ended) return false
    const key = `${message.from} ${message.id}`
    if (this.#disk.inbox.has(key)) return true
    const entry = { message, done: false }
    this.#disk.inbox.set(key, entry)
    this.events.emit('message:received', { message })
    this.#act(entry)
    return true
  }
  /** A message that is not kept. */
  receive(message: IncomingMessage): void {
    if (!this.#ended) this.#act({ message, done: false })
  }

  #deliver(letter: Letter): void {
    if (this.#ended || !isOpen(letter)) return
    const other = this.#post.reach(this.self, letter.message.to)
    if (!other) return
    this.#change(letter, 'sent')
    letter.sent = { ...letter.sent, attempts: letter.sent.attempts + 1 }
    queueMicrotask(() => {
      if (this.#ended || !this.#post.passes(letter.message, 'message') || !other.take(this.#incoming(letter.message))) return
      if (!this.#post.passes(letter.message, 'ack')) return
      queueMicrotask(() => {
        if (!this.#ended && isOpen(letter)) this.#change(letter, 'delivered')
      })
    })
  }
  #incoming(m: OutgoingMessage & { readonly id: string }): IncomingMessage {
    const now = this.#clock.now()
    const base = { id: m.id, from: this.self, type: m.type, priority: m.priority ?? MESSAGE_TYPES[m.type] }
    return { ...base, body: copy(m.body), sentAt: now, receivedAt: now, via: 'direct' }
  }
  #act(entry: Received): void {
    const handler = this.#handlers.get(entry.message.type)
    if (!handler) return
    const { message } = entry
    const work = (async () => {
      try {
        await handler(message)
        if (!this.#ended) entry.done = true
      } catch (error) {
        if (this.#ended) return
        entry.done = true
        if (message.type === 'error') return
        const body = { error_code: codeOf(error), error_message: textOf(error), original_message_id: message.id }
        await this.send({ to: message.from, type: 'error', body }).catch(e => {
          if (!hasCode(e, 'MESSENGER_CLOSED')) throw e
        })
      }
    })()
    this.#running.add(work)
    void work.then(() => this.#running.delete(work))
  }
  #expires(letter: Letter): void {
    const ms = Math.max(0, letter.expiresAt - this.#clock.now())
    const fail = (): void => {
      if (!this.#ended && isOpen(letter)) this.#change(letter, 'failed', { code: 'EXPIRED', message: 'not delivered in time' })
    }
    this.#clock.sleep(ms, this.#stop.signal).then(fail, () => {})
  }
  #change(letter: Letter, state: DeliveryState, reason?: SentMessage['reason']): void {
    letter.sent = { ...letter.sent, state, reason, changedAt: this.#clock.now() }
    this.events.emit('message:changed', { message: letter.sent })
  }
}

const isOpen = ({ sent }: Letter): boolean => sent.state === 'waiting' || sent.state === 'sent'
/** As it would come out of the wire: strict and canonical. */
const copy = (body: JsonObject): JsonObject => parseJsonObject(new TextEncoder().encode(canonicalJson(body)))
