/**
 * What goes out on one link, as fast as the peer takes it: acknowledgements first, then what is said at once, then messages and parts of
 * large ones in turns. Keeps what is not acknowledged.
 */
import { utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import { type Eventual, isPromise } from '../../platform/crypto-types.ts'
import type { MessageType } from '../../wire/message-types.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import { writeAscii } from '../../wire/text-bytes.ts'
import type { Channel, SealedFrame } from '../channel.ts'
import type { Failpoint } from '../failpoints.ts'
import {
  ACK_AT_ONCE,
  ACK_DELAY_MS,
  ACK_TIMEOUT_MS,
  CHUNKED_ABOVE_BYTES,
  HEARTBEAT_MS,
  MAX_OWED,
  MAX_SAYINGS,
  MAX_UNACKED,
  PARTIAL_IDLE_MS,
  PUT_OFF_MS,
  SEND_AHEAD_BYTES
} from '../limits.ts'
import type { MessageLink } from '../link.ts'
import type { PeerFigures } from '../peer-figures.ts'
import type { WaitingMessage } from '../store.ts'
import { AckBook, ackBody, readAck } from './ack-ranges.ts'
import { SendWindow } from './bandwidth.ts'
import { ChunkSender } from './chunk-sender.ts'
import type { PeerQueue } from './peer-queue.ts'

export interface LinkSenderDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly failpoint: Failpoint
  readonly queue: PeerQueue
  readonly figures: PeerFigures
  /** A message went out; was acknowledged (several together); was refused for good. */
  readonly onSent: (message: WaitingMessage) => void
  readonly onDelivered: (messages: readonly WaitingMessage[]) => void
  readonly onRefused: (message: WaitingMessage, code: string) => void
  /** It was refused for the moment, and is tried again then (monotonic ms). */
  readonly onPutOff: (message: WaitingMessage, code: string, until: number) => void
  /** The other side tells by their ids that messages are durable there. */
  readonly onReceipt: (ids: readonly string[]) => void
  /** The session must be replaced, and nothing is under way on it. */
  readonly onWorn: () => void
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

/** Said at once. */
interface Saying {
  readonly type: MessageType
  readonly body: JsonObject
  readonly done: (isSent: boolean) => void
}

/** Refusals that are about this moment, not about the message: it is tried again later. */
const PASSING: ReadonlySet<string> = new Set(['RATE_LIMITED', 'QUEUE_FULL', 'DISK_FULL', 'INTERNAL'])

export class LinkSender {
  /** When it last sent a message (monotonic ms). */
  usedAt: number
  readonly chunks: ChunkSender = new ChunkSender()
  readonly #deps: LinkSenderDeps
  readonly #link: MessageLink
  readonly #channel: Channel
  readonly #end: (reason: KithError) => void
  readonly #window: SendWindow
  readonly #unacked = new Map<number, Unacked>()
  readonly #acks = new AckBook()
  #sayings: Saying[] = []
  #isPartNext = false
  #isSending = false
  #isAskedAgain = false
  #isAckDue = false
  #ackedAt = Number.NEGATIVE_INFINITY
  #ackTimer: ReturnType<typeof setTimeout> | undefined
  #isOver = false
  /** Bytes given to the link that it has not taken yet. */
  #ahead = 0
  #onRoom: (() => void) | undefined
  #saidAt: number
  #heartbeats = 0
  /** Refused for the moment: they go back to the queue after a pause, or when the link ends. */
  #putOff: WaitingMessage[] = []
  #putOffUntil = 0

  /** @param end ends the link, by `over` too */
  constructor(deps: LinkSenderDeps, link: MessageLink, channel: Channel, end: (reason: KithError) => void) {
    const now = deps.clock.monotonic()
    this.#deps = deps
    this.#link = link
    this.#channel = channel
    this.#end = end
    this.usedAt = this.#saidAt = now
    this.#window = new SendWindow(now)
    deps.wakeAt(now + HEARTBEAT_MS)
  }

  get hasUnacked(): boolean {
    return this.#unacked.size > 0 || this.chunks.messages().length > 0
  }
  get window(): number {
    return this.#window.bytes
  }

  /** The link has ended: nothing more is sent. @returns what is to be tried again */
  over(): readonly WaitingMessage[] {
    this.#isOver = true
    clearTimeout(this.#ackTimer)
    this.#onRoom?.()
    for (const { done } of this.#sayings.splice(0)) done(false)
    const lost = [...[...this.#unacked.values()].flatMap(u => u.message ?? []), ...this.chunks.messages()]
    this.#deps.figures.resent += lost.length
    this.#unacked.clear()
    return [...lost, ...this.#putOff.splice(0)]
  }

  /** Sends what waits, as far as the peer takes it. */
  pump(): void {
    // Who asks while it runs may have come after it looked for the last time.
    this.#isAskedAgain = this.#isSending
    if (this.#isSending || this.#isOver) return
    this.#isSending = true
    this.#sendAll()
      .catch((error: unknown) => this.#end(error instanceof KithError ? error : new KithError('INTERNAL', textOf(error))))
      .finally(() => {
        this.#isSending = false
        if (this.#isAskedAgain) this.pump()
      })
  }

  /** Sends something that nobody waits for. @returns whether the link has it */
  say(type: MessageType, body: JsonObject): Promise<boolean> {
    // Answers to a peer that asks and does not read.
    if (this.#isOver || this.#sayings.length >= MAX_SAYINGS || this.#unacked.size >= MAX_OWED) return Promise.resolve(false)
    return new Promise(resolve => {
      this.#sayings.push({ type, body, done: resolve })
      this.pump()
    })
  }

  /**
   * Acknowledges, or refuses by a code: at once after a pause, then once for all that are settled in a few ms, because an acknowledgement
   * costs as much as a message. By a timer of its own: this is about sharing work, and no deadline that anybody counts on.
   */
  settle(sequence: number, refusal?: string): void {
    if (refusal === undefined) this.#acks.add(sequence)
    else this.#acks.refuse(sequence, refusal)
    // It sends on and on, and does not read what we say to it.
    if (this.#acks.size > MAX_OWED) this.#end(new KithError('PEER_PROTOCOL', 'the peer does not take acknowledgements'))
    if (this.#isAckDue || this.#isOver) return
    const isRested = this.#deps.clock.monotonic() - this.#ackedAt >= ACK_DELAY_MS
    if (isRested || this.#acks.size >= ACK_AT_ONCE) this.#ackNow()
    else this.#ackTimer ??= setTimeout(() => this.#ackNow(), ACK_DELAY_MS)
  }

  #ackNow(): void {
    clearTimeout(this.#ackTimer)
    this.#ackTimer = undefined
    this.#isAckDue = true
    this.#ackedAt = this.#deps.clock.monotonic()
    queueMicrotask(() => this.pump())
  }

  /** The other side's `ack`. @throws BAD_PAYLOAD */
  acknowledged(body: JsonObject): void {
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

  /** A large message is over: durable there, or to be begun again, after a pause, because each time costs us a hash of all of it. */
  transferOver(message: WaitingMessage, isDelivered: boolean): void {
    if (isDelivered) {
      this.#deps.figures.delivered++
      this.#deps.onDelivered([message])
    } else this.#later(message, 'QUEUE_FULL', this.#deps.clock.monotonic())
    this.pump()
  }

  /** Says that we are there; ends the link when the other does not go on. @returns when to look again */
  tick(now: number): number {
    const oldest = this.#unacked.values().next().value
    const ackDue = oldest ? oldest.sentAt + ACK_TIMEOUT_MS : Number.POSITIVE_INFINITY
    const transfersDue = this.chunks.due()
    if (Math.min(ackDue, transfersDue) <= now) this.#end(new KithError('PEER_SILENT', 'the peer acknowledged nothing for too long'))
    if (this.#isOver) return Number.POSITIVE_INFINITY
    if (now >= this.#putOffUntil) this.#deps.queue.putBack(this.#putOff.splice(0))
    if (now - this.#saidAt >= HEARTBEAT_MS) {
      this.#saidAt = now
      void this.say('heartbeat', { sequence: this.#heartbeats++ })
    }
    this.pump()
    const putOffDue = this.#putOff.length > 0 ? this.#putOffUntil : Number.POSITIVE_INFINITY
    return Math.min(this.#saidAt + HEARTBEAT_MS, ackDue, transfersDue, putOffDue)
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      if (this.#ahead > SEND_AHEAD_BYTES) await new Promise<void>(resolve => (this.#onRoom = resolve))
      if (this.#isOver) return
      const saying = this.#isAckDue ? undefined : this.#sayings.shift()
      if (this.#isAckDue) await this.#sendAcks()
      else if (saying) {
        this.#put(await this.#seal(saying.type, saying.body), undefined)
        saying.done(true)
      } else if (!(await this.#sendNext())) return
    }
  }

  async #sendAcks(): Promise<void> {
    this.#isAckDue = false
    // More than the link takes stays here, where it is counted.
    while (!this.#acks.isEmpty && this.#ahead <= SEND_AHEAD_BYTES) {
      const { frame } = await this.#seal('ack', ackBody(this.#acks.take()))
      this.#deps.failpoint('ack:sealed')
      this.#saidAt = this.#deps.clock.monotonic()
      this.#give(frame)
      this.#deps.failpoint('ack:sent')
    }
    if (!this.#acks.isEmpty) this.#isAckDue = true
  }

  /** A message, or a part of a large one: they take turns. @returns false when nothing more can be sent now */
  async #sendNext(): Promise<boolean> {
    if (this.#unacked.size >= MAX_UNACKED) return false
    const partBytes = this.chunks.nextBytes
    // Nothing new begins in a session that is to be replaced.
    const isWorn = this.#channel.worn
    if (isWorn && !this.hasUnacked) this.#deps.onWorn()
    const next = isWorn ? undefined : this.#deps.queue.peek()
    const isLarge = next !== undefined && next.bytes > CHUNKED_ABOVE_BYTES
    const mayTake = next !== undefined && (!isLarge || this.chunks.hasRoom)
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
    const body = this.chunks.begin(message, payloadOf(message), this.usedAt)
    this.#deps.wakeAt(this.usedAt + PARTIAL_IDLE_MS)
    this.#put(await this.#seal('chunk', body), undefined, message.id)
    this.#deps.onSent(message)
  }
  async #sendPart(): Promise<void> {
    const part = this.chunks.takePart(this.#deps.clock.monotonic())
    if (!part) return
    this.#put(await this.#seal('chunk', part.body), undefined, part.id)
    this.#deps.failpoint('chunk:sent')
  }

  /** One that cannot be sealed must not hold up the others. */
  async #sendMessage(next: WaitingMessage): Promise<void> {
    let sealed: SealedFrame
    try {
      const eventual = this.#channel.seal(next.type, payloadOf(next))
      sealed = isPromise(eventual) ? await eventual : eventual
    } catch (error) {
      if (codeOf(error) === 'TOO_LARGE') return this.#deps.onRefused(next, 'TOO_LARGE')
      this.#deps.queue.putBack([next])
      throw error
    }
    // The link ended while it was sealed, after what was not acknowledged had been taken back.
    if (this.#isOver) return this.#deps.queue.putBack([next])
    this.#put(sealed, next)
    this.#deps.onSent(next)
  }

  #seal(type: MessageType, body: JsonObject): Eventual<SealedFrame> {
    return this.#channel.seal(type, utf8(JSON.stringify(body)))
  }

  #put({ frame, sequence }: SealedFrame, message: WaitingMessage | undefined, transfer?: string): void {
    const { figures, clock, failpoint } = this.#deps
    failpoint('frame:sealed')
    const now = clock.monotonic()
    this.#saidAt = now
    this.#unacked.set(sequence, { message, transfer, bytes: frame.length, sentAt: now })
    if (this.#unacked.size === 1) this.#deps.wakeAt(now + ACK_TIMEOUT_MS)
    this.#window.sent(frame.length)
    if (message) figures.sent++
    this.#give(frame)
    failpoint('frame:sent')
  }

  /** Hands a frame to the link without waiting for each: it puts many together. */
  #give(frame: Uint8Array): void {
    this.#deps.figures.bytesOut += frame.length
    this.#ahead += frame.length
    this.#link.send(frame).then(
      () => {
        this.#ahead -= frame.length
        if (this.#ahead > SEND_AHEAD_BYTES / 2) return
        const wake = this.#onRoom
        this.#onRoom = undefined
        wake?.()
      },
      (error: unknown) => this.#end(error instanceof KithError ? error : new KithError('PEER_PROTOCOL', 'the link broke'))
    )
  }

  #takeUnacked(sequence: number, now: number): Unacked | undefined {
    const unacked = this.#unacked.get(sequence)
    if (!unacked) return undefined
    this.#unacked.delete(sequence)
    this.#window.acked(unacked.bytes, unacked.sentAt, now)
    // Heartbeats say nothing about messages, and idle peers have nothing else.
    if (unacked.message || unacked.transfer !== undefined) this.#deps.figures.latencies.add(now - unacked.sentAt)
    return unacked
  }

  #refused(unacked: Unacked | undefined, code: string, now: number): void {
    const message = unacked?.transfer === undefined ? unacked?.message : this.chunks.drop(unacked.transfer)
    if (!message) return
    if (PASSING.has(code)) this.#later(message, code, now)
    else this.#deps.onRefused(message, code)
  }
  #later(message: WaitingMessage, code: string, now: number): void {
    this.#putOff.push(message)
    this.#putOffUntil = now + PUT_OFF_MS
    this.#deps.wakeAt(this.#putOffUntil)
    this.#deps.onPutOff(message, code, this.#putOffUntil)
  }
}

const BRACE = 0x7b

/** The body of a message with its id: no need to read it for that. */
export function payloadOf({ id, body }: Pick<WaitingMessage, 'id' | 'body'>): Uint8Array {
  const isEmpty = body.length <= 2
  if (!isEmpty && body[0] !== BRACE) throw new KithError('BAD_PAYLOAD', 'the body of a message is an object')
  const head = `{"message_id":"${id}"${isEmpty ? '}' : ','}`
  const out = new Uint8Array(head.length + (isEmpty ? 0 : body.length - 1))
  writeAscii(head, out)
  if (!isEmpty) out.set(body.subarray(1), head.length)
  return out
}
