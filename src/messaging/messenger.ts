/** The messaging service: outbox, inbox, handlers and delivery, put together. */
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import type { SessionSelf } from '../session/types.ts'
import type { MessageType } from '../wire/message-types.ts'
import { isUuidV4 } from '../wire/secure-message.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import type { Channels } from './channel.ts'
import { ChunkReceiver } from './delivery/chunk-receiver.ts'
import { Delivery } from './delivery/delivery.ts'
import { Handlers } from './delivery/handlers.ts'
import { Inbox } from './delivery/inbox.ts'
import { Outbox } from './delivery/outbox.ts'
import { type ReceiveContext, Singles } from './delivery/singles.ts'
import type { Failpoint, PlantedBug } from './failpoints.ts'
import { type Guard, openGuard } from './guard.ts'
import type { LegacyPeers } from './legacy.ts'
import { PRUNE_INTERVAL_MS } from './limits.ts'
import type { LinkOpener, MessageLink, SealedCarrier } from './link.ts'
import type { PeerStats } from './peer-figures.ts'
import type { InboxQuery, MessageStore, ReceivedRow } from './store.ts'
import type { EntityId, IncomingMessage, MessageHandler, Messenger, MessengerEvents, OutgoingMessage, SentMessage } from './types.ts'
import { newUuid } from './uuid.ts'

export interface MessengerDeps {
  readonly clock: Clock
  /** Bytes from the system's random generator. */
  readonly random: (n: number) => Uint8Array
  readonly log: Logger
  /** Open while the messenger is; the caller closes it after. */
  readonly store: MessageStore
  /** The keys that speak. */
  readonly self: SessionSelf
  /** Makes sessions on links. */
  readonly channels: Channels
  readonly opener: LinkOpener
  /** Brings a whole signed message to somebody who cannot be linked to; it seals it. */
  readonly carrier?: SealedCarrier
  /** Who may send messages in the form of before version 1.1. Absent: nobody. */
  readonly legacy?: LegacyPeers
  /** Default: everybody may send anything. */
  readonly guard?: Guard
  /** Called at the moments of failpoints.ts. */
  readonly failpoint?: Failpoint
  /** For the tests of the tests. */
  readonly plantedBug?: PlantedBug
}

/** A running messenger, with what transports and the node need beside `Messenger`. */
export class OpenMessenger implements Messenger {
  readonly self: EntityId
  readonly events: Emitter<MessengerEvents>
  readonly #deps: MessengerDeps
  readonly #outbox: Outbox
  readonly #inbox: Inbox
  readonly #handlers: Handlers
  readonly #delivery: Delivery
  readonly #singles: Singles
  readonly #closing = new AbortController()
  #closed: Promise<void> | undefined

  constructor(deps: MessengerDeps) {
    const { clock, log, store, guard = openGuard, failpoint = () => {}, plantedBug } = deps
    const self = deps.self.entityId
    this.self = self
    this.#deps = deps
    this.events = new Emitter(cause => log.warn('a listener threw', { cause }))
    const { events } = this
    this.#outbox = new Outbox(
      {
        ...{ clock, log, store, events, failpoint },
        onQueued: (to, message, expiresAt) => this.#delivery.queued(to, message, expiresAt),
        onEnded: (to, id) => this.#delivery.ended(to, id),
        onUnwritten: ms => this.#delivery.lookAgain(ms)
      },
      self
    )
    this.#handlers = new Handlers({ log, store, failpoint, answerError: (row, code, text) => this.#answerError(row, code, text) })
    this.#inbox = new Inbox({ log, store, events, handlers: this.#handlers, failpoint, plantedBug })
    const random = (): number => new DataView(Uint8Array.from(deps.random(4)).buffer).getUint32(0) / 2 ** 32
    const { outbox, inbox } = { outbox: this.#outbox, inbox: this.#inbox }
    const { channels, opener, carrier } = deps
    this.#singles = new Singles({
      ...{ clock, log, random: deps.random, self: deps.self, guard, inbox, outbox, nonces: store.nonces, carrier, legacy: deps.legacy },
      hasReceived: (from, id) => store.hasReceived(from, id),
      durable: () => store.commit(() => {}),
      sayReceived: (to, ids) => this.#delivery.sendNow(to, 'ack', { ranges: [], refused: [], message_ids: ids })
    })
    this.#delivery = new Delivery(
      {
        ...{ clock, random, log, store, channels, opener, guard, failpoint, events, outbox, inbox, chunks: new ChunkReceiver(clock) },
        carry: carrier && ((to, message, signal) => this.#singles.carry(to, message, signal))
      },
      self
    )
    this.#delivery.start()
    void this.#pruneNowAndThen()
  }

  send(message: OutgoingMessage): Promise<SentMessage> {
    if (this.#closing.signal.aborted) return Promise.reject(closed())
    return this.#outbox.send(message)
  }
  sendNow({ to, type, body, id = newUuid() }: OutgoingMessage): Promise<boolean> {
    return this.#delivery.sendNow(to, type, { ...body, message_id: id })
  }
  handle(type: MessageType, handler: MessageHandler): Disposable {
    return this.#handlers.set(type, handler)
  }
  sent(id: string): SentMessage | undefined {
    return this.#outbox.sent(id)
  }
  /** What one of our own says: until it has ended, and texts for 30 days longer unless they were taken back. */
  sentBody(id: string): JsonObject | undefined {
    return isUuidV4(id) ? this.#deps.store.sentBody(id) : undefined
  }
  outbox(limit = 100, type?: MessageType): SentMessage[] {
    return this.#outbox.list(limit, type)
  }
  inbox(options: Partial<InboxQuery> = {}): IncomingMessage[] {
    return this.#deps.store.inbox({ limit: 100, ...options })
  }
  /** One that was received, if its content is still kept. */
  received(id: string): IncomingMessage | undefined {
    return isUuidV4(id) ? this.#deps.store.received(id) : undefined
  }
  cancel(id: string): boolean {
    return this.#outbox.cancel(id)
  }

  /** Serves a link that somebody else has opened, until it ends. Never rejects. */
  accept(link: MessageLink): Promise<void> {
    return this.#delivery.accept(link)
  }
  /**
   * Takes a whole signed message that came without a link: opened by whoever it was sealed for, or alone over HTTP. Resolves when it is on
   * disk, now or since before.
   * @throws the codes of readSingleMessage, REPLAY_DETECTED, RATE_LIMITED or another of the guard, DISK_FULL
   */
  receive(message: Uint8Array, context: ReceiveContext): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(closed())
    return this.#singles.receive(message, context)
  }
  /** A peer is reachable again: what waits for it is tried at once. */
  wake(entityId: EntityId): void {
    this.#delivery.wake(entityId)
  }
  isConnected(entityId: EntityId): boolean {
    return this.#delivery.isConnected(entityId)
  }
  /** Whether a message waits for a peer; costs nothing, unlike `stats`. */
  isWaitingFor(entityId: EntityId): boolean {
    return this.#outbox.waitingFor(entityId).messages > 0
  }
  /** Figures of every peer that was linked or written to in this process. */
  stats(): PeerStats[] {
    return this.#delivery.stats()
  }

  /** Ends every link and waits for handlers that run; what is not delivered goes on in the next run. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }
  async #close(): Promise<void> {
    this.#closing.abort(closed())
    await this.#delivery[Symbol.asyncDispose]()
    await this.#singles.close()
    await this.#handlers.close()
    const { store, log } = this.#deps
    await store.commit(() => {}).catch((cause: unknown) => log.warn('what was written last may be lost', { code: codeOf(cause), cause }))
  }

  /** In the transaction that marks the message as done, so that the answer is sent once. */
  #answerError(row: ReceivedRow, code: string, text: string): () => void {
    return this.#outbox.addWithin({
      to: row.from,
      type: 'error',
      body: { error_code: code, error_message: text, original_message_id: row.id }
    })
  }

  async #pruneNowAndThen(): Promise<void> {
    const { clock, store, log } = this.#deps
    while (!this.#closing.signal.aborted) {
      await store
        .commit(() => store.prune(clock.now()))
        .catch((cause: unknown) => log.warn('old messages were not removed', { code: codeOf(cause), cause }))
      await clock.sleep(PRUNE_INTERVAL_MS, this.#closing.signal).catch(() => {})
    }
  }
}

/** Opens the messenger of `deps.self` and goes on with what waits. Dispose it to end every link. */
export async function openMessenger(deps: MessengerDeps): Promise<OpenMessenger> {
  return new OpenMessenger(deps)
}

const closed = (): KithError => new KithError('MESSENGER_CLOSED', 'the messenger has been closed')
