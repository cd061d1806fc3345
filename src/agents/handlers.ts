/**
 * What messages about presence do here: each type of spec 001 has a visible effect.
 *
 * | type                | effect                                                                                       |
 * | ------------------- | -------------------------------------------------------------------------------------------- |
 * | ping                | is answered by a ping with reply_to; on a session delivery alone is the answer               |
 * | status_report       | the peer's last one is kept and told to `onStatus`                                           |
 * | capability_query    | is answered by a capability_response with the skills that are served                         |
 * | capability_response | ends the question that it answers, and is told to `onCapabilities`                           |
 * | wake_up             | `onWakeUp`, at most once a minute for each peer (threats TA3)                                |
 * | discovery           | a question is answered by what `discover` knows; an answer ends the question                 |
 * | error               | is attached to the task it names, told to `onError`, and kept; never answered                |
 */
import type { Clock } from '../base/clock.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { EntityId, IncomingMessage, Messenger } from '../messaging/types.ts'
import {
  type Capabilities,
  capabilitiesBody,
  type DiscoveredPeer,
  type Discovery,
  discoveryBody,
  readCapabilities,
  readDiscovery
} from '../wire/capability-payloads.ts'
import { MAX_DISCOVERED_PEERS } from '../wire/limits.ts'
import type { MessageType } from '../wire/message-types.ts'
import {
  pingBody,
  readError,
  readPing,
  readStatus,
  readWakeUp,
  type StatusReport,
  statusBody,
  wakeUpBody
} from '../wire/presence-payloads.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { ANSWER_TIMEOUT_MS, MAX_KEPT_ERRORS, MAX_STATUS_PEERS, MAX_WAKE_UP_PEERS, WAKE_UP_INTERVAL_MS } from './limits.ts'
import { Questions } from './questions.ts'
import type { Tasks } from './types.ts'

/** An answer that cannot be given now is worth something for so long. */
const ANSWER_TTL_MS = 60_000

export type DiscoveryQuestion = Extract<Discovery, { kind: 'entity' | 'capability' }>

export interface HandlersDeps {
  readonly messenger: Messenger
  readonly clock: Clock
  readonly log: Logger
  /** UUID v4. */
  readonly newId: () => string
  /** Errors that name a message of a task go there; skills come from there. */
  readonly tasks?: Pick<Tasks, 'refusedBy' | 'skills' | 'retryNow'>
  /** What this node says about itself to whoever asks. */
  readonly capabilities: (from: EntityId) => Pick<Capabilities, 'protocolVersion' | 'supportedMsgTypes' | 'cryptoFeatures' | 'endpoints'>
  readonly status: () => StatusReport
  /** What this node knows about others, for whoever asks. */
  readonly discover: (question: DiscoveryQuestion, from: EntityId) => Promise<readonly DiscoveredPeer[]>
  readonly onStatus?: (from: EntityId, status: StatusReport, at: number) => void
  readonly onCapabilities?: (from: EntityId, capabilities: Capabilities) => void
  /** The outbox should try again, agents should look for work. */
  readonly onWakeUp?: (from: EntityId, reason: string) => void
  readonly onError?: (error: PeerError) => void
}

export interface PeerError {
  readonly from: EntityId
  readonly code: string
  readonly message: string
  /** Our message that it is about. */
  readonly originalMessageId: string | undefined
  /** It was about a task, which says so itself. */
  readonly isTask: boolean
  readonly at: number
}

export interface Presence extends Disposable {
  /** ms until the peer had it. @throws NO_ANSWER, or what sending throws */
  ping(peer: EntityId, signal?: AbortSignal): Promise<number>
  /** @throws NO_ANSWER, or what sending throws */
  askCapabilities(peer: EntityId, signal?: AbortSignal): Promise<Capabilities>
  /** @throws NO_ANSWER, or what sending throws */
  askDiscovery(peer: EntityId, question: DiscoveryQuestion, signal?: AbortSignal): Promise<readonly DiscoveredPeer[]>
  wakeUp(peer: EntityId, reason?: string): Promise<void>
  /** Tells a peer how we are, if there is a session. */
  reportStatus(peer: EntityId): Promise<boolean>
  /** What a peer said last about itself. */
  statusOf(peer: EntityId): { readonly status: StatusReport; readonly at: number } | undefined
  /** Newest first. */
  errors(): PeerError[]
}

export function registerHandlers(deps: HandlersDeps): Presence {
  return new PresenceHandlers(deps)
}

class PresenceHandlers implements Presence {
  readonly #deps: HandlersDeps
  readonly #stack = new DisposableStack()
  readonly #questions: Questions
  readonly #statuses = new Map<EntityId, { readonly status: StatusReport; readonly at: number }>()
  readonly #wokenAt = new Map<EntityId, number>()
  readonly #errors: PeerError[] = []

  constructor(deps: HandlersDeps) {
    this.#deps = deps
    this.#questions = this.#stack.use(new Questions(deps.clock))
    const { messenger } = deps
    const stop = new AbortController()
    this.#stack.defer(() => stop.abort())
    const onSent = ({ message }: { readonly message: { readonly id: string; readonly state: string } }): void => {
      if (message.state === 'delivered') this.#questions.delivered(message.id)
    }
    messenger.events.on('message:changed', onSent, stop.signal)
    const handle = (type: MessageType, act: (m: IncomingMessage) => Promise<void>): void =>
      void this.#stack.use(messenger.handle(type, act))
    handle('ping', m => this.#onPing(m))
    handle('status_report', m => this.#onStatus(m))
    handle('capability_query', m => this.#onCapabilityQuery(m))
    handle('capability_response', m => this.#onCapabilities(m))
    handle('wake_up', m => this.#onWakeUp(m))
    handle('discovery', m => this.#onDiscovery(m))
    handle('error', m => this.#onError(m))
  }

  async ping(peer: EntityId, signal?: AbortSignal): Promise<number> {
    const start = this.#deps.clock.monotonic()
    await this.#ask(peer, 'ping', pingBody({ replyTo: undefined }), true, signal)
    return this.#deps.clock.monotonic() - start
  }
  async askCapabilities(peer: EntityId, signal?: AbortSignal): Promise<Capabilities> {
    return (await this.#ask(peer, 'capability_query', {}, false, signal)) as Capabilities
  }
  async askDiscovery(peer: EntityId, question: DiscoveryQuestion, signal?: AbortSignal): Promise<readonly DiscoveredPeer[]> {
    return (await this.#ask(peer, 'discovery', discoveryBody(question), false, signal)) as readonly DiscoveredPeer[]
  }
  async wakeUp(peer: EntityId, reason = ''): Promise<void> {
    await this.#deps.messenger.send({ to: peer, type: 'wake_up', body: wakeUpBody({ reason }) })
  }
  reportStatus(peer: EntityId): Promise<boolean> {
    return this.#deps.messenger.sendNow({ to: peer, type: 'status_report', body: statusBody(this.#deps.status()) })
  }
  statusOf(peer: EntityId): { readonly status: StatusReport; readonly at: number } | undefined {
    return this.#statuses.get(peer)
  }
  errors(): PeerError[] {
    return this.#errors.toReversed()
  }
  [Symbol.dispose](): void {
    this.#stack.dispose()
  }

  async #ask(
    to: EntityId,
    type: 'ping' | 'capability_query' | 'discovery',
    body: JsonObject,
    orDelivery: boolean,
    signal?: AbortSignal
  ): Promise<unknown> {
    const id = this.#deps.newId()
    const answer = this.#questions.ask(id, to, orDelivery, signal)
    answer.catch(() => {}) // also while the question is still being sent
    try {
      await this.#deps.messenger.send({ id, to, type, body, ttlMs: ANSWER_TIMEOUT_MS })
    } catch (error) {
      this.#questions.give(id, to, undefined)
      throw error
    }
    return answer
  }

  /** At once if there is a session, else as a message that may wait a little. */
  async #answer(to: EntityId, type: MessageType, body: JsonObject): Promise<void> {
    const { messenger, log } = this.#deps
    try {
      if (!(await messenger.sendNow({ to, type, body }))) await messenger.send({ to, type, body, ttlMs: ANSWER_TTL_MS, isAnswer: true })
    } catch (error) {
      log.debug('an answer was not sent', { type, error })
    }
  }

  async #onPing({ id, from, body }: IncomingMessage): Promise<void> {
    const { replyTo } = readPing(body)
    if (replyTo !== undefined) this.#questions.give(replyTo, from, true)
    else await this.#answer(from, 'ping', pingBody({ replyTo: id }))
  }
  async #onStatus({ from, body, receivedAt: at }: IncomingMessage): Promise<void> {
    const status = readStatus(body)
    keepLatest(this.#statuses, from, { status, at }, MAX_STATUS_PEERS)
    this.#deps.onStatus?.(from, status, at)
  }
  async #onCapabilityQuery({ id, from }: IncomingMessage): Promise<void> {
    const { tasks, messenger, capabilities } = this.#deps
    const skills = (tasks?.skills() ?? []).map(({ name, description }) => ({ name, description }))
    const body = capabilitiesBody({ ...capabilities(from), replyTo: id, entityId: messenger.self, skills })
    await this.#answer(from, 'capability_response', body)
  }
  async #onCapabilities({ from, body }: IncomingMessage): Promise<void> {
    const said = readCapabilities(body)
    if (said.entityId !== from) throw new KithError('BAD_PAYLOAD', 'entity_id must be the sender')
    if (said.replyTo !== undefined) this.#questions.give(said.replyTo, from, said)
    this.#deps.onCapabilities?.(from, said)
  }
  async #onWakeUp({ from, body }: IncomingMessage): Promise<void> {
    const { reason } = readWakeUp(body)
    const now = this.#deps.clock.monotonic()
    if (now - (this.#wokenAt.get(from) ?? Number.NEGATIVE_INFINITY) < WAKE_UP_INTERVAL_MS) return
    keepLatest(this.#wokenAt, from, now, MAX_WAKE_UP_PEERS)
    this.#deps.tasks?.retryNow()
    this.#deps.onWakeUp?.(from, textOf(reason))
  }
  async #onDiscovery({ id, from, body }: IncomingMessage): Promise<void> {
    const said = readDiscovery(body)
    if (said.kind === 'answer') {
      this.#questions.give(said.replyTo, from, said.peers)
      return
    }
    const peers = (await this.#deps.discover(said, from)).slice(0, MAX_DISCOVERED_PEERS)
    await this.#answer(from, 'discovery', discoveryBody({ kind: 'answer', replyTo: id, peers }))
  }
  async #onError({ from, body, receivedAt: at }: IncomingMessage): Promise<void> {
    try {
      const { code, message: text, originalMessageId } = readError(body)
      const message = textOf(text)
      const isTask =
        originalMessageId !== undefined && (await this.#deps.tasks?.refusedBy(from, originalMessageId, { code, message })) === true
      const error: PeerError = { from, code, message, originalMessageId, isTask, at }
      this.#errors.push(error)
      if (this.#errors.length > MAX_KEPT_ERRORS) this.#errors.shift()
      if (originalMessageId !== undefined) this.#questions.fail(originalMessageId, from, new KithError(code, message))
      this.#deps.onError?.(error)
    } catch (error) {
      // Never an error in answer to an error.
      this.#deps.log.debug('an error message was not understood', { code: codeOf(error) })
    }
  }
}

/** The one that was set longest ago goes when there are too many. */
function keepLatest<K, V>(map: Map<K, V>, key: K, value: V, most: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= most) return
  const [oldest] = map.keys()
  map.delete(oldest as K)
}
