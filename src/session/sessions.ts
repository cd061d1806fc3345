/**
 * All sessions of an instance: who begins and answers handshakes, what is kept of unfinished ones, and which session a message belongs to.
 * Bytes in, bytes out; the caller has the links. Nothing runs by itself: what is over is forgotten at the next call.
 */

import { bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { ReceivedSecureMessage } from '../wire/secure-message.ts'
import { type CertificateCheck, verifyPeerChain } from './certificate-check.ts'
import { HalfOpen } from './half-open.ts'
import {
  type Answered,
  answerHandshake,
  type Begun,
  beginHandshake,
  checkAck,
  checkConfirm,
  confirmHandshake,
  type HandshakeDeps,
  type LinkFacts,
  readHandshake,
  readRefusal,
  writeRefusal
} from './handshake.ts'
import { HandshakeGate } from './handshake-gate.ts'
import { type AuthenticationLayer, type EncryptionLayer, ed25519Layer, x25519AesGcmLayer } from './layers.ts'
import { MAX_BAD_ANSWERS, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_LINK, MAX_PENDING } from './limits.ts'
import { Session, type SessionOptions, type SessionStart } from './session.ts'
import { SessionTable } from './session-table.ts'
import type { SessionSelf } from './types.ts'

export interface SessionsDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly random: (n: number) => Uint8Array
  readonly self: SessionSelf
  /** Instances of different networks do not get a session. */
  readonly network: string
  /** Whether this instance's user lets this peer speak 0.3. Default: nobody. */
  readonly allowsLegacy?: (entityId: string) => boolean
  /** Default: identity's peer chain. */
  readonly verifyCertificate?: CertificateCheck
  readonly authentication?: AuthenticationLayer
  readonly encryption?: EncryptionLayer
}

/** The link on which a handshake came. */
export interface HandshakeLink extends LinkFacts {
  /** Stands for the other end before anybody is known: its address or PeerId. Limits go by it. */
  readonly key: string
  /** Where that is: those of one network probably have one operator. Default: `key`. */
  readonly network?: string
}

/** A handshake that we have begun. */
export interface PendingHandshake {
  readonly sessionId: string
  readonly to: string
  /** To be sent to the peer. */
  readonly frame: Uint8Array
  /** False when it is finished, given up, ten seconds old, or has made way for the peer's own. */
  isOpen(): boolean
  /** To be called when the frame could not be sent, or the link has ended: else the peer's own handshake may have to wait for it. */
  cancel(): void
}

/** Our own do not displace each other: one too many is refused. */
const OURS = 'ours'

/** What a handshake of others costs us until it is finished. */
type Kept = Pick<Answered, 'start' | 'transcript'>

interface Attempt<T> {
  state: T
  badAnswers: number
}

export class Sessions {
  readonly #deps: HandshakeDeps
  readonly #options: SessionOptions
  readonly #allowsLegacy: (entityId: string) => boolean
  readonly #table = new SessionTable()
  readonly #gate: HandshakeGate
  /** By us. */
  readonly #begun: HalfOpen<Attempt<Begun>>
  /** By others. undefined while the answer is being made. */
  readonly #answered: HalfOpen<Attempt<Kept | undefined>>

  constructor(deps: SessionsDeps, options: SessionOptions = {}) {
    this.#options = options
    this.#deps = {
      clock: deps.clock,
      random: deps.random,
      self: deps.self,
      network: deps.network,
      verifyCertificate: deps.verifyCertificate ?? verifyPeerChain,
      authentication: deps.authentication ?? ed25519Layer(deps.self),
      encryption: deps.encryption ?? x25519AesGcmLayer(deps.random)
    }
    this.#allowsLegacy = deps.allowsLegacy ?? (() => false)
    this.#gate = new HandshakeGate(deps.clock)
    this.#begun = new HalfOpen(deps.clock, MAX_PENDING, MAX_PENDING)
    this.#answered = new HalfOpen(deps.clock, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_LINK)
  }

  /** Sessions that are open, and handshakes of others that are not finished. */
  get counts(): { readonly sessions: number; readonly halfOpen: number; readonly pending: number } {
    this.#table.prune()
    return { sessions: this.#table.size, halfOpen: this.#answered.size, pending: this.#begun.size }
  }

  /** The newest session with a peer, for sending. */
  current(peer: string): Session | undefined {
    return this.#table.of(peer)[0]
  }

  /** All open sessions with a peer, newest first. */
  of(peer: string): Session[] {
    return this.#table.of(peer)
  }

  /**
   * The session of a received message, by its session_id and sender_id; its signature is checked by `open`.
   * @throws SESSION_EXPIRED, SEQUENCE_ERROR while its handshake is not finished (threats HS6)
   */
  sessionOf(m: ReceivedSecureMessage): Session {
    const isUnfinished =
      this.#begun.get(m.sessionId)?.state.to === m.senderId || this.#answered.get(m.sessionId)?.state?.start.peer.entityId === m.senderId
    if (isUnfinished) throw new KithError('SEQUENCE_ERROR', 'the handshake of this session is not finished')
    return this.#table.get(m.sessionId, m.senderId)
  }

  /** @throws INVALID_VERSION unless the user lets this peer speak 0.3: the wire cannot ask for it (threats HS5) */
  checkLegacy(entityId: string): void {
    if (!this.#allowsLegacy(entityId)) throw new KithError('INVALID_VERSION', 'this peer may not speak version 0.3')
  }

  /** Begins a handshake with a peer. @throws UNKNOWN_SENDER (not an entity id), RATE_LIMITED (too many are under way) */
  async begin(to: string): Promise<PendingHandshake> {
    const begun = await beginHandshake(this.#deps, to, uuidV4(this.#deps.random))
    const { sessionId, frame } = begun
    if (!this.#begun.add(sessionId, OURS, OURS, { state: begun, badAnswers: 0 }))
      throw new KithError('RATE_LIMITED', 'too many handshakes are under way')
    return { sessionId, to, frame, isOpen: () => this.#begun.has(sessionId), cancel: () => void this.#begun.take(sessionId) }
  }

  /**
   * Answers a `handshake`. Of two that cross each other the one of the lower id goes on, on both sides (threats CO19).
   * @returns the `handshake_ack` to send; undefined: ours goes on, nothing is to be sent
   * @throws RATE_LIMITED before anything that costs; the codes of handshake.ts; REPLAY_DETECTED, SEQUENCE_ERROR (the session exists)
   */
  async onHandshake(m: ReceivedSecureMessage, link: HandshakeLink): Promise<Uint8Array | undefined> {
    const { key, network = key } = link
    if (!this.#gate.admit(key, network)) throw new KithError('RATE_LIMITED', 'too many handshakes')
    const read = readHandshake(this.#deps, m)
    if (this.#answered.has(m.sessionId)) throw new KithError('REPLAY_DETECTED', 'this handshake was received before')
    if (this.#table.has(m.sessionId) || this.#begun.has(m.sessionId))
      throw new KithError('SEQUENCE_ERROR', 'a second handshake of one session')
    // A place first: what waits below must not be more than there are places.
    const attempt: Attempt<Kept | undefined> = { state: undefined, badAnswers: 0 }
    if (!this.#table.hasRoomFor(m.senderId) || !this.#answered.add(m.sessionId, key, network, attempt))
      throw new KithError('RATE_LIMITED', 'too many handshakes are under way')
    let keep = false
    try {
      const answered = await answerHandshake(this.#deps, m, read, link)
      if (!this.#yields(m.senderId)) return undefined
      const { start, transcript } = answered
      attempt.state = { start, transcript }
      keep = true
      return answered.frame
    } finally {
      if (!keep) this.#answered.take(m.sessionId)
    }
  }

  /**
   * Finishes a handshake that we began.
   * @returns the session, and the `handshake_confirm` to send before anything else
   * @throws SEQUENCE_ERROR when none was begun under this id with this sender; the codes of handshake.ts
   */
  async onHandshakeAck(m: ReceivedSecureMessage, link: LinkFacts): Promise<{ readonly session: Session; readonly frame: Uint8Array }> {
    const attempt = this.#begun.get(m.sessionId)
    if (attempt?.state.to !== m.senderId) throw outOfTurn()
    const proof = await this.#counting(attempt, this.#begun, m.sessionId, checkAck(this.#deps, attempt.state, m, link))
    if (!this.#begun.take(m.sessionId)) throw outOfTurn()
    const { start, frame } = await confirmHandshake(this.#deps, attempt.state, proof)
    return { session: this.#open(start), frame }
  }

  /** For a `handshake` that onHandshake refused with `code`: an `error` to send instead of the ack; undefined: nothing is said. */
  refusal(m: ReceivedSecureMessage, code: string): Promise<Uint8Array> | undefined {
    return writeRefusal(this.#deps, m, code)
  }
  /** The peer answers our handshake with an `error`: @returns why @throws SEQUENCE_ERROR when none was begun; the codes of readRefusal */
  async onRefusal(m: ReceivedSecureMessage): Promise<KithError> {
    const attempt = this.#begun.get(m.sessionId)
    if (attempt?.state.to !== m.senderId) throw outOfTurn()
    return this.#counting(attempt, this.#begun, m.sessionId, readRefusal(this.#deps, m))
  }

  /** Finishes a handshake that the peer began. @throws SEQUENCE_ERROR when none was; the codes of handshake.ts */
  async onHandshakeConfirm(m: ReceivedSecureMessage): Promise<Session> {
    const attempt = this.#answered.get(m.sessionId)
    const answered = attempt?.state
    if (!attempt || answered?.start.peer.entityId !== m.senderId) throw outOfTurn()
    await this.#counting(attempt, this.#answered, m.sessionId, checkConfirm(this.#deps, answered, m))
    if (!this.#answered.take(m.sessionId)) throw outOfTurn()
    return this.#open(answered.start)
  }

  /** Closes a session and forgets it. */
  close(session: Session): void {
    this.#table.remove(session)
  }

  /** Closes all. */
  [Symbol.dispose](): void {
    this.#table.clear()
  }

  #open(start: SessionStart): Session {
    const { clock, random, self, authentication } = this.#deps
    const session = new Session({ clock, random, selfId: self.entityId, authentication }, start, this.#options)
    this.#table.add(session)
    return session
  }

  /** Whether our own handshakes with this peer make way for its one; they are given up if so. */
  #yields(peer: string): boolean {
    const ours = this.#begun.values().filter(a => a.state.to === peer)
    if (ours.length > 0 && this.#deps.self.entityId < peer) return false
    for (const a of ours) this.#begun.take(a.state.sessionId)
    return true
  }

  /** A wrong answer leaves the handshake as it was, for the right one; but not again and again. */
  async #counting<T, A>(attempt: Attempt<A>, all: HalfOpen<Attempt<A>>, id: string, check: Promise<T>): Promise<T> {
    try {
      return await check
    } catch (error) {
      if (++attempt.badAnswers >= MAX_BAD_ANSWERS) all.take(id)
      throw error
    }
  }
}

/** Sessions of one instance. Disposing them closes all. */
export const openSessions = (deps: SessionsDeps, options: SessionOptions = {}): Sessions => new Sessions(deps, options)

const outOfTurn = (): KithError => new KithError('SEQUENCE_ERROR', 'no handshake waits for this message')

/** RFC 9562 §5.4. */
function uuidV4(random: (n: number) => Uint8Array): string {
  const b = Uint8Array.from(random(16))
  b[6] = (b[6]! & 0x0f) | 0x40
  b[8] = (b[8]! & 0x3f) | 0x80
  const hex = bytesToHex(b)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
