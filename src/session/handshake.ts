/**
 * The three messages of a handshake, each as a function from what was received to what is sent and kept. Who may begin one, and for how long
 * something is kept, is sessions.ts's.
 *
 *     initiator                                   responder
 *       handshake: versions, key, ephemeral, challenge ──▶
 *       ◀── handshake_ack: version, key, ephemeral, challenge, answer over all of it
 *       handshake_confirm: answer over all of it ──▶
 *
 * Spec: docs/wire/session.md §2, §3
 */
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { MessageType } from '../wire/message-types.ts'
import {
  type MessageHeader,
  type MessageVersion,
  messageHeaderBytes,
  messageTime,
  type ReceivedSecureMessage,
  readSecureMessage,
  writeSecureMessage
} from '../wire/secure-message.ts'
import { type CertificateCheck, checkCertificate } from './certificate-check.ts'
import { keyOfEntity } from './entity.ts'
import * as payloads from './handshake-payloads.ts'
import { answerTranscript, finalTranscript, networkTag, type Role, responseBytes } from './key-schedule.ts'
import type { AuthenticationLayer, EncryptionLayer, Exchange } from './layers.ts'
import { checkClock } from './replay-window.ts'
import type { SessionPeer, SessionStart } from './session.ts'
import type { SessionSelf } from './types.ts'

/** What is spoken here, best first. 0.3 is not among them: it cannot be negotiated (threats HS5). */
export const VERSIONS: readonly MessageVersion[] = ['1.1', '1.0']

export interface HandshakeDeps {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  readonly random: (n: number) => Uint8Array
  readonly self: SessionSelf
  readonly network: string
  readonly verifyCertificate: CertificateCheck
  readonly authentication: AuthenticationLayer
  readonly encryption: EncryptionLayer
}

/** What is known about the link on which a handshake goes. */
export interface LinkFacts {
  /** Authenticated PeerId; undefined where the link proves none. */
  readonly peerId: string | undefined
}

/** Kept by the initiator until the ack. */
export interface Begun {
  readonly sessionId: string
  readonly to: string
  readonly frame: Uint8Array
  readonly signedBytes: Uint8Array
  readonly exchange: Exchange
}

/** Kept by the responder until the confirmation. */
export interface Answered {
  readonly start: SessionStart
  /** What the initiator is to sign. */
  readonly transcript: Uint8Array
  readonly frame: Uint8Array
}

/** The initiator's first step. @param sessionId a new UUID v4 @throws UNKNOWN_SENDER when `to` is not an entity id */
export async function beginHandshake(deps: HandshakeDeps, to: string, sessionId: string): Promise<Begun> {
  keyOfEntity(to)
  const exchange = await deps.encryption.newExchange()
  const payload = payloads.offerPayload({
    versions: VERSIONS,
    publicKey: deps.self.publicKey,
    ephemeralKey: exchange.publicKey,
    challenge: deps.random(32),
    network: networkTag(deps.network),
    certificate: deps.self.certificate
  })
  const frame = await writeHandshake(deps, makeHeader(deps, 'handshake', to, sessionId, '1.1'), payload)
  return { sessionId, to, frame, signedBytes: readSecureMessage(frame).signedBytes, exchange }
}

/**
 * What can be told of a handshake without a public-key operation.
 * @throws MISROUTED, SEQUENCE_ERROR, MALFORMED, CLOCK_SKEW, INVALID_VERSION, DECRYPTION_FAILED (another network), IDENTITY_MISMATCH, DOWNGRADE
 */
export function readHandshake(deps: HandshakeDeps, m: ReceivedSecureMessage): { offer: payloads.Offer; version: MessageVersion } {
  checkEnvelope(deps, m, 'handshake')
  const offer = payloads.readOffer(m.data)
  const version = VERSIONS.find(v => offer.versions.includes(v))
  if (!version) throw new KithError('INVALID_VERSION', 'no version that is spoken here is offered')
  if (offer.network !== undefined && offer.network !== networkTag(deps.network)) throw notAgreed()
  checkKey(offer.publicKey, m)
  return { offer, version }
}

/**
 * The responder's step, after `readHandshake`.
 * @throws INVALID_SIGNATURE, IDENTITY_MISMATCH, DECRYPTION_FAILED (no keys from that ephemeral key)
 */
export async function answerHandshake(
  deps: HandshakeDeps,
  m: ReceivedSecureMessage,
  { offer, version }: ReturnType<typeof readHandshake>,
  link: LinkFacts
): Promise<Answered> {
  const peer = await authenticate(deps, m, offer.certificate, link)
  const exchange = await deps.encryption.newExchange()
  const answer = payloads.answerObject({
    selectedVersion: version,
    publicKey: deps.self.publicKey,
    ephemeralKey: exchange.publicKey,
    challenge: deps.random(32),
    certificate: deps.self.certificate
  })
  const header = makeHeader(deps, 'handshake_ack', m.senderId, m.sessionId, version)
  const answered = answerTranscript({
    network: deps.network,
    handshake: m.signedBytes,
    ackHeader: messageHeaderBytes(header),
    ackPayload: payloads.encode(answer)
  })
  const response = await deps.authentication.sign(responseBytes('responder', answered))
  const transcript = finalTranscript(answered, response)
  const keys = await exchange.agree(offer.ephemeralKey, transcript)
  if (!keys) throw notAgreed()
  const frame = await writeHandshake(deps, header, payloads.answerPayload(answer, response))
  return { start: { id: m.sessionId, role: 'responder', version, peer, keys }, transcript, frame }
}

/** What the ack proves; the keys are still to be made. */
export interface AckProof {
  readonly peer: SessionPeer
  readonly version: MessageVersion
  readonly theirs: Uint8Array
  readonly transcript: Uint8Array
}

/** The initiator's check of the ack. @throws as readHandshake and answerHandshake */
export async function checkAck(deps: HandshakeDeps, begun: Begun, m: ReceivedSecureMessage, link: LinkFacts): Promise<AckProof> {
  checkEnvelope(deps, m, 'handshake_ack')
  const { answer, response, unsigned } = payloads.readAnswer(m.data)
  const version = VERSIONS.find(v => v === answer.selectedVersion)
  if (!version || m.version !== version) throw new KithError('INVALID_VERSION', 'the peer selected a version that was not offered')
  checkKey(answer.publicKey, m)
  const peer = await authenticate(deps, m, answer.certificate, link)
  const answered = answerTranscript({ network: deps.network, handshake: begun.signedBytes, ackHeader: m.header, ackPayload: unsigned })
  await checkResponse(deps, 'responder', answered, response, peer.publicKey)
  return { peer, version, theirs: answer.ephemeralKey, transcript: finalTranscript(answered, response) }
}

/** The initiator's last step: its session, and the frame that lets the responder have one. @throws DECRYPTION_FAILED */
export async function confirmHandshake(
  deps: HandshakeDeps,
  begun: Begun,
  { peer, version, theirs, transcript }: AckProof
): Promise<{ readonly start: SessionStart; readonly frame: Uint8Array }> {
  const keys = await begun.exchange.agree(theirs, transcript)
  if (!keys) throw notAgreed()
  const response = await deps.authentication.sign(responseBytes('initiator', transcript))
  const header = makeHeader(deps, 'handshake_confirm', begun.to, begun.sessionId, version)
  const frame = await writeHandshake(deps, header, payloads.confirmPayload(response))
  return { start: { id: begun.sessionId, role: 'initiator', version, peer, keys }, frame }
}

/** The responder's last step. @throws MISROUTED, SEQUENCE_ERROR, MALFORMED, CLOCK_SKEW, INVALID_VERSION, INVALID_SIGNATURE */
export async function checkConfirm(
  deps: HandshakeDeps,
  answered: Pick<Answered, 'start' | 'transcript'>,
  m: ReceivedSecureMessage
): Promise<void> {
  checkEnvelope(deps, m, 'handshake_confirm')
  const { peer, version } = answered.start
  if (m.version !== version) throw new KithError('INVALID_VERSION', 'the confirmation has another version than was selected')
  const response = payloads.readConfirm(m.data)
  await checkSignature(deps, m)
  await checkResponse(deps, 'initiator', answered.transcript, response, peer.publicKey)
}

/** Refusals of a handshake that its sender can do something about, and in which words it is told. */
const TOLD: ReadonlyMap<string, string> = new Map([
  ['CLOCK_SKEW', 'the clocks of the two sides are more than 5 minutes apart: set the one that is wrong'],
  ['INVALID_VERSION', 'the two sides speak no common version: update the older one']
])

/** The `error` in place of a `handshake_ack`; undefined: nothing is said. */
export function writeRefusal(deps: HandshakeDeps, m: ReceivedSecureMessage, code: string): Promise<Uint8Array> | undefined {
  const text = TOLD.get(code)
  if (text === undefined || m.type !== 'handshake' || m.recipientId !== deps.self.entityId) return undefined
  const header = makeHeader(deps, 'error', m.senderId, m.sessionId, '1.1')
  return writeHandshake(deps, header, payloads.encode({ error_code: code, error_message: text }))
}

/** Why the peer refused our handshake. Its clock may be wrong, so the date does not count. @throws MISROUTED, SEQUENCE_ERROR, INVALID_SIGNATURE */
export async function readRefusal(deps: HandshakeDeps, m: ReceivedSecureMessage): Promise<KithError> {
  if (m.recipientId !== deps.self.entityId) throw new KithError('MISROUTED', 'the refusal is for somebody else')
  if (m.type !== 'error' || m.sequenceNum !== 0 || m.encrypted) throw new KithError('SEQUENCE_ERROR', 'not the next message of a handshake')
  await checkSignature(deps, m)
  const code = payloads.readErrorCode(m.data)
  const text = TOLD.get(code)
  return text === undefined ? new KithError('PEER_PROTOCOL', 'the peer refused the handshake', { code }) : new KithError(code, text)
}

/** One code and one text for everything that keeps keys from being agreed on (threats HS1, HS10). */
const notAgreed = (): KithError => new KithError('DECRYPTION_FAILED', 'no common keys')

function checkEnvelope(deps: HandshakeDeps, m: ReceivedSecureMessage, type: MessageType): void {
  if (m.recipientId !== deps.self.entityId) throw new KithError('MISROUTED', 'the handshake is for somebody else')
  if (m.senderId === deps.self.entityId) throw new KithError('IDENTITY_MISMATCH', 'the sender says to be this instance')
  if (m.type !== type || m.sequenceNum !== 0) throw new KithError('SEQUENCE_ERROR', 'not the next message of a handshake')
  if (m.encrypted) throw new KithError('MALFORMED', 'a handshake is not encrypted', { field: 'payload.encrypted' })
  checkClock(deps.clock, m.sentAt)
}

function checkKey(publicKey: Uint8Array, m: ReceivedSecureMessage): void {
  if (!equalBytes(publicKey, m.senderKey)) throw new KithError('IDENTITY_MISMATCH', 'the public key is not the one of the sender id')
}

async function authenticate(
  deps: HandshakeDeps,
  m: ReceivedSecureMessage,
  certificate: Uint8Array | undefined,
  link: LinkFacts
): Promise<SessionPeer> {
  await checkSignature(deps, m)
  const certified = await checkCertificate(deps.verifyCertificate, certificate, m.senderKey, link.peerId)
  return {
    entityId: m.senderId,
    publicKey: m.senderKey,
    certificate,
    peerId: certified?.peerId,
    personKey: certified?.personKey
  }
}

async function checkSignature(deps: HandshakeDeps, m: ReceivedSecureMessage): Promise<void> {
  if (!(await deps.authentication.verifier(m.senderKey).verify(m.signedBytes, m.signature)))
    throw new KithError('INVALID_SIGNATURE', 'the handshake is not signed by its sender')
}

async function checkResponse(
  deps: HandshakeDeps,
  role: Role,
  transcript: Uint8Array,
  response: Uint8Array,
  publicKey: Uint8Array
): Promise<void> {
  if (!(await deps.authentication.verifier(publicKey).verify(responseBytes(role, transcript), response)))
    throw new KithError('INVALID_SIGNATURE', 'the answer to the challenge is not right')
}

const makeHeader = (
  deps: HandshakeDeps,
  msgType: MessageType,
  recipientId: string,
  sessionId: string,
  version: MessageVersion
): MessageHeader => ({
  version,
  msgType,
  senderId: deps.self.entityId,
  recipientId,
  sessionId,
  sequenceNum: 0,
  timestamp: messageTime(deps.clock.now()),
  nonce: bytesToHex(deps.random(32))
})

const writeHandshake = (deps: HandshakeDeps, header: MessageHeader, data: Uint8Array): Promise<Uint8Array<ArrayBuffer>> =>
  writeSecureMessage({ ...header, encrypted: false, data }, bytes => deps.authentication.sign(bytes))
