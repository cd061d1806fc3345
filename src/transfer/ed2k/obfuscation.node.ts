/**
 * eMule's obfuscation of connections between clients: makes them look like noise, and proves nothing about anybody. The key is made
 * from the user hash of whoever is connected to, so the one who connects must know it.
 *
 *     A: u8 marker | u32 random | RC4( u32 835E6FC4 | u8 0 | u8 0 | u8 n | n bytes of padding )
 *     B: RC4( u32 835E6FC4 | u8 0 | u8 n | n bytes of padding )        then both send packets, each through its RC4
 *
 * Keys: A sends with MD5(hash of B | 22 | random), B with MD5(hash of B | CB | random); 1024 bytes of each key stream are dropped.
 * Spec: docs/wire/ed2k.md §1
 */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { concatBytes } from '../../base/bytes.ts'
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { Rc4 } from './rc4.ts'

const MAGIC = 0x835e6fc4
const DROPPED = 1024
const FROM_A = 0x22
const FROM_B = 0xcb
/** Bytes with which plain connections of eMule and its servers begin. */
const RESERVED: ReadonlySet<number> = new Set([0, 0xe3, 0xc5, 0xd4, 0xe4, 0xe5, 0xa3, 0xb2, 0xf4, 0xf5])
const MAX_OWN_PADDING = 15

/** Both directions of a connection whose opening is done. */
export interface Obfuscated {
  readonly send: Rc4
  readonly receive: Rc4
  /** What came behind the opening, decrypted. */
  readonly rest: Uint8Array
  /** What must be sent at once: our half of the opening. */
  readonly reply: Uint8Array | undefined
}

export class Opening {
  /** What must be sent first, if we connect. */
  readonly greeting: Uint8Array | undefined
  readonly #ownHash: Uint8Array | undefined
  #send: Rc4 | undefined
  #receive: Rc4 | undefined
  /** Decrypted from `#clear` bytes on only as far as that. */
  #bytes: Uint8Array = new Uint8Array()
  #clear = 0

  private constructor(ownHash: Uint8Array | undefined, remoteHash: Uint8Array | undefined) {
    this.#ownHash = ownHash
    if (!remoteHash) return
    const random = randomBytes(4)
    this.#send = keyOf(remoteHash, FROM_A, random)
    this.#receive = keyOf(remoteHash, FROM_B, random)
    const padding = randomBytes(randomInt(MAX_OWN_PADDING + 1))
    const hidden = new LeWriter().u32(MAGIC).u8(0).u8(0).u8(padding.length).bytes(padding).done()
    this.greeting = concatBytes(new Uint8Array([marker()]), random, this.#send.apply(hidden))
  }

  /** We connect to a client with this user hash. */
  static to(remoteHash: Uint8Array): Opening {
    return new Opening(undefined, remoteHash)
  }
  /** Somebody connected to us. */
  static from(ownHash: Uint8Array): Opening {
    return new Opening(ownHash, undefined)
  }

  /** Takes what came. @returns undefined while more is needed @throws ED2K_WIRE when it is not the opening */
  push(bytes: Uint8Array): Obfuscated | undefined {
    this.#bytes = concatBytes(this.#bytes, bytes)
    return this.#ownHash ? this.#answer(this.#ownHash) : this.#finish(5, this.#bytes)
  }

  #answer(ownHash: Uint8Array): Obfuscated | undefined {
    if (this.#bytes.length < 5) return undefined
    const random = this.#bytes.subarray(1, 5)
    this.#send ??= keyOf(ownHash, FROM_B, random)
    this.#receive ??= keyOf(ownHash, FROM_A, random)
    const done = this.#finish(6, this.#bytes.subarray(5))
    if (!done) return undefined
    const padding = randomBytes(randomInt(MAX_OWN_PADDING + 1))
    const reply = done.send.apply(new LeWriter().u32(MAGIC).u8(0).u8(padding.length).bytes(padding).done())
    return { ...done, reply }
  }

  /** `b` begins with the magic; the length of the padding is at `lengthAt`. */
  #finish(lengthAt: number, b: Uint8Array): Obfuscated | undefined {
    if (b.length <= lengthAt) return undefined
    this.#decrypt(b, lengthAt + 1)
    const r = new LeReader(b)
    if (r.u32() !== MAGIC) throw wireError('not an eDonkey connection')
    const end = lengthAt + 1 + b[lengthAt]!
    if (b.length < end) return undefined
    this.#decrypt(b, b.length)
    return { send: this.#send!, receive: this.#receive!, rest: b.subarray(end), reply: undefined }
  }

  #decrypt(b: Uint8Array, end: number): void {
    if (end > this.#clear) this.#receive!.apply(b.subarray(this.#clear, end))
    this.#clear = Math.max(this.#clear, end)
  }
}

const keyOf = (userHash: Uint8Array, direction: number, random: Uint8Array): Rc4 =>
  new Rc4(
    createHash('md5')
      .update(concatBytes(userHash, new Uint8Array([direction]), random))
      .digest(),
    DROPPED
  )

function marker(): number {
  for (;;) {
    const byte = randomBytes(1)[0]!
    if (!RESERVED.has(byte)) return byte
  }
}
