/**
 * Secure identification, version 1: each side signs the other's key and challenge, so that a user hash cannot be taken over.
 *
 *     C5 87 u8 (1 signature, 2 key and signature) | u32 challenge     C5 85 u8 length | key     C5 86 u8 length | signature [| u8 kind]
 *
 * Spec: docs/wire/ed2k.md §7
 */
import { randomBytes } from '#crypto'
import { concatBytes } from '../../base/bytes.ts'
import { LeReader, LeWriter } from './bytes.ts'
import { emule } from './opcodes.ts'
import { publicKeyOf, type RsaKey, rsaSign, rsaVerify } from './rsa.ts'

const WANT_SIGNATURE = 1
const WANT_KEY = 2

export interface SecIdentDeps {
  readonly key: RsaKey
  /** Sends an extension packet. */
  send(opcode: number, payload: Uint8Array): void
  /** Whether an operation with a key may be paid for now. */
  mayCompute(): boolean
}

export class SecIdent {
  readonly #deps: SecIdentDeps
  readonly #own: Uint8Array
  readonly #challenge = randomBytes(4)
  #remoteKey: Uint8Array | undefined
  /** Their challenge, until it is answered. */
  #asked: Uint8Array | undefined
  #answered = 0
  #checked = false
  #verified = false

  constructor(deps: SecIdentDeps) {
    this.#deps = deps
    this.#own = publicKeyOf(deps.key)
  }

  /** The other side has proven that it holds the key it showed. */
  get verified(): boolean {
    return this.#verified
  }
  get remoteKey(): Uint8Array | undefined {
    return this.#remoteKey
  }

  /** Asks the other side to identify itself. */
  begin(): void {
    this.#deps.send(emule.secIdentState, new LeWriter().u8(WANT_KEY).bytes(this.#challenge).done())
  }

  /** @throws ED2K_WIRE */
  onState(payload: Uint8Array): void {
    const r = new LeReader(payload)
    const wants = r.u8()
    this.#asked = r.bytes(4)
    r.end()
    if (wants === WANT_KEY) this.#deps.send(emule.publicKey, withLength(this.#own))
    if (wants === WANT_KEY || wants === WANT_SIGNATURE) this.#answer()
  }

  /** The first key counts. @throws ED2K_WIRE */
  onKey(payload: Uint8Array): void {
    const r = new LeReader(payload)
    const key = r.bytes(r.u8())
    r.end()
    this.#remoteKey ??= key
    this.#answer()
  }

  /** @throws ED2K_WIRE */
  onSignature(payload: Uint8Array): void {
    const r = new LeReader(payload)
    const signature = r.bytes(r.u8())
    if (this.#checked || !this.#remoteKey || !this.#deps.mayCompute()) return
    this.#checked = true
    this.#verified = rsaVerify(this.#remoteKey, concatBytes(this.#own, this.#challenge), signature)
  }

  /** Signs once both their key and their challenge are there; twice at most on one connection. */
  #answer(): void {
    if (!this.#remoteKey || !this.#asked || this.#answered >= 2 || !this.#deps.mayCompute()) return
    this.#answered++
    const signature = rsaSign(this.#deps.key, concatBytes(this.#remoteKey, this.#asked))
    this.#asked = undefined
    this.#deps.send(emule.signature, withLength(signature))
  }
}

const withLength = (b: Uint8Array): Uint8Array => new LeWriter().u8(b.length).bytes(b).done()
