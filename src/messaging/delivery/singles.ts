/**
 * Messages that go and come without a session: handed to a carrier when there is no link, taken when they were sealed for us or came alone
 * over HTTP. What came sealed is answered by a receipt, so that its sender learns that it arrived.
 */
import { utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { type NonceStore, ReplayWindow } from '../../session/replay-window.ts'
import { MESSAGE_TYPES } from '../../wire/message-types.ts'
import { canonicalJson } from '../../wire/strict-json.ts'
import type { Guard } from '../guard.ts'
import { type LegacyPeers, legacyFormOf, mayBeLegacy, readLegacy } from '../legacy.ts'
import { MAX_CARRIED_RECEIPTS, MAX_RECEIPT_PEERS, MAX_RECEIPTS, RECEIPT_DELAY_MS } from '../limits.ts'
import type { SealedCarrier } from '../link.ts'
import type { WaitingMessage } from '../store.ts'
import type { EntityId } from '../types.ts'
import { readAck } from './ack-ranges.ts'
import type { Inbox } from './inbox.ts'
import { payloadOf } from './link-sender.ts'
import type { Outbox } from './outbox.ts'
import { readSingleMessage, type SingleMessage, type SingleMessageDeps, writeSingleMessage } from './single-message.ts'

/** How a message came. */
export interface ReceiveContext {
  readonly via: 'sealed' | 'http'
  /** IP address of the other end, if it came directly. */
  readonly address?: string
}

export interface SinglesDeps extends SingleMessageDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly guard: Guard
  readonly inbox: Inbox
  readonly outbox: Outbox
  readonly nonces: NonceStore
  /** Whether a message was received before. */
  readonly hasReceived: (from: EntityId, id: string) => boolean
  /** Resolves when all that was received until now is on disk. */
  readonly durable: () => Promise<void>
  readonly carrier: SealedCarrier | undefined
  /** Absent: nobody may use the old form. */
  readonly legacy?: LegacyPeers | undefined
  /** Tells on a link that messages are durable here. @returns whether there was one */
  readonly sayReceived: (to: EntityId, ids: readonly string[]) => Promise<boolean>
}

const NO_LEGACY: LegacyPeers = { allowed: () => [], speaksNewer: () => false }

export class Singles {
  readonly #deps: SinglesDeps
  readonly #replays: ReplayWindow
  readonly #closing = new AbortController()
  /** What is to be confirmed, by sender. */
  readonly #receipts = new Map<EntityId, Set<string>>()
  readonly #tasks = new Set<Promise<void>>()
  #carrying = 0
  /** Receipts that wait for one of the others. */
  readonly #turns: (() => void)[] = []

  constructor(deps: SinglesDeps) {
    this.#deps = deps
    this.#replays = new ReplayWindow({ clock: deps.clock, store: deps.nonces })
  }

  /** Signs one of our own and hands it to the carrier. @returns as SealedCarrier.carry */
  async carry(to: EntityId, message: WaitingMessage, signal: AbortSignal): Promise<boolean | string> {
    const whole = await writeSingleMessage(this.#deps, to, message.type, payloadOf(message))
    return this.#deps.carrier?.carry(to, whole, signal) ?? false
  }

  /** @throws the codes of readSingleMessage, REPLAY_DETECTED, a code of the guard, DISK_FULL */
  async receive(bytes: Uint8Array, { via, address }: ReceiveContext): Promise<void> {
    const { guard, outbox } = this.#deps
    // What was sealed has no address of its own: the limits for whoever handed it over were asked before it was opened (routing.ts).
    if (via === 'http') admit(guard.admit({ entityId: undefined, peerId: undefined, address }, undefined, bytes.length))
    const { message, isLegacy } = await this.#read(bytes, via)
    // What somebody repeats of a sender must not count against that sender.
    if (via === 'http') this.#replays.check(message.from, message.nonce, message.sentAt)
    // Nor when whoever carries sealed messages hands one in again: it has its effect already.
    const isRepeated = message.messageId !== undefined && this.#deps.hasReceived(message.from, message.messageId)
    const origin = { entityId: message.from, peerId: undefined, address }
    if (!isRepeated) {
      admit(guard.admit(origin, undefined, bytes.length))
      admit(guard.admit(origin, message.type, bytes.length))
    }
    if (message.type === 'ack') return outbox.receipt(message.from, readAck(message.body).receipts)
    if (!isRepeated || via === 'http') await this.#store(message, bytes.length, isLegacy ? 'legacy' : via)
    // The first may be on its way to the disk, or never get there.
    else await this.#deps.durable()
    if (via === 'sealed' && message.messageId !== undefined) this.#confirm(message.from, message.messageId)
  }

  async #read(bytes: Uint8Array, via: 'sealed' | 'http'): Promise<{ readonly message: SingleMessage; readonly isLegacy: boolean }> {
    try {
      return { message: await readSingleMessage(this.#deps, bytes, via), isLegacy: false }
    } catch (error) {
      const old = via === 'http' && mayBeLegacy(error) ? legacyFormOf(bytes) : undefined
      if (!old) throw error
      const { self, legacy = NO_LEGACY } = this.#deps
      return { message: await readLegacy(old, self.entityId, legacy), isLegacy: true }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(this.#tasks)
  }

  /** A nonce is for messages that are fresh; what waited counts once by its id, which is remembered for longer than senders try. */
  async #store(message: SingleMessage, bytes: number, via: 'sealed' | 'http' | 'legacy'): Promise<void> {
    const { from, type, messageId: id, body, sentAt, nonce } = message
    if (id === undefined) throw new KithError('BAD_PAYLOAD', 'the message has no message_id')
    const { inbox, clock } = this.#deps
    if (!inbox.hasRoom) await inbox.room()
    const incoming = { id, from, type, body, priority: MESSAGE_TYPES[type], sentAt, receivedAt: clock.now(), via }
    const within = via !== 'sealed' ? () => this.#replays.record(from, nonce, sentAt) : undefined
    await new Promise<void>((resolve, reject) =>
      inbox.add(incoming, bytes, error => (error === undefined ? resolve() : reject(error)), within)
    )
  }

  /** Soon, for all of a sender together. */
  #confirm(to: EntityId, id: string): void {
    const ids = this.#receipts.get(to)
    if (ids) {
      if (ids.size < MAX_RECEIPTS) ids.add(id)
      return
    }
    if (this.#receipts.size >= MAX_RECEIPT_PEERS) return
    this.#receipts.set(to, new Set([id]))
    const task = this.#confirmSoon(to).finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
  }
  async #confirmSoon(to: EntityId): Promise<void> {
    const { clock, carrier, sayReceived, log } = this.#deps
    await clock.sleep(RECEIPT_DELAY_MS, this.#closing.signal).catch(() => {})
    if (this.#carrying++ >= MAX_CARRIED_RECEIPTS) await new Promise<void>(resolve => this.#turns.push(resolve))
    const ids = [...(this.#receipts.get(to) ?? [])]
    this.#receipts.delete(to)
    try {
      if (this.#closing.signal.aborted || (await sayReceived(to, ids))) return
      const payload = utf8(canonicalJson({ ranges: [], refused: [], message_ids: ids }))
      await carrier?.carry(to, await writeSingleMessage(this.#deps, to, 'ack', payload), this.#closing.signal)
    } catch (cause) {
      // The sender tries again, and then gets another one.
      log.debug('a receipt was not sent', { to, code: codeOf(cause), cause })
    } finally {
      this.#carrying--
      this.#turns.shift()?.()
    }
  }
}

function admit(refusal: string | undefined): void {
  if (refusal !== undefined) throw new KithError(refusal, 'the message is not taken now')
}
