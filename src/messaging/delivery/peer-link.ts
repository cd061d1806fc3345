/**
 * One link with its session, from the handshake to its end: opens what comes, hands it on, and says when it is durable (link-sender.ts is
 * the other direction). When it ends, what was not acknowledged is handed back, to be tried again with the same ids.
 */
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { MESSAGE_TYPES, type MessageType } from '../../wire/message-types.ts'
import { readSecureMessage } from '../../wire/secure-message.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import type { Channel, OpenedFrame } from '../channel.ts'
import type { Guard, Origin } from '../guard.ts'
import { HEARTBEAT_MS, MAX_BAD_FRAMES, MAX_WINDOW_BYTES, MISSED_HEARTBEATS } from '../limits.ts'
import type { MessageLink } from '../link.ts'
import type { WaitingMessage } from '../store.ts'
import type { IncomingMessage } from '../types.ts'
import { newUuid } from '../uuid.ts'
import { ChunkExchange, type WholeMessage } from './chunk-exchange.ts'
import type { ChunkReceiver } from './chunk-receiver.ts'
import { FramePipeline } from './frame-pipeline.ts'
import { GreetingLink, type GreetingStep, greetingStep } from './greeting-link.ts'
import { LinkSender, type LinkSenderDeps } from './link-sender.ts'

/** What a link needs from those around it. */
export interface PeerLinkDeps extends LinkSenderDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly guard: Guard
  /** Stores a message; `settle` once. Resolves when more may come. */
  readonly receive: (message: IncomingMessage, bytes: number, settle: (error: unknown) => void) => Promise<void> | undefined
  /** Large messages on their way in. */
  readonly chunks: ChunkReceiver
  readonly hasReceived: (id: string) => boolean
  /** Resolves when all that was received until now is on disk. */
  readonly durable: () => Promise<void>
  /** The peer begins another session on this link; to be disposed when that is over. */
  readonly onGreeting: (greeting: GreetingLink) => void
  /** The session before this one on the same link: what of it is still under way is sent again in this one. */
  readonly replaces?: string
}

/** Errors after which a session is of no use. */
const FATAL: ReadonlySet<string> = new Set(['SESSION_EXPIRED', 'NONCE_REUSE', 'DOWNGRADE'])

export class PeerLink {
  readonly link: MessageLink
  readonly channel: Channel
  readonly openedByUs: boolean
  readonly since: number
  /** Why it ended; undefined while it lives. */
  ended: KithError | undefined
  /** Another session has the link now. */
  #isReplaced = false
  /** Handshakes of another session, begun by us and by the peer. */
  #begun: GreetingLink | undefined
  #answered: GreetingLink | undefined
  /** Bytes of the session before that came late. */
  #lateBytes = 0
  readonly #deps: PeerLinkDeps
  readonly #sender: LinkSender
  readonly #chunks: ChunkExchange
  readonly #pipeline: FramePipeline<readonly OpenedFrame[]>
  readonly #origin: Origin
  #heardAt: number
  #receivedAt: number
  #badFrames = 0
  /** Frames by sequence whose link wants to know what became of them. */
  readonly #unanswered = new Map<number, Uint8Array>()

  constructor(deps: PeerLinkDeps, link: MessageLink, channel: Channel, openedByUs: boolean) {
    this.#deps = deps
    this.link = link
    this.channel = channel
    this.openedByUs = openedByUs
    this.since = this.#heardAt = this.#receivedAt = deps.clock.monotonic()
    this.#origin = { entityId: channel.peer, peerId: link.peerId, address: link.address }
    this.#sender = new LinkSender(deps, link, channel, reason => this.end(reason))
    this.#pipeline = new FramePipeline({
      open: frame => channel.open(frame),
      take: (frame, opened) => this.#opened(frame, opened),
      onBad: (frame, error) => this.#bad(error, frame)
    })
    this.#chunks = new ChunkExchange({
      ...{
        from: channel.peer,
        sender: this.#sender.chunks,
        receiver: deps.chunks,
        failpoint: deps.failpoint,
        hasReceived: deps.hasReceived,
        durable: deps.durable
      },
      say: body => void this.sayNow('chunk', body),
      onOver: (message, isDelivered) => this.#sender.transferOver(message, isDelivered)
    })
  }

  get hasUnacked(): boolean {
    return this.#sender.hasUnacked
  }
  get window(): number {
    return this.#sender.window
  }
  /** When it last carried a message (monotonic ms). */
  get usedAt(): number {
    return Math.max(this.#sender.usedAt, this.#receivedAt)
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
        const step = greetingStep(frame)
        const room = step ? this.#greeted(step, frame) : this.#receive(frame)
        if (room) await room
      }
      await this.#pipeline.end()
      this.end(new KithError('PEER_PROTOCOL', 'the peer ended the link'))
    } catch (error) {
      this.end(error instanceof KithError ? error : new KithError('INTERNAL', 'the link failed', {}, { cause: error }))
    }
    this.link.closed.removeEventListener('abort', gone)
    await Promise.all([this.#begun, this.#answered].map(g => g?.[Symbol.asyncDispose]()))
    if (!this.#isReplaced) await this.link[Symbol.asyncDispose]()
    this.channel.close()
    return this.#left
  }
  #left: WaitingMessage[] = []

  /** Ends the link; `run` resolves soon. */
  end(reason: KithError): void {
    if (this.ended) return
    this.ended = reason
    this.#deps.failpoint('link:lost')
    this.#left = [...this.#sender.over()]
    if (!this.#isReplaced) void this.link[Symbol.asyncDispose]()
  }

  /** Begins a handshake on this link; to be disposed when it is over. */
  greet(): GreetingLink {
    this.#begun = new GreetingLink(this.link)
    return this.#begun
  }
  /** Another session takes the link over, which stays open. What was not acknowledged goes back: `run` hands out nothing then. */
  replace(): readonly WaitingMessage[] {
    this.#isReplaced = true
    this.end(new KithError('LINK_REPLACED', 'there is a new session on the link'))
    return this.#left.splice(0)
  }

  /** Sends what waits, as far as the peer takes it. */
  pump(): void {
    this.#sender.pump()
  }
  /** Sends something that nobody waits for. @returns whether the link has it */
  sayNow(type: MessageType, body: JsonObject): Promise<boolean> {
    return this.#sender.say(type, body)
  }

  /** Looks at what may be due; ends the link when the other side is not there. @returns when to look again */
  tick(now: number): number {
    if (now - this.#heardAt >= MISSED_HEARTBEATS * HEARTBEAT_MS)
      this.end(new KithError('PEER_SILENT', 'the peer sent nothing for too long'))
    return this.#sender.tick(now)
  }

  /** A message of a handshake: what came before it is acted on first, and nothing is read before it is. */
  async #greeted(step: GreetingStep, frame: Uint8Array): Promise<void> {
    const { guard, clock } = this.#deps
    this.#heardAt = clock.monotonic()
    const refused = guard.admit(this.#origin, undefined, frame.length) ?? guard.admit(this.#origin, step, frame.length)
    if (refused !== undefined) return this.end(new KithError('RATE_LIMITED', 'the peer sends too much', { code: refused }))
    await this.#pipeline.end()
    if (step === 'handshake' && (!this.#answered || this.#answered.closed.aborted)) {
      this.#answered = new GreetingLink(this.link)
      this.#deps.onGreeting(this.#answered)
    }
    const greeting = step === 'handshake_ack' ? this.#begun : this.#answered
    if (greeting && !greeting.closed.aborted) await greeting.give(frame)
    else this.#bad(new KithError('SEQUENCE_ERROR', 'no handshake waits for this message'), frame)
  }

  /** Resolves when the next frame may come. */
  #receive(frame: Uint8Array): Promise<void> | undefined {
    const { guard, figures, clock, failpoint } = this.#deps
    failpoint('frame:received')
    this.#heardAt = clock.monotonic()
    figures.bytesIn += frame.length
    // What comes over a link that carries frames of anybody is not yet the peer's: it is counted when it is opened.
    const refused = this.link.settled ? undefined : guard.admit(this.#origin, undefined, frame.length)
    if (refused === undefined) return this.#pipeline.push(frame)
    this.end(new KithError('RATE_LIMITED', 'the peer sends too much', { code: refused }))
    return undefined
  }
  #opened(frame: Uint8Array, opened: readonly OpenedFrame[]): Promise<void> | undefined {
    if (this.ended) return undefined
    this.#deps.failpoint('frame:opened')
    if (this.link.settled) {
      this.#answerWhenSettled(frame, opened)
      // Who carries frames of anybody: only now it is proved that this one is the peer's, and counts against its share.
      const refused = this.#deps.guard.admit(this.#origin, undefined, frame.length)
      if (refused !== undefined) return this.#refuseAll(frame, opened, refused)
    }
    let room: Promise<void> | undefined
    for (const message of opened) room = this.#dispatch(message, frame.length) ?? room
    return room
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
    if (frame && code === 'SESSION_EXPIRED' && this.#isLate(frame)) {
      this.link.settled?.(frame)
      return
    }
    // Who brought it is not known here: the server blames the address that did.
    if (frame && this.link.settled) {
      this.link.settled(frame, { code, message: textOf(error) })
      return
    }
    // What had come before it ended is not looked at any more.
    if (this.ended) return
    this.#deps.guard.report(this.#origin, code)
    this.#deps.log.debug('bad frame', { peer: this.channel.peer, code })
    if (++this.#badFrames >= MAX_BAD_FRAMES || FATAL.has(code))
      this.end(new KithError('PEER_PROTOCOL', 'the peer sent what is no message', { code }))
  }

  /** Whether a frame is of the session before and was under way when this one began; not without end. */
  #isLate(frame: Uint8Array): boolean {
    this.#lateBytes += frame.length
    return this.#lateBytes <= MAX_WINDOW_BYTES && readSecureMessage(frame).sessionId === this.#deps.replaces
  }

  #dispatch(message: OpenedFrame, bytes: number): Promise<void> | undefined {
    const { type, sequence, messageId, body } = message
    if (type === undefined || !body) return this.#faulty(sequence, message.fault ?? 'UNSUPPORTED')
    if (type === 'ack') return this.#acknowledged(body)
    const refused = this.#deps.guard.admit(this.#origin, type, bytes)
    if (refused !== undefined) return this.#refuse(sequence, refused)
    if (type === 'heartbeat') return this.#settled(sequence, undefined)
    if (type === 'ping') return this.#pinged(sequence, messageId, body)
    if (type === 'chunk') return this.#chunk(message, body, bytes)
    if (messageId === undefined) return this.#faulty(sequence, 'BAD_PAYLOAD')
    return this.#take({ id: messageId, type, body }, message.sentAt, bytes, error => this.#settled(sequence, error))
  }

  #take(
    { id, type, body }: Omit<WholeMessage, 'bytes'>,
    sentAt: number,
    bytes: number,
    settle: (error: unknown) => void
  ): Promise<void> | undefined {
    this.#receivedAt = this.#heardAt
    this.#deps.figures.received++
    const incoming: IncomingMessage = {
      ...{ id, from: this.channel.peer, type, body, priority: MESSAGE_TYPES[type] },
      ...{ sentAt, receivedAt: this.#deps.clock.now(), via: this.link.via === 'http' ? 'http' : 'direct' }
    }
    return this.#deps.receive(incoming, bytes, settle)
  }

  #acknowledged(body: JsonObject): undefined {
    try {
      this.#sender.acknowledged(body)
    } catch (error) {
      this.#bad(error)
    }
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
    return this.#take(whole, sentAt, whole.bytes, error => {
      if (error === undefined) this.#chunks.stored(id)
      this.#settled(sequence, error)
    })
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
    this.#answer(sequence)
    this.#sender.settle(sequence)
  }
  /** More than the peer's share. Its acknowledgements are lost with the rest: what they were for is sent again. */
  #refuseAll(frame: Uint8Array, opened: readonly OpenedFrame[], code: string): undefined {
    for (const { type, sequence } of opened) if (type !== 'ack') this.#refuse(sequence, code)
    this.link.settled?.(frame, { code, message: 'the peer sends too much' })
    if (code === 'BANNED') this.end(new KithError('BANNED', 'the peer is banned'))
    return undefined
  }
  #refuse(sequence: number, code: string): undefined {
    this.#answer(sequence, { code, message: 'the message was refused' })
    this.#sender.settle(sequence, code)
  }
}
