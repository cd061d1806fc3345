/** Instances with sessions, their keys made from a number, and handshakes between them without any link. */
import { createHash } from 'node:crypto'
import { issuePeerChain } from '../../src/identity/certificates.ts'
import { peerIdOfKey, peerIdToText } from '../../src/identity/peer-id.ts'
import { ed25519PublicKey, openSigner } from '../../src/platform/crypto.node.ts'
import type { Session, SessionOptions } from '../../src/session/session.ts'
import type { HandshakeLink, SessionsDeps } from '../../src/session/sessions.ts'
import { openSessions, type Sessions } from '../../src/session/sessions.ts'
import type { SessionSelf } from '../../src/session/types.ts'
import { didOfKey } from '../../src/wire/did-key.ts'
import { type ReceivedSecureMessage, readSecureMessage, type SecureMessage, writeSecureMessage } from '../../src/wire/secure-message.ts'
import { FakeClock } from './fake-clock.ts'

/** Bytes that are the same in every run: SHA-256 in counter mode. */
export function countedRandom(label: string): (n: number) => Uint8Array {
  let count = 0
  return n => {
    const out = new Uint8Array(n)
    for (let at = 0; at < n; at += 32)
      out.set(
        createHash('sha256')
          .update(`${label}/${count++}`)
          .digest()
          .subarray(0, n - at),
        at
      )
    return out
  }
}

export interface Instance {
  readonly self: SessionSelf
  readonly seed: Uint8Array
  /** Text of the PeerId that its certificate names. */
  readonly peerId: string
  readonly sessions: Sessions
  readonly clock: FakeClock
  /** Signs and writes anything as this instance. */
  write(message: SecureMessage): Promise<Uint8Array>
}

/** @param seed one byte, repeated: the key, so that ids are the same in every run */
export async function openInstance(
  seed: number,
  deps: Partial<SessionsDeps> & { readonly clock?: FakeClock } = {},
  options: SessionOptions = {}
): Promise<Instance> {
  const secret = new Uint8Array(32).fill(seed)
  const signer = openSigner(secret)
  const publicKey = await ed25519PublicKey(secret)
  const peer = peerIdOfKey(await ed25519PublicKey(new Uint8Array(32).fill(seed + 100)))
  const self: SessionSelf = {
    entityId: didOfKey(publicKey),
    publicKey,
    certificate: await issuePeerChain(secret, peer, Date.UTC(2026, 0, 1)),
    signBytes: async bytes => signer.sign(bytes)
  }
  const clock = deps.clock ?? new FakeClock()
  const sessions = openSessions({ random: countedRandom(`instance ${seed}`), self, network: 'test', ...deps, clock }, options)
  const write = (m: SecureMessage): Promise<Uint8Array> => writeSecureMessage(m, self.signBytes)
  return { self, seed: secret, peerId: peerIdToText(peer), sessions, clock, write }
}

export const linkTo = (peer: Instance): HandshakeLink => ({ key: peer.peerId, peerId: peer.peerId })

/** The whole handshake. @returns the session of `a`, who begins, and that of `b` */
export async function connect(a: Instance, b: Instance): Promise<{ readonly mine: Session; readonly theirs: Session }> {
  const { frame } = await a.sessions.begin(b.self.entityId)
  const ack = await b.sessions.onHandshake(readSecureMessage(frame), linkTo(a))
  const { session, frame: confirm } = await a.sessions.onHandshakeAck(readSecureMessage(ack!), linkTo(b))
  return { mine: session, theirs: await b.sessions.onHandshakeConfirm(readSecureMessage(confirm)) }
}

export const read = (frame: Uint8Array): ReceivedSecureMessage => readSecureMessage(frame)
/** A received message as one to write again, with changes. */
export const again = (m: ReceivedSecureMessage, changes: Partial<SecureMessage> = {}): SecureMessage => ({
  version: m.version,
  msgType: m.msgType,
  senderId: m.senderId,
  recipientId: m.recipientId,
  sessionId: m.sessionId,
  sequenceNum: m.sequenceNum,
  timestamp: m.timestamp,
  nonce: m.nonce,
  encrypted: m.encrypted,
  data: m.data,
  ...changes
})
