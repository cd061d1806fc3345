/** Channels with the sessions of session/: the handshake on a link, then whole signed and encrypted messages. */
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { OpenedMessage, Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { MessageType } from '../wire/message-types.ts'
import { readPayload } from '../wire/payloads.ts'
import { type ReceivedSecureMessage, readSecureMessage } from '../wire/secure-message.ts'
import type { Channel, Channels, OpenedFrame, SealedFrame } from './channel.ts'
import { originKey, originNetwork } from './delivery/origin-key.ts'
import type { MessageLink } from './link.ts'
import type { EntityId } from './types.ts'

export function sessionChannels(sessions: Sessions): Channels {
  return {
    connect: (link, to, signal) => connect(sessions, link, to, signal),
    accept: (link, signal) => accept(sessions, link, signal)
  }
}

async function connect(sessions: Sessions, link: MessageLink, to: EntityId, signal: AbortSignal): Promise<Channel> {
  const pending = await sessions.begin(to)
  try {
    await link.send(pending.frame)
    const answer = await next(link, signal, 'handshake_ack', 'error')
    if (answer.message.type === 'error') throw await sessions.onRefusal(answer.message)
    return await judged(link, answer, async m => {
      const { session, frame } = await sessions.onHandshakeAck(m, link)
      await link.send(frame)
      return new SessionChannel(sessions, session)
    })
  } finally {
    pending.cancel()
  }
}

async function accept(sessions: Sessions, link: MessageLink, signal: AbortSignal): Promise<Channel> {
  const from = { key: originKey(link), network: originNetwork(link), peerId: link.peerId }
  await judged(link, await next(link, signal, 'handshake'), async m => {
    const answer = await sessions.onHandshake(m, from).catch(error => refused(sessions, link, m, error))
    // Both sides greet at the same time: ours goes on, on a link of its own.
    if (!answer) throw new KithError('LINK_REPLACED', 'our own handshake goes on')
    await link.send(answer)
  })
  return judged(
    link,
    await next(link, signal, 'handshake_confirm'),
    async m => new SessionChannel(sessions, await sessions.onHandshakeConfirm(m))
  )
}

/** Says why there is no session, where the peer can do something about it, and stays until it has read that. */
async function refused(sessions: Sessions, link: MessageLink, m: ReceivedSecureMessage, error: unknown): Promise<never> {
  const frame = link.settled ? undefined : await sessions.refusal(m, codeOf(error))
  if (frame) {
    await link.send(frame)
    await link.next()
  }
  throw error
}

interface Arrived {
  readonly frame: Uint8Array
  readonly message: ReceivedSecureMessage
}

async function next(link: MessageLink, signal: AbortSignal, ...types: readonly MessageType[]): Promise<Arrived> {
  for (;;) {
    signal.throwIfAborted()
    const frame = await link.next()
    signal.throwIfAborted()
    if (!frame) throw new KithError('PEER_PROTOCOL', 'the link ended before the handshake did')
    try {
      const message = readSecureMessage(frame)
      if (!message.type || !types.includes(message.type))
        throw new KithError('SEQUENCE_ERROR', 'another message than the next of the handshake', { type: message.msgType })
      return { frame, message }
    } catch (error) {
      refuse(link, frame, error)
      if (!link.settled) throw error
    }
  }
}

/** Tells the link what became of a frame. */
async function judged<T>(link: MessageLink, { frame, message }: Arrived, work: (m: ReceivedSecureMessage) => Promise<T>): Promise<T> {
  try {
    const result = await work(message)
    link.settled?.(frame)
    return result
  } catch (error) {
    refuse(link, frame, error)
    throw error
  }
}
const refuse = (link: MessageLink, frame: Uint8Array, error: unknown): void =>
  link.settled?.(frame, { code: codeOf(error), message: textOf(error) })

class SessionChannel implements Channel {
  readonly peer: EntityId
  readonly sessionId: string
  readonly #sessions: Sessions
  readonly #session: Session

  constructor(sessions: Sessions, session: Session) {
    this.#sessions = sessions
    this.#session = session
    this.peer = session.peer.entityId
    this.sessionId = session.id
  }

  get worn(): boolean {
    return this.#session.needsRekey
  }

  async seal(type: MessageType, payload: Uint8Array): Promise<SealedFrame> {
    const { frame, sequenceNum } = await this.#session.seal(type, payload)
    return { frame, sequence: sequenceNum }
  }

  async open(frame: Uint8Array): Promise<readonly OpenedFrame[]> {
    return (await this.#session.open(readSecureMessage(frame))).map(opened)
  }

  close(): void {
    this.#sessions.close(this.#session)
  }
}

/** A message whose payload is bad has still come: it is refused by its number. */
function opened({ type, sequenceNum: sequence, sentAt, payload }: OpenedMessage): OpenedFrame {
  const head = { type, sequence, sentAt }
  if (type === undefined) return { ...head, fault: 'UNSUPPORTED' }
  try {
    return { ...head, ...readPayload(type, payload) }
  } catch (error) {
    return { ...head, fault: codeOf(error) }
  }
}
