/** The handshake, messages and sealed message of docs/wire/session-vectors.json, made by Kith: in Node and in a browser. */
import { ed25519PublicKey, openSigner } from '#crypto'
import { bytesToHex, concatBytes, fromUtf8, hexToBytes, utf8 } from '../../src/base/bytes.ts'
import { MemoryPrekeys, readPrekey, rotatePrekeys } from '../../src/session/prekeys.ts'
import { openSealed, sealTo } from '../../src/session/sealed.ts'
import { openSessions } from '../../src/session/sessions.ts'
import type { SessionSelf } from '../../src/session/types.ts'
import { didOfKey } from '../../src/wire/did-key.ts'
import { readSecureMessage } from '../../src/wire/secure-message.ts'

/** Members of session-vectors.json; all but two are texts. */
export interface SessionVectors {
  readonly network: string
  readonly time: number
  readonly session_id: string
  readonly handshake: string
  readonly handshake_ack: string
  readonly handshake_confirm: string
  readonly message_payload: string
  readonly message: string
  readonly reply_payload: string
  readonly reply: string
  readonly prekey_id: string
  readonly prekey: string
  readonly sealed_plaintext: string
  readonly sealed: string
}
export type SessionFacts = Omit<SessionVectors, 'network' | 'time' | 'session_id' | 'prekey_id'>

const fill = (byte: number, n: number): Uint8Array<ArrayBuffer> => new Uint8Array(n).fill(byte)

/** Gives out what the vectors say, in this order. */
function scripted(...values: Uint8Array[]): (n: number) => Uint8Array {
  return n => {
    const next = values.shift()
    if (next?.length !== n) throw new Error(`no scripted random value of ${n} bytes is next`)
    return next
  }
}

async function selfOf(seed: number): Promise<SessionSelf> {
  const publicKey = await ed25519PublicKey(fill(seed, 32))
  const signer = openSigner(fill(seed, 32))
  return { entityId: didOfKey(publicKey), publicKey, certificate: undefined, signBytes: async bytes => signer.sign(bytes) }
}

/** Runs everything; each frame must be what the vectors have. */
export async function sessionFacts(v: SessionVectors): Promise<SessionFacts> {
  const clock = { now: () => v.time, monotonic: () => 0 }
  const [a, b] = [await selfOf(1), await selfOf(2)]
  const id = hexToBytes(v.session_id.replaceAll('-', ''))
  const initiator = openSessions({
    clock,
    network: v.network,
    self: a,
    random: scripted(id, fill(0x31, 32), fill(0x41, 32), fill(0x51, 32), fill(0x53, 32), fill(0x54, 32))
  })
  const responder = openSessions({
    clock,
    network: v.network,
    self: b,
    random: scripted(fill(0x32, 32), fill(0x42, 32), fill(0x52, 32), fill(0x55, 32))
  })
  const link = { key: 'link', peerId: undefined }
  const { frame: handshake } = await initiator.begin(b.entityId)
  const ack = await responder.onHandshake(readSecureMessage(handshake), link)
  const { session: mine, frame: confirm } = await initiator.onHandshakeAck(readSecureMessage(ack!), link)
  const theirs = await responder.onHandshakeConfirm(readSecureMessage(confirm))
  const { frame: message } = await mine.seal('ping', utf8(v.message_payload))
  const { frame: reply } = await theirs.seal('ping', utf8(v.reply_payload))
  const [opened] = await theirs.open(readSecureMessage(message))
  const [answered] = await mine.open(readSecureMessage(reply))

  const prekeys = new MemoryPrekeys()
  const own = await rotatePrekeys({ clock, self: b, random: scripted(hexToBytes(v.prekey_id), fill(0x61, 32)) }, prekeys)
  const prekey = await readPrekey(own.signed, b.entityId, clock)
  const sealed = await sealTo({ random: scripted(fill(0x63, 32)) }, b.entityId, prekey, utf8(v.sealed_plaintext))
  return {
    handshake: fromUtf8(handshake),
    handshake_ack: fromUtf8(ack!),
    handshake_confirm: fromUtf8(confirm),
    message: fromUtf8(message),
    message_payload: fromUtf8(opened!.payload),
    reply: fromUtf8(reply),
    reply_payload: fromUtf8(answered!.payload),
    prekey: bytesToHex(own.signed),
    sealed: bytesToHex(sealed),
    sealed_plaintext: fromUtf8(await openSealed(prekeys, b.entityId, concatBytes(sealed)))
  }
}
