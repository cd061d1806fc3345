/**
 * The login of spec 003: Connect(AgentID, PubKey) → Challenge(Nonce) → SignedResponse(Signature) → ConnectionAccepted. The channel has
 * authenticated both PeerIds already; what is signed binds the agent's did:key to them, for as long as they are connected.
 * Spec: docs/wire/agent-message.md §8
 */
import { ed25519Verify, randomBytes } from '#crypto'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import type { PeerTarget } from '../net/rpc.ts'
import type { FramedStream, Streams } from '../net/streams.ts'
import { type LoginStep, type LoginSteps, loginSignedBytes, loginStep, MAX_LOGIN_FRAME_BYTES } from '../wire/chaos-login.ts'
import { AgentBook } from './agent-book.ts'
import { LOGIN_TIMEOUT_MS, LOGINS_BURST, LOGINS_PER_SECOND, MAX_LOGIN_STREAMS, MAX_RATED_AUTHORS } from './limits.ts'
import { RatedNames } from './rated.ts'
import type { TopicSigner } from './topics-types.ts'

/** Name of the stream protocol. */
export const AGENT_LOGIN_PROTOCOL = 'agent-login'

export interface AgentLoginDeps {
  readonly streams: Streams
  /** Our own PeerId text: the one that others authenticate. */
  readonly peerId: string
  /** Calls back when the last connection to a peer has ended. @returns how to stop that */
  readonly onPeerGone: (listener: (peerId: string) => void) => () => void
  readonly clock: Clock
  readonly log: Logger
}

export type AgentLoginEvents = {
  readonly 'agent:connected': { readonly agentId: string; readonly peerId: string }
  /** The connection it came by has ended. */
  readonly 'agent:lost': { readonly agentId: string; readonly peerId: string }
}

export interface AgentLogin extends AsyncDisposable {
  readonly events: Emitter<AgentLoginEvents>
  /**
   * Logs an agent in at a peer. It stays so until the last connection between the two ends.
   * @returns its did:key @throws PEER_UNREACHABLE, PEER_TIMEOUT, PEER_PROTOCOL, LOGIN_REFUSED with data.code
   */
  login(target: PeerTarget, agent: TopicSigner, signal?: AbortSignal): Promise<string>
  /** did:keys of the agents that have logged in here from a peer. */
  agentsOf(peerId: string): readonly string[]
  /** PeerIds from which an agent has logged in here. */
  peersOf(agentId: string): readonly string[]
}

/** Takes logins until it is disposed. */
export function openAgentLogin(deps: AgentLoginDeps): AgentLogin {
  return new Logins(deps)
}

class Logins implements AgentLogin {
  readonly events: Emitter<AgentLoginEvents>
  readonly #deps: AgentLoginDeps
  readonly #book = new AgentBook()
  readonly #rates: RatedNames
  readonly #closing = new AbortController()
  readonly #handler: Disposable
  readonly #stopWatching: () => void

  constructor(deps: AgentLoginDeps) {
    this.#deps = deps
    this.events = new Emitter(cause => deps.log.warn('a listener threw', { cause }))
    this.#rates = new RatedNames(deps.clock, { perSecond: LOGINS_PER_SECOND, burst: LOGINS_BURST }, MAX_RATED_AUTHORS)
    const options = { maxFrameBytes: MAX_LOGIN_FRAME_BYTES, maxStreamsPerPeer: MAX_LOGIN_STREAMS }
    this.#handler = deps.streams.handle(AGENT_LOGIN_PROTOCOL, options, stream => this.#serve(stream))
    this.#stopWatching = deps.onPeerGone(peerId => this.#gone(peerId))
  }

  async login(target: PeerTarget, agent: TopicSigner, signal?: AbortSignal): Promise<string> {
    const { peerId: from } = this.#deps
    const ending = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])])
    await using stream = await this.#deps.streams.open(target, AGENT_LOGIN_PROTOCOL, {
      maxFrameBytes: MAX_LOGIN_FRAME_BYTES,
      signal: ending
    })
    const agentId = didOfKey(agent.publicKey)
    await this.#timed(
      stream,
      async () => {
        await send(stream, { kind: 'connect', body: { agentId, publicKey: agent.publicKey } })
        const { nonce } = await receive(stream, 'challenge')
        const bytes = loginSignedBytes({ nonce, agentId, from, to: stream.peerId })
        await send(stream, { kind: 'response', body: { signature: await agent.signBytes(bytes) } })
        const accepted = await receive(stream, 'accepted')
        if (accepted.agentId !== agentId) throw new KithError('PEER_PROTOCOL', 'another agent was accepted', { peer: stream.peerId })
        await stream.close()
      },
      ending
    )
    return agentId
  }

  agentsOf(peerId: string): readonly string[] {
    return this.#book.agentsOf(peerId)
  }
  peersOf(agentId: string): readonly string[] {
    return this.#book.peersOf(agentId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new KithError('MESSENGER_CLOSED', 'logins are over'))
    this.#handler[Symbol.dispose]()
    this.#stopWatching()
  }

  /** The other side of `login`. Nothing is kept of one that fails. */
  async #serve(stream: FramedStream): Promise<void> {
    try {
      await this.#timed(stream, () => this.#accept(stream), this.#closing.signal)
    } catch (cause) {
      const code = codeOf(cause)
      this.#deps.log.debug('agent not logged in', { peer: stream.peerId, code })
      // A broken stream hears nothing; a refusal is told in words that hold no internals.
      const refused: LoginStep = { kind: 'refused', body: { code: REFUSALS.has(code) ? code : 'INTERNAL', message: '' } }
      if (!stream.closed.aborted) await send(stream, refused).catch(() => {})
    }
  }

  async #accept(stream: FramedStream): Promise<void> {
    const { peerId } = stream
    // Counted before anything is read: an attempt costs a signature check at most.
    if (!this.#rates.tryTake(peerId)) throw new KithError('RATE_LIMITED', 'too many attempts')
    const { agentId, publicKey } = await receive(stream, 'connect')
    if (agentId !== didOfKey(publicKey)) throw new KithError('IDENTITY_MISMATCH', 'the key is not that of the agent id')
    this.#book.checkRoom(peerId, agentId)
    const nonce = randomBytes(32)
    await send(stream, { kind: 'challenge', body: { nonce } })
    const { signature } = await receive(stream, 'response')
    const bytes = loginSignedBytes({ nonce, agentId, from: peerId, to: this.#deps.peerId })
    if (!(await ed25519Verify(publicKey, bytes, signature))) throw new KithError('INVALID_SIGNATURE', 'the challenge was not signed')
    // The connection may have ended meanwhile; then nobody would ever take the agent out again.
    stream.closed.throwIfAborted()
    this.#closing.signal.throwIfAborted()
    const isNew = this.#book.add(peerId, agentId)
    if (isNew) this.events.emit('agent:connected', { agentId, peerId })
    await send(stream, { kind: 'accepted', body: { agentId } })
  }

  #gone(peerId: string): void {
    for (const agentId of this.#book.remove(peerId)) this.events.emit('agent:lost', { agentId, peerId })
  }

  /** Runs the work with one deadline for all of it: silence and one byte at a time end alike. */
  async #timed(stream: FramedStream, work: () => Promise<void>, ending: AbortSignal): Promise<void> {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, ending])
    const end = (): void => void stream[Symbol.asyncDispose]()
    ending.addEventListener('abort', end, { once: true })
    let late = false
    const onLate = (): void => {
      late = true
      end()
    }
    const deadline = this.#deps.clock.sleep(LOGIN_TIMEOUT_MS, signal).then(onLate, () => {})
    try {
      await work()
    } catch (cause) {
      ending.throwIfAborted()
      throw late ? new KithError('PEER_TIMEOUT', 'the login took too long', { peer: stream.peerId }) : cause
    } finally {
      ending.removeEventListener('abort', end)
      over.abort()
      await deadline
    }
  }
}

/** Codes that the other side may know. */
const REFUSALS: ReadonlySet<string> = new Set(['RATE_LIMITED', 'IDENTITY_MISMATCH', 'TOO_MANY_AGENTS', 'INVALID_SIGNATURE', 'MALFORMED'])

const send = (stream: FramedStream, step: LoginStep): Promise<void> => stream.send(encode(loginStep, step))

/** The next step, which must be this one. @throws LOGIN_REFUSED, MALFORMED, PEER_PROTOCOL, PEER_TIMEOUT, STREAM_CLOSED */
async function receive<K extends keyof LoginSteps>(stream: FramedStream, kind: K): Promise<LoginSteps[K]> {
  const length = await stream.next()
  if (length === undefined) throw new KithError('PEER_PROTOCOL', 'the login ended early', { peer: stream.peerId })
  const bytes = new Uint8Array(length)
  await stream.read(bytes)
  const step = parse(bytes)
  if (step.kind === 'refused')
    throw new KithError('LOGIN_REFUSED', 'the agent was not let in', { code: step.body.code, peer: stream.peerId })
  if (step.kind !== kind) throw new KithError('MALFORMED', 'another step of the login was due', { peer: stream.peerId })
  return step.body as LoginSteps[K]
}

function parse(bytes: Uint8Array): LoginStep {
  try {
    return decode(loginStep, bytes)
  } catch (cause) {
    throw new KithError('MALFORMED', 'not a step of a login', {}, { cause })
  }
}
