/**
 * One link with its session: sends what waits as fast as the peer takes it, hands on what comes, acknowledges what is durable, and keeps
 * quiet links alive. When it ends, what was not acknowledged goes back to the queue with the same ids.
 */
import { concatBytes, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Eventual, isPromise } from '../platform/crypto-types.ts'
import { MESSAGE_TYPES, type MessageType } from '../wire/message-types.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { AckBook, ackBody, readAck } from './ack-ranges.ts'
import { SendWindow } from './bandwidth.ts'
import type { Channel, OpenedFrame, SealedFrame } from './channel.ts'
import { ChunkExchange, type WholeMessage } from './chunk-exchange.ts'
import type { ChunkReceiver } from './chunk-receiver.ts'
import type { Failpoint } from './failpoints.ts'
import type { Guard, Origin } from './guard.ts'
import {
  ACK_TIMEOUT_MS,
  CHUNKED_ABOVE_BYTES,
  HEARTBEAT_MS,
  MAX_BAD_FRAMES,
  MAX_UNACKED,
  MISSED_HEARTBEATS,
  PARTIAL_IDLE_MS,
  PUT_OFF_MS,
  SEND_AHEAD_BYTES
} from './limits.ts'
import type { MessageLink } from './link.ts'
import type { PeerFigures } from './peer-figures.ts'
import type { PeerQueue } from './peer-queue.ts'
import type { WaitingMessage } from './store.ts'
import type { IncomingMessage } from './types.ts'
import { newUuid } from './uuid.ts'

/** What a link needs from those around it. */
export interface PeerLinkDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly guard: Guard
  readonly failpoint: Failpoint
  readonly queue: PeerQueue
  readonly figures: PeerFigures
  /** A message went out; was acknowledged (several together); was refused for good. */
  readonly onSent: (message: WaitingMessage) => void
  readonly onDelivered: (messages: readonly WaitingMessage[]) => void
  readonly onRefused: (message: WaitingMessage, code: string) => void
  /** Stores a message; `settle` once. Resolves when more may come. */
  readonly receive: (message: IncomingMessage, bytes: number, settle: (error: unknown) => void) => Promise<void> | undefined
  /** Large messages on their way in. */
  readonly chunks: ChunkReceiver
  readonly hasReceived: (id: string) => boolean
  /** The other side tells by their ids that messages are durable there. */
  readonly onReceipt: (ids: readonly string[]) => void
  /** Something must be looked at no later than so (monotonic ms). */
  readonly wakeAt: (due: number) => void
}

/** A frame that was sent and is not acknowledged. */
interface Unacked {
  /** undefined: nobody waits for it. */
  readonly message: WaitingMessage | undefined
  /** It is a part of this large message. */
  readonly transfer: string | undefined
  readonly bytes: number
  readonly sentAt: number
}

/** Refusals that are about this moment, not about the message: it is tried again later. */
const PASSING: ReadonlySet<string> = new Set(['RATE_LIMITED', 'QUEUE_FULL', 'DISK_FULL', 'INTERNAL'])

export class PeerLink {
  readonly link: MessageLink
  readonly channel: Channel
  readonly openedByUs: boolean
  readonly since: number
  /** Why it ended; undefined while it lives. */
  ended: KithError | undefined
  /** When it last carried something else than heartbeats (monotonic ms). */
  usedAt: number
  readonly #deps: PeerLinkDeps
  readonly #window: SendWindow
  readonly #unacked = new Map<number, Unacked>()
  readonly #acks = new AckBook()
  readonly #chunks: ChunkExchange
  #isPartNext = false
  readonly #origin: Origin
  /** Frames that go before all messages. */
  readonly #first: { readonly type: MessageType; readonly body: JsonObject; readonly sent?: () => void }[] = []
  #isSending = false
  #isAskedAgain = false
  #isAckDue = false
  /** Bytes given to the link that it has not taken yet. */
  #ahead = 0
  #onRoom: (() => void) | undefined
  #heardAt: number
  #saidAt: number
  #badFrames = 0
  /** Frames by sequence whose link wants to know what became of them. */
  readonly #unanswered = new Map<number, Uint8Array>()
  #heartbeats = 0
  /** Refused for the moment: they go back to the queue after a pause, or when the link ends. */
  #putOff: WaitingMessage[] = []
  #putOffUntil = 0

  constructor(deps: PeerLinkDeps, link: MessageLink, channel: Channel, openedByUs: boolean) {
    const now = deps.clock.monotonic()
    this.#deps = deps
    this.link = link
    this.channel = channel
    this.openedByUs = openedByUs
    this.since = this.usedAt = this.#heardAt = this.#saidAt = now
    this.#window = new SendWindow(now)
    this.#origin = { entityId: channel.peer, peerId: link.peerId, address: link.address }
    deps.wakeAt(now + HEARTBEAT_MS)
    this.#chunks = new ChunkExchange({
      ...{ from: channel.peer, receiver: deps.chunks, failpoint: deps.failpoint, hasReceived: deps.hasReceived },
      say: body => void this.sayNow('chunk', body),
      onOver: (message, isDelivered) => this.#transferOver(message, isDelivered)
    })
  }

  get hasUnacked(): boolean {
    return this.#unacked.size > 0 || this.#chunks.sender.messages().length > 0
  }
  get window(): number {
    return this.#window.bytes
  }

  /** Serves the link until it ends. Never rejects. @returns what was not acknowledged, to be tried again */
  async run(): Promise<readonly WaitingMessage[]> {
    const gone = (): void => this.end(new KithError('PEER_PROTOCOL', 'the link ended'))
    this.link.closed.addEventListener('abort', gone, { once: true })
    try {
      if (this.link.closed.aborted) gone()
      else this.pump()
      while (!this.ended) {
        const frame = await this.link.next()
        if (!frame) break
        await this.#receive(frame)
      }
      this.end(new KithError('PEER_PROTOCOL', 'the peer ended the link'))
    } catch (error) {
      this.end(error instanceof KithError ? error : new KithError('INTERNAL', 'the link failed', {}, { cause: error }))
    }
    await this.link[Symbol.asyncDispose]()
    this.channel.close()
    const left = [...[...this.#unacked.values()].flatMap(u => u.message ?? []), ...this.#chunks.sender.messages()]
    this.#unacked.clear()
    this.#deps.figures.resent += left.length
    return [...left, ...this.#putOff]
  }

  /** Ends the link; `run` resolves soon. */
  end(reason: KithError): void {
    if (this.ended) return
    this.ended = reason
    this.#deps.failpoint('link:lost')
    this.#onRoom?.()
    void this.link[Symbol.asyncDispose]()
  }

  /** Sends what waits, as far as the peer takes it. */
  pump(): void {
    // Who asks while it runs may have come after it looked for the last time.
    this.#isAskedAgain = this.#isSending
    if (this.#isSending || this.ended) return
    this.#isSending = true
    this.#sendAll()
      .catch((error: unknown) => this.end(error instanceof KithError ? error : new KithError('INTERNAL', textOf(error))))
      .finally(() => {
        this.#isSending = false
        if (this.#isAskedAgain) this.pump()
      })
  }

  /** Sends something that nobody waits for. Resolves when the link has it. */
  sayNow(type: MessageType, body: JsonObject): Promise<boolean> {
    if (this.ended) return Promise.resolve(false)
    return new Promise(resolve => {
      this.link.closed.addEventListener('abort', () => resolve(false), { once: true })
      this.#first.push({ type, body, sent: () => resolve(true) })
      this.pump()
    })
  }

  /** Says that we are there, notices that the other is not. @returns when to look again */
  tick(now: number): number {
    if (now - this.#heardAt >= MISSED_HEARTBEATS * HEARTBEAT_MS)
      this.end(new KithError('PEER_SILENT', 'the peer sent nothing for too long'))
    const oldest = this.#unacked.values().next().value
    if (oldest && now - oldest.sentAt >= ACK_TIMEOUT_MS)
      this.end(new KithError('PEER_SILENT', 'the peer acknowledged nothing for too long'))
    if (this.ended) return Number.POSITIVE_INFINITY
    this.#resumePutOff(now)
    const transfers = this.#transfersDue(now)
    if (now - this.#saidAt >= HEARTBEAT_MS) {
      this.#saidAt = now
      void this.sayNow('heartbeat', { sequence: this.#heartbeats++ })
    }
    const never = Number.POSITIVE_INFINITY
    const putOff = this.#putOff.length > 0 ? this.#putOffUntil : never
    return Math.min(this.#saidAt + HEARTBEAT_MS, oldest ? oldest.sentAt + ACK_TIMEOUT_MS : never, putOff, transfers)
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      if (this.#ahead > SEND_AHEAD_BYTES) await new Promise<void>(resolve => (this.#onRoom = resolve))
      if (this.ended) return
      if (this.#isAckDue) {
        this.#isAckDue = false
        while (!this.#acks.isEmpty) await this.#sendAck()
        continue
      }
      const first = this.#first.shift()
      if (first) {
        const sealed = await this.#seal(first.type, first.body)
        this.#put(sealed, undefined)
        first.sent?.()
        continue
      }
      if (!(await this.#sendNext())) return
    }
  }

  /** A message, or a part of a large one: they take turns. @returns false when nothing more can be sent now */
  async #sendNext(): Promise<boolean> {
    const { sender } = this.#chunks
    const partBytes = sender.nextBytes
    const next = this.#deps.queue.peek()
    const isLarge = next !== undefined && next.bytes > CHUNKED_ABOVE_BYTES
    const mayTake = next !== undefined && (!isLarge || sender.hasRoom)
    if (this.#unacked.size >= MAX_UNACKED) return false
    if (partBytes !== undefined && (this.#isPartNext || !mayTake)) {
      if (!this.#window.allows(partBytes)) return false
      this.#isPartNext = false
      await this.#sendPart()
      return true
    }
    this.#isPartNext = true
    if (!mayTake || !this.#window.allows(isLarge ? 0 : next.bytes)) return false
    this.#deps.queue.take()
    this.usedAt = this.#deps.clock.monotonic()
    if (isLarge) await this.#announce(next)
    else await this.#sendMessage(next)
    return true
  }

  async #announce(message: WaitingMessage): Promise<void> {
    const body = this.#chunks.sender.begin(message, payloadOf(message), this.#deps.clock.monotonic())
    this.#deps.wakeAt(this.#deps.clock.monotonic() + PARTIAL_IDLE_MS)
    this.#put(await this.#seal('chunk', body), undefined, message.id)
    this.#deps.onSent(message)
  }
  async #sendPart(): Promise<void> {
    const part = this.#chunks.sender.takePart(this.#deps.clock.monotonic())
    if (!part) return
    this.#put(await this.#seal('chunk', part.body), undefined, part.id)
    this.#deps.failpoint('chunk:sent')
  }

  /** One that cannot be sealed must not hold up the others. */
  async #sendMessage(next: WaitingMessage): Promise<void> {
    let sealed: SealedFrame
    try {
      const eventual = this.channel.seal(next.type, payloadOf(next))
      sealed = isPromise(eventual) ? await eventual : eventual
    } catch (error) {
      return this.#unsealable(next, error)
    }
    this.#put(sealed, next)
    this.#deps.onSent(next)
  }

  #seal(type: MessageType, body: JsonObject): Eventual<SealedFrame> {
    return this.channel.seal(type, utf8(JSON.stringify(body)))
  }
  #unsealable(message: WaitingMessage, error: unknown): void {
    const code = codeOf(error)
    if (code === 'SESSION_EXPIRED') {
      this.#deps.queue.putBack([message])
      throw error
    }
    this.#deps.onRefused(message, code)
  }

  #put({ frame, sequence }: SealedFrame, message: WaitingMessage | undefined, transfer?: string): void {
    const { figures, clock, failpoint } = this.#deps
    failpoint('frame:sealed')
    const now = clock.monotonic()
    this.#saidAt = now
    this.#unacked.set(sequence, { message, transfer, bytes: frame.length, sentAt: now })
    if (this.#unacked.size === 1) this.#deps.wakeAt(now + ACK_TIMEOUT_MS)
    this.#window.sent(frame.length)
    figures.bytesOut += frame.length
    if (message) figures.sent++
    this.#give(frame)
    failpoint('frame:sent')
  }

  async #sendAck(): Promise<void> {
    const { frame } = await this.#seal('ack', ackBody(this.#acks.take()))
    this.#deps.failpoint('ack:sealed')
    this.#saidAt = this.#deps.clock.monotonic()
    this.#deps.figures.bytesOut += frame.length
    this.#give(frame)
    this.#deps.failpoint('ack:sent')
  }

  /** Hands a frame to the link without waiting for each: it puts many together. */
  #give(frame: Uint8Array): void {
    this.#ahead += frame.length
    this.link.send(frame).then(
      () => {
        this.#ahead -= frame.length
        if (this.#onRoom && this.#ahead <= SEND_AHEAD_BYTES / 2) {
          const wake = this.#onRoom
          this.#onRoom = undefined
          wake()
        }
      },
      (error: unknown) => this.end(error instanceof KithError ? error : new KithError('PEER_PROTOCOL', 'the link broke'))
    )
  }

  async #receive(frame: Uint8Array): Promise<void> {
    const { guard, figures, clock, failpoint } = this.#deps
    failpoint('frame:received')
    this.#heardAt = clock.monotonic()
    figures.bytesIn += frame.length
    // Who carries frames of anybody has its own limits, and what comes over it is not yet the peer's.
    const refused = this.link.settled ? undefined : guard.admit(this.#origin, undefined, frame.length)
    if (refused !== undefined) {
      this.link.settled?.(frame, { code: refused, message: 'too much' })
      this.end(new KithError('RATE_LIMITED', 'the peer sends too much', { code: refused }))
      return
    }
    let opened: readonly OpenedFrame[]
    try {
      const eventual = this.channel.open(frame)
      opened = isPromise(eventual) ? await eventual : eventual
    } catch (error) {
      return this.#bad(error, frame)
    }
    failpoint('frame:opened')
    if (this.link.settled) this.#answerWhenSettled(frame, opened)
    for (const message of opened) {
      const room = this.#dispatch(message, frame.length)
      if (room) await room
    }
  }

  /** The first of `opened` is the frame that came, the others had waited for it; without any it waits itself. */
  #answerWhenSettled(frame: Uint8Array, opened: readonly OpenedFrame[]): void {
    const [first] = opened
    if (!first || first.type === 'ack') this.link.settled?.(frame)
    else this.#unanswered.set(first.sequence, frame)
  }
  #answer(sequence: number, refusal?: { readonly code: string; readonly message: string }): void {
    const frame = this.#unanswered.get(sequence)
    if (!frame) return
    this.#unanswered.delete(sequence)
    this.link.settled?.(frame, refusal)
  }

  #bad(error: unknown, frame?: Uint8Array): void {
    const code = codeOf(error)
    if (frame && this.link.settled) {
      this.#deps.guard.report({ entityId: undefined, peerId: undefined, address: this.link.address }, code)
      this.link.settled(frame, { code, message: textOf(error) })
      return
    }
    this.#deps.guard.report(this.#origin, code)
    this.#deps.log.debug('bad frame', { peer: this.channel.peer, code })
    if (++this.#badFrames >= MAX_BAD_FRAMES || code === 'SESSION_EXPIRED' || code === 'NONCE_REUSE' || code === 'DOWNGRADE')
      this.end(new KithError('PEER_PROTOCOL', 'the peer sent what is no message', { code }))
  }

  #dispatch(message: OpenedFrame, bytes: number): Promise<void> | undefined {
    const { type, sequence, messageId, body } = message
    if (type === undefined || !body) return this.#faulty(sequence, message.fault ?? 'UNSUPPORTED')
    if (type === 'ack') {
      try {
        this.#acknowledged(body)
      } catch (error) {
        this.#bad(error)
      }
      return undefined
    }
    const refused = this.#deps.guard.admit(this.#origin, type, bytes)
    if (refused !== undefined) return this.#refuse(sequence, refused)
    if (type === 'heartbeat') return this.#settled(sequence, undefined)
    if (type === 'ping') return this.#pinged(sequence, messageId, body)
    if (type === 'chunk') return this.#chunk(message, body, bytes)
    if (messageId === undefined) return this.#faulty(sequence, 'BAD_PAYLOAD')
    return this.#take({ id: messageId, type, body }, message.sentAt, bytes, error => this.#settled(sequence, error))
  }

  #take({ id, type, body }: WholeMessage, sentAt: number, bytes: number, settle: (error: unknown) => void): Promise<void> | undefined {
    this.usedAt = this.#heardAt
    this.#deps.figures.received++
    const incoming: IncomingMessage = {
      ...{ id, from: this.channel.peer, type, body, priority: MESSAGE_TYPES[type] },
      ...{ sentAt, receivedAt: this.#deps.clock.now(), via: this.link.via === 'http' ? 'http' : 'direct' }
    }
    return this.#deps.receive(incoming, bytes, settle)
  }

  /** The part that makes a message whole is acknowledged when the message is durable. */
  #chunk({ sequence, sentAt }: OpenedFrame, body: JsonObject, bytes: number): Promise<void> | undefined {
    let whole: WholeMessage | undefined
    try {
      whole = this.#chunks.take(body, this.#heardAt)
    } catch (error) {
      return this.#faulty(sequence, codeOf(error))
    }
    if (!whole) return this.#settled(sequence, undefined)
    const { id, type } = whole
    const refused = this.#deps.guard.admit(this.#origin, type, bytes)
    if (refused !== undefined) return this.#refuse(sequence, refused)
    return this.#take(whole, sentAt, JSON.stringify(whole.body).length, error => {
      if (error === undefined) this.#chunks.stored(id)
      this.#settled(sequence, error)
    })
  }
  #transferOver(message: WaitingMessage, isDelivered: boolean): void {
    if (isDelivered) {
      this.#deps.figures.delivered++
      this.#deps.onDelivered([message])
    } else this.#deps.queue.putBack([message])
    this.pump()
  }

  /** An answer is wished, unless it is one. */
  #pinged(sequence: number, id: string | undefined, body: JsonObject): undefined {
    if (body['reply_to'] === undefined && id !== undefined) void this.sayNow('ping', { reply_to: id, message_id: newUuid() })
    return this.#settled(sequence, undefined)
  }
  #faulty(sequence: number, code: string): undefined {
    this.#deps.guard.report(this.#origin, code)
    return this.#refuse(sequence, code)
  }

  /** A message is durable, or is not. What could not be stored is refused for now, so that the sender tries again. */
  #settled(sequence: number, error: unknown): undefined {
    if (error !== undefined) return this.#refuse(sequence, codeOf(error) === 'DISK_FULL' ? 'DISK_FULL' : 'INTERNAL')
    this.#acks.add(sequence)
    this.#answer(sequence)
    this.#ackSoon()
  }
  #refuse(sequence: number, code: string): undefined {
    this.#acks.refuse(sequence, code)
    this.#answer(sequence, { code, message: 'the message was refused' })
    this.#ackSoon()
  }
  /** Once for all that are settled together. */
  #ackSoon(): void {
    if (this.#isAckDue || this.ended) return
    this.#isAckDue = true
    queueMicrotask(() => this.pump())
  }

  #acknowledged(body: JsonObject): void {
    const { ranges, refused, receipts } = readAck(body)
    this.#deps.failpoint('ack:received')
    const now = this.#deps.clock.monotonic()
    const delivered: WaitingMessage[] = []
    let at = 0
    // Both in ascending order. What is told again is not there any more.
    for (const sequence of this.#unacked.keys()) {
      while (at < ranges.length && ranges[at]![1] < sequence) at++
      if (at === ranges.length) break
      if (sequence < ranges[at]![0]) continue
      const { message } = this.#takeUnacked(sequence, now)!
      if (message) delivered.push(message)
    }
    for (const { sequence, code } of refused) this.#refused(this.#takeUnacked(sequence, now), code, now)
    if (receipts.length > 0) this.#deps.onReceipt(receipts)
    this.#deps.figures.delivered += delivered.length
    if (delivered.length > 0) this.#deps.onDelivered(delivered)
    this.pump()
  }

  #takeUnacked(sequence: number, now: number): Unacked | undefined {
    const unacked = this.#unacked.get(sequence)
    if (!unacked) return undefined
    this.#unacked.delete(sequence)
    this.#window.acked(unacked.bytes, unacked.sentAt, now)
    this.#deps.figures.latencies.add(now - unacked.sentAt)
    return unacked
  }

  #refused(unacked: Unacked | undefined, code: string, now: number): void {
    const message = unacked?.transfer === undefined ? unacked?.message : this.#chunks.sender.drop(unacked.transfer)
    if (!message) return
    if (PASSING.has(code)) {
      this.#putOff.push(message)
      this.#putOffUntil = now + PUT_OFF_MS
      this.#deps.wakeAt(this.#putOffUntil)
    } else this.#deps.onRefused(message, code)
  }
  #transfersDue(now: number): number {
    try {
      return this.#chunks.sender.check(now)
    } catch (error) {
      this.end(error as KithError)
      return Number.POSITIVE_INFINITY
    }
  }
  #resumePutOff(now: number): void {
    if (this.#putOff.length === 0 || now < this.#putOffUntil) return
    this.#deps.queue.putBack(this.#putOff.splice(0))
    this.pump()
  }
}

const BRACE = 0x7b

/** The body of a message with its id: no need to read it for that. */
export function payloadOf({ id, body }: Pick<WaitingMessage, 'id' | 'body'>): Uint8Array {
  const head = `{"message_id":"${id}"`
  if (body.length <= 2) return utf8(`${head}}`)
  if (body[0] !== BRACE) throw new KithError('BAD_PAYLOAD', 'the body of a message is an object')
  return concatBytes(utf8(`${head},`), body.subarray(1))
}
