/**
 * One session with one peer: payload in, whole signed frame out, and back in order. Whatever is wrong with a received message leaves the
 * session as it was (threats RT3), except where its author proved to break the rules: then it has ended.
 */

import { bytesToHex, equalBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { AEAD_TAG_BYTES, type Aead, isPromise, type Verifier } from '../platform/crypto-types.ts'
import type { MessageType } from '../wire/message-types.ts'
import {
  type MessageHeader,
  type MessageVersion,
  messageTime,
  type ReceivedSecureMessage,
  sealSecureMessage
} from '../wire/secure-message.ts'
import { AckRanges } from './ack-ranges.ts'
import { nonceOf, type Role } from './key-schedule.ts'
import type { AuthenticationLayer, SessionKeys } from './layers.ts'
import { MAX_SESSION_MESSAGES, REKEY_AFTER_MESSAGES, REKEY_AFTER_MS, SESSION_DRAIN_MS } from './limits.ts'
import { SeenTags } from './seen-tags.ts'
import { SequenceWindow } from './sequence-window.ts'

/** Who is at the other end, as the handshake proved it. */
export interface SessionPeer {
  readonly entityId: string
  /** Ed25519. */
  readonly publicKey: Uint8Array
  /** As it was told; checked. */
  readonly certificate: Uint8Array | undefined
  /** By the certificate; undefined without one. */
  readonly peerId: string | undefined
  /** By the certificate, when the instance names its person. */
  readonly personKey: Uint8Array | undefined
}

export interface SealedMessage {
  readonly sequenceNum: number
  /** A whole SecureMessage. Sending it again is harmless. */
  readonly frame: Uint8Array
}

export interface OpenedMessage {
  /** As on the wire: maybe an alias. */
  readonly msgType: string
  /** undefined: not known here. */
  readonly type: MessageType | undefined
  /** UTF-8 JSON of the type's payload, not read yet. */
  readonly payload: Uint8Array
  readonly sequenceNum: number
  /** ms since 1970, by the sender's clock. */
  readonly sentAt: number
}

export interface SessionDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly random: (n: number) => Uint8Array
  readonly selfId: string
  readonly authentication: AuthenticationLayer
}

/** When a session is followed by another one; less than the limits only in tests. */
export interface SessionOptions {
  readonly rekeyAfterMs?: number
  readonly rekeyAfterMessages?: number
  /** In one direction, at most. */
  readonly maxMessages?: number
}
export const sessionDefaults: Required<SessionOptions> = {
  rekeyAfterMs: REKEY_AFTER_MS,
  rekeyAfterMessages: REKEY_AFTER_MESSAGES,
  maxMessages: MAX_SESSION_MESSAGES
}

export interface SessionStart {
  readonly id: string
  readonly role: Role
  readonly version: MessageVersion
  readonly peer: SessionPeer
  readonly keys: SessionKeys
}

export class Session {
  readonly id: string
  readonly role: Role
  readonly version: MessageVersion
  readonly peer: SessionPeer
  readonly #deps: SessionDeps
  readonly #options: Required<SessionOptions>
  readonly #out: Aead
  readonly #in: Aead
  readonly #verifier: Verifier
  readonly #window = new SequenceWindow<OpenedMessage>()
  readonly #tags = new SeenTags()
  readonly #durable = new AckRanges()
  readonly #startedAt: number
  #sent = 0
  #usedAt: number
  #isClosed = false

  constructor(deps: SessionDeps, start: SessionStart, options: SessionOptions = {}) {
    this.#deps = deps
    this.#options = { ...sessionDefaults, ...options }
    this.id = start.id
    this.role = start.role
    this.version = start.version
    this.peer = start.peer
    this.#out = start.role === 'initiator' ? start.keys.initiator : start.keys.responder
    this.#in = start.role === 'initiator' ? start.keys.responder : start.keys.initiator
    this.#verifier = deps.authentication.verifier(start.peer.publicKey)
    this.#startedAt = deps.clock.monotonic()
    this.#usedAt = this.#startedAt
  }

  /** Monotonic time of the last message in either direction. */
  get usedAt(): number {
    return this.#usedAt
  }
  /** Closed or over. */
  get isClosed(): boolean {
    return this.#isClosed || this.#age() > this.#options.rekeyAfterMs + SESSION_DRAIN_MS
  }
  /** It is time to begin another session with this peer; this one still works for a while. */
  get needsRekey(): boolean {
    const { rekeyAfterMs, rekeyAfterMessages } = this.#options
    return this.#sent >= rekeyAfterMessages || this.#window.next > rekeyAfterMessages || this.#age() >= rekeyAfterMs
  }
  /** Sequence number of the last message that was sealed; 0: none. */
  get lastSealed(): number {
    return this.#sent
  }

  /**
   * Encrypts and signs a payload (UTF-8 JSON) as the next message of this session. The number is taken before anything waits, so no two
   * messages share one, whatever fails.
   * @throws SESSION_EXPIRED, TOO_LARGE
   */
  async seal(type: MessageType, payload: Uint8Array): Promise<SealedMessage> {
    if (this.isClosed || this.#sent >= this.#options.maxMessages) throw expired()
    const sequenceNum = ++this.#sent
    const { clock, random, selfId, authentication } = this.#deps
    this.#usedAt = clock.monotonic()
    const header: MessageHeader = {
      version: this.version,
      msgType: type,
      senderId: selfId,
      recipientId: this.peer.entityId,
      sessionId: this.id,
      sequenceNum,
      timestamp: messageTime(clock.now()),
      nonce: bytesToHex(random(32))
    }
    const frame = await sealSecureMessage(
      header,
      payload.length + AEAD_TAG_BYTES,
      aad => this.#out.seal(nonceOf(sequenceNum), payload, aad),
      bytes => authentication.sign(bytes)
    )
    return { sequenceNum, frame }
  }

  /**
   * Takes a message of this session.
   * @returns what can be delivered now, in order: nothing while an earlier one is missing, then several
   * @throws MISROUTED, INVALID_VERSION, SESSION_EXPIRED, SEQUENCE_ERROR, REPLAY_DETECTED, DECRYPTION_FAILED, INVALID_SIGNATURE;
   * DOWNGRADE and NONCE_REUSE, which end the session
   */
  async open(m: ReceivedSecureMessage): Promise<OpenedMessage[]> {
    this.#checkHeader(m)
    if (!m.encrypted) await this.#refusePlain(m)
    const { sequenceNum } = m
    if (this.#window.has(sequenceNum)) await this.#refuseRepeated(m)
    this.#window.check(sequenceNum, m.data.length)
    const payload = await this.#authentic(m)
    if (this.#isClosed) throw expired()
    const item: OpenedMessage = { msgType: m.msgType, type: m.type, payload, sequenceNum, sentAt: m.sentAt }
    const ready = this.#window.accept(sequenceNum, item, m.data.length)
    this.#tags.remember(sequenceNum, tagOf(m))
    this.#usedAt = this.#deps.clock.monotonic()
    return ready
  }

  /** Messages that were received and are on disk: they are acknowledged from now on. */
  markDurable(sequenceNum: number): void {
    this.#durable.add(sequenceNum)
  }
  /** For the `ack` message: [first, last] each, ascending. */
  ackRanges(): [number, number][] {
    return this.#durable.list()
  }
  /** [first, last] of messages that are missing in front of others that have come. */
  missing(): [number, number][] {
    return this.#window.missing()
  }
  /** Does not wait for the first missing messages any longer. @returns what waited for them */
  skipGap(): OpenedMessage[] {
    return this.#window.skipGap()
  }

  /** Nothing goes in or out from here on. */
  close(): void {
    this.#isClosed = true
  }

  #age(): number {
    return this.#deps.clock.monotonic() - this.#startedAt
  }

  #checkHeader(m: ReceivedSecureMessage): void {
    if (m.sessionId !== this.id || m.senderId !== this.peer.entityId || this.isClosed) throw expired()
    if (m.recipientId !== this.#deps.selfId) throw new KithError('MISROUTED', 'the message is for somebody else')
    if (m.version !== this.version) throw new KithError('INVALID_VERSION', 'the message has another version than its session')
    if (m.sequenceNum > this.#options.maxMessages) throw new KithError('SEQUENCE_ERROR', 'the session has no more numbers')
    if (m.sequenceNum === 0 || m.type === 'handshake' || m.type === 'handshake_ack' || m.type === 'handshake_confirm')
      throw new KithError('SEQUENCE_ERROR', 'a handshake within a session, or a message outside its sequence')
  }

  /** The payload, once decrypted and its author known. Decrypting comes first: of two checks, junk should fail at the cheap one. */
  async #authentic(m: ReceivedSecureMessage): Promise<Uint8Array> {
    const opening = this.#in.open(nonceOf(m.sequenceNum), m.data, m.header)
    const payload = isPromise(opening) ? await opening : opening
    if (!payload) throw new KithError('DECRYPTION_FAILED', 'the message does not decrypt')
    if (!(await this.#isSigned(m))) throw new KithError('INVALID_SIGNATURE', 'the message is not signed by its sender')
    return payload
  }

  #isSigned(m: ReceivedSecureMessage): boolean | Promise<boolean> {
    return this.#verifier.verify(m.signedBytes, m.signature)
  }

  /** Only who has the peer's key can end the session by this (threats SM21). */
  async #refusePlain(m: ReceivedSecureMessage): Promise<never> {
    if (!(await this.#isSigned(m))) throw new KithError('INVALID_SIGNATURE', 'the message is not signed by its sender')
    this.close()
    throw new KithError('DOWNGRADE', 'a message of an encrypted session is not encrypted')
  }

  /** The same message again is harmless; another one under the same number is a broken peer (threats SM28). */
  async #refuseRepeated(m: ReceivedSecureMessage): Promise<never> {
    const before = this.#tags.of(m.sequenceNum)
    if (before && !equalBytes(before, tagOf(m)) && (await this.#authentic(m).catch(() => undefined))) {
      this.close()
      throw new KithError('NONCE_REUSE', 'the peer encrypted two messages under one nonce')
    }
    throw new KithError('REPLAY_DETECTED', 'this message was received before', { sequenceNum: m.sequenceNum })
  }
}

/** One answer for what is unknown, over, and somebody else's (threats SM23). */
export const expired = (): KithError => new KithError('SESSION_EXPIRED', 'there is no such session')

const tagOf = (m: ReceivedSecureMessage): Uint8Array => m.data.subarray(-AEAD_TAG_BYTES)
