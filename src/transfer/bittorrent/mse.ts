/**
 * The encryption handshake that most BitTorrent programs know ("MSE/PE"). It hides the protocol from simple filters and proves nothing
 * about the other side; Kith's own proofs (tickets, hashes) do not rest on it. Pure: bytes in, bytes to send out.
 *
 * | from | bytes                                                                                                              |
 * | ---- | ------------------------------------------------------------------------------------------------------------------ |
 * | A    | Ya (96), up to 512 of padding                                                                                      |
 * | B    | Yb (96), up to 512 of padding                                                                                      |
 * | A    | SHA1('req1', S), SHA1('req2', SKEY) xor SHA1('req3', S), then under RC4: VC (8 zeros), crypto_provide u32,          |
 * |      | length u16 and padding, length u16 and first payload                                                               |
 * | B    | under RC4: VC, crypto_select u32, length u16 and padding                                                           |
 *
 * S is the Diffie-Hellman secret, SKEY the info-hash. RC4 keys are SHA1('keyA', S, SKEY) from A and SHA1('keyB', S, SKEY) from B, the
 * first 1,024 bytes thrown away. crypto is 1 (payload in the clear from here on) or 2 (RC4 goes on).
 *
 * Spec: docs/wire/bittorrent.md §10
 */
import { randomBytes } from '#crypto'
import { sha1 } from '#hash'
import { bytesToHex, concatBytes, equalBytes, utf8 } from '../../base/bytes.ts'
import { Rc4 } from '../ed2k/rc4.ts'
import { MAX_MSE_PAD_BYTES, MAX_MSE_PAYLOAD_BYTES } from './limits.ts'
import { protocolError, readU32 } from './messages.ts'

/** What the payload is after the handshake. */
export const mseMethods = { plaintext: 1, rc4: 2 } as const
export type MseMethod = (typeof mseMethods)[keyof typeof mseMethods]

const KEY_BYTES = 96
const PRIVATE_BYTES = 20
const HASH_BYTES = 20
const VC = new Uint8Array(8)
const RC4_SKIP = 1024
/** The protocol's own prime of 768 bits; the generator is 2. */
const PRIME =
  0xffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563n

/** What a handshake leaves behind. */
export interface MseResult {
  readonly infoHash: Uint8Array
  /** undefined: what follows is in the clear. */
  readonly encrypt: Rc4 | undefined
  readonly decrypt: Rc4 | undefined
  /** Bytes of the peer wire that came with the handshake, in the clear. */
  readonly rest: Uint8Array
}

export interface MseStep {
  readonly send: Uint8Array | undefined
  readonly done: MseResult | undefined
}

export interface MseHandshake {
  /** Bytes that came. @throws PEER_WIRE */
  push(bytes: Uint8Array): MseStep
}

const NOTHING: MseStep = { send: undefined, done: undefined }

/** One half of a Diffie-Hellman exchange. */
class KeyPair {
  readonly publicKey: Uint8Array
  readonly #secret: bigint

  constructor() {
    this.#secret = toBigInt(randomBytes(PRIVATE_BYTES))
    this.publicKey = toBytes(power(2n, this.#secret))
  }

  /** @throws PEER_WIRE for a key that makes the secret a constant */
  agree(other: Uint8Array): Uint8Array {
    const y = toBigInt(other)
    if (y < 2n || y > PRIME - 2n) throw protocolError('not a key')
    return toBytes(power(y, this.#secret))
  }
}

/** The side that connected. */
export class MseInitiator implements MseHandshake {
  readonly #infoHash: Uint8Array
  readonly #provide: readonly MseMethod[]
  readonly #firstPayload: () => Uint8Array
  readonly #keys = new KeyPair()
  readonly #received = new Gathering(KEY_BYTES + MAX_MSE_PAD_BYTES + VC.length + 6 + MAX_MSE_PAD_BYTES)
  #ciphers: Ciphers | undefined
  /** Where the answer begins, once found. */
  #answerAt: number | undefined

  /** @param firstPayload asked once, when the keys are known: what is to be sent with the handshake */
  constructor(infoHash: Uint8Array, provide: readonly MseMethod[], firstPayload: () => Uint8Array = () => new Uint8Array()) {
    this.#infoHash = infoHash
    this.#provide = provide
    this.#firstPayload = firstPayload
  }

  /** What to send first. */
  start(): Uint8Array {
    return concatBytes(this.#keys.publicKey, padding())
  }

  push(bytes: Uint8Array): MseStep {
    const received = this.#received
    const beyond = received.add(bytes)
    const send = this.#ciphers || received.length < KEY_BYTES ? undefined : this.#begin()
    const done = this.#ciphers && this.#finish(beyond)
    return send || done ? { send, done } : NOTHING
  }

  #begin(): Uint8Array {
    const secret = this.#keys.agree(this.#received.bytes.subarray(0, KEY_BYTES))
    this.#ciphers = ciphersOf(secret, this.#infoHash)
    const payload = this.#firstPayload().slice(0, MAX_MSE_PAYLOAD_BYTES)
    const pad = padding()
    const provide = this.#provide.reduce((a, b) => a | b, 0)
    const plain = concatBytes(VC, Uint8Array.of(0, 0, 0, provide), u16(pad.length), pad, u16(payload.length), payload)
    return concatBytes(named('req1', secret), torrentMark(secret, this.#infoHash), this.#ciphers.fromA.apply(plain))
  }

  /** The answer begins somewhere behind up to 512 bytes of padding: with the VC as B encrypts it. */
  #finish(beyond: Uint8Array): MseResult | undefined {
    const { fromA, fromB, vcFromB } = this.#ciphers!
    const received = this.#received
    if (this.#answerAt === undefined) {
      const at = indexOf(received.bytes, vcFromB, KEY_BYTES, KEY_BYTES + MAX_MSE_PAD_BYTES)
      if (at === -1 && received.length >= KEY_BYTES + MAX_MSE_PAD_BYTES + VC.length)
        throw protocolError('no answer to the encryption handshake')
      if (at === -1) return undefined
      this.#answerAt = received.beginAt(at)
    }
    const from = this.#answerAt + VC.length
    if (!received.decrypt(fromB, from + 6)) return undefined
    const method = readU32(received.bytes, from)
    const padBytes = readU16(received.bytes, from + 4)
    if (padBytes > MAX_MSE_PAD_BYTES || !this.#provide.some(p => p === method)) throw protocolError('an encryption nobody offered')
    if (!received.decrypt(fromB, from + 6 + padBytes)) return undefined
    return resultOf(this.#infoHash, method, fromA, fromB, received.rest(beyond))
  }
}

export interface MseResponderOptions {
  /** Methods that we take, the preferred one first. */
  readonly accept: readonly MseMethod[]
  /** The info-hash of ours whose SHA1('req2', …) is this; undefined when there is none. */
  find(mark: string): Uint8Array | undefined
}

/** The side that was connected to. */
export class MseResponder implements MseHandshake {
  readonly #options: MseResponderOptions
  readonly #received = new Gathering(KEY_BYTES + MAX_MSE_PAD_BYTES + 2 * HASH_BYTES + 16 + MAX_MSE_PAD_BYTES + MAX_MSE_PAYLOAD_BYTES)
  #secret: Uint8Array | undefined
  #requestAt: number | undefined
  #torrent: { readonly infoHash: Uint8Array; readonly ciphers: Ciphers } | undefined

  constructor(options: MseResponderOptions) {
    this.#options = options
  }

  push(bytes: Uint8Array): MseStep {
    const beyond = this.#received.add(bytes)
    let send: Uint8Array | undefined
    if (!this.#secret) {
      if (this.#received.length < KEY_BYTES) return NOTHING
      const keys = new KeyPair()
      this.#secret = keys.agree(this.#received.bytes.subarray(0, KEY_BYTES))
      send = concatBytes(keys.publicKey, padding())
    }
    if (!this.#torrent && !this.#sync()) return { send, done: undefined }
    const end = this.#answer(beyond)
    return end ? { send: send ? concatBytes(send, end.send) : end.send, done: end.done } : { send, done: undefined }
  }

  /** Finds SHA1('req1', S) behind up to 512 bytes of padding, and the torrent that is meant. */
  #sync(): boolean {
    const b = this.#received.bytes
    const secret = this.#secret!
    this.#requestAt ??= found(indexOf(b, named('req1', secret), KEY_BYTES, KEY_BYTES + MAX_MSE_PAD_BYTES))
    if (this.#requestAt === undefined) {
      if (b.length >= KEY_BYTES + MAX_MSE_PAD_BYTES + HASH_BYTES) throw protocolError('not an encryption handshake')
      return false
    }
    const at = this.#requestAt + HASH_BYTES
    if (b.length < at + HASH_BYTES) return false
    const mark = xor(b.subarray(at, at + HASH_BYTES), named('req3', secret))
    const infoHash = this.#options.find(bytesToHex(mark))
    if (!infoHash) throw protocolError('an encrypted handshake for a torrent that is not here')
    this.#received.beginAt(at + HASH_BYTES)
    this.#torrent = { infoHash, ciphers: ciphersOf(secret, infoHash) }
    return true
  }

  #answer(beyond: Uint8Array): { readonly send: Uint8Array; readonly done: MseResult } | undefined {
    const received = this.#received
    const { infoHash, ciphers } = this.#torrent!
    const from = this.#requestAt! + 2 * HASH_BYTES
    if (!received.decrypt(ciphers.fromA, from + 14)) return undefined
    const b = received.bytes
    const padBytes = readU16(b, from + 12)
    if (!equalBytes(b.subarray(from, from + 8), VC) || padBytes > MAX_MSE_PAD_BYTES) throw protocolError('a broken encryption handshake')
    const method = this.#options.accept.find(m => (readU32(b, from + 8) & m) !== 0)
    if (method === undefined) throw protocolError('no encryption that both take')
    const payloadAt = from + 14 + padBytes + 2
    if (!received.decrypt(ciphers.fromA, payloadAt)) return undefined
    const payloadBytes = readU16(b, payloadAt - 2)
    if (payloadBytes > MAX_MSE_PAYLOAD_BYTES) throw protocolError('too much payload in an encryption handshake')
    if (!received.decrypt(ciphers.fromA, payloadAt + payloadBytes)) return undefined
    const first = received.bytes.slice(payloadAt, payloadAt + payloadBytes)
    const pad = padding()
    const send = ciphers.fromB.apply(concatBytes(VC, Uint8Array.of(0, 0, 0, method), u16(pad.length), pad))
    const done = resultOf(infoHash, method, ciphers.fromB, ciphers.fromA, received.rest(beyond))
    return { send, done: { ...done, rest: concatBytes(first, done.rest) } }
  }
}

/** What SHA1('req2', SKEY) looks like in an index of torrents: hex. */
export const markOf = (infoHash: Uint8Array): string => bytesToHex(named('req2', infoHash))

function resultOf(infoHash: Uint8Array, method: number, encrypt: Rc4, decrypt: Rc4, rest: Uint8Array): MseResult {
  if (method === mseMethods.plaintext) return { infoHash, encrypt: undefined, decrypt: undefined, rest }
  return { infoHash, encrypt, decrypt, rest: decrypt.apply(rest) }
}

interface Ciphers {
  readonly fromA: Rc4
  readonly fromB: Rc4
  /** The VC as B sends it. */
  readonly vcFromB: Uint8Array
}

function ciphersOf(secret: Uint8Array, infoHash: Uint8Array): Ciphers {
  const key = (name: string): Uint8Array => named(name, secret, infoHash)
  const vcFromB = new Rc4(key('keyB'), RC4_SKIP).apply(Uint8Array.from(VC))
  return { fromA: new Rc4(key('keyA'), RC4_SKIP), fromB: new Rc4(key('keyB'), RC4_SKIP), vcFromB }
}

/** What has come so far, up to a limit, and how far it has been decrypted: what follows the handshake may be in the clear. */
class Gathering {
  readonly #buffer: Uint8Array
  #length = 0
  #clear = 0

  constructor(maxBytes: number) {
    this.#buffer = new Uint8Array(maxBytes)
  }
  get length(): number {
    return this.#length
  }
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }
  /** @returns bytes beyond the limit */
  add(bytes: Uint8Array): Uint8Array {
    const n = Math.min(bytes.length, this.#buffer.length - this.#length)
    this.#buffer.set(bytes.subarray(0, n), this.#length)
    this.#length += n
    return bytes.subarray(n)
  }
  /** What is encrypted begins here. */
  beginAt(at: number): number {
    this.#clear = at
    return at
  }
  /** Decrypts up to `end`; false when not all of it has come. */
  decrypt(cipher: Rc4, end: number): boolean {
    if (this.#length < end) return false
    if (this.#clear < end) cipher.apply(this.#buffer.subarray(this.#clear, end))
    this.#clear = Math.max(this.#clear, end)
    return true
  }
  /** A copy of what was not decrypted, and what was beyond the limit. */
  rest(beyond: Uint8Array): Uint8Array<ArrayBuffer> {
    return concatBytes(this.#buffer.subarray(this.#clear, this.#length), beyond)
  }
}

const padding = (): Uint8Array => {
  const [a = 0, b = 0] = randomBytes(2)
  return randomBytes((a * 256 + b) % (MAX_MSE_PAD_BYTES + 1))
}
const named = (name: string, ...parts: readonly Uint8Array[]): Uint8Array => sha1(concatBytes(utf8(name), ...parts))
const torrentMark = (secret: Uint8Array, infoHash: Uint8Array): Uint8Array => xor(named('req2', infoHash), named('req3', secret))
const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => Uint8Array.from(a, (v, i) => v ^ b[i]!)
const u16 = (v: number): Uint8Array => Uint8Array.of(v >> 8, v & 255)
const readU16 = (b: Uint8Array, at: number): number => b[at]! * 256 + b[at + 1]!
const found = (at: number): number | undefined => (at === -1 ? undefined : at)

/** Where `what` begins in `b`, from `first` to `last`; -1 when it is not there. */
function indexOf(b: Uint8Array, what: Uint8Array, first: number, last: number): number {
  for (let at = first; at <= last && at + what.length <= b.length; at++)
    if (b[at] === what[0] && equalBytes(b.subarray(at, at + what.length), what)) return at
  return -1
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % PRIME) if (e & 1n) result = (result * b) % PRIME
  return result
}
const toBigInt = (bytes: Uint8Array): bigint => BigInt(`0x${bytesToHex(bytes)}`)
const toBytes = (v: bigint): Uint8Array =>
  Uint8Array.from({ length: KEY_BYTES }, (_, i) => Number((v >> BigInt(8 * (KEY_BYTES - 1 - i))) & 255n))
