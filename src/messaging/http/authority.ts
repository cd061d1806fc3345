/**
 * Who may see GET /peers and GET /stats (threats TA5): whoever has the token of this node, or a peer with a grant that signs its request:
 *
 *     Authorization: Kith id=<did:key>, time=<2026-02-01T00:00:00.000Z>, nonce=<64 hex>, signature=<128 hex>
 *
 * Signed is utf8("kith/http/1") ‖ 0x00 ‖ utf8("<method> <path> <did:key of the server> <time> <nonce>").
 * Spec: docs/wire/message-http.md §4
 */
import { ed25519Verify, timingSafeEqual } from '#crypto'
import { bytesToHex, concatBytes, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import { keyOfDid } from '../../wire/did-key.ts'
import { hexToBytesOf } from '../../wire/text-bytes.ts'
import { MAX_RATED_ADDRESSES, MAX_REQUEST_NONCES, MAX_WRONG_TOKENS_PER_MINUTE, SIGNED_REQUEST_WINDOW_MS } from '../limits.ts'
import { RatedNames } from '../rated.ts'
import type { StrangerChecks } from './stranger-checks.ts'

const DOMAIN = 'kith/http/1'
const SIGNED =
  /^Kith id=(did:key:z[1-9A-HJ-NP-Za-km-z]{47}), time=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z), nonce=([0-9a-f]{64}), signature=([0-9a-f]{128})$/

export interface HttpAuthorityDeps {
  readonly clock: Clock
  readonly strangers: StrangerChecks
  /** did:key of this instance. */
  readonly self: string
  /** Whether a peer may see figures of this node. */
  isGranted(entityId: string): boolean
}

const signedText = (method: string, path: string, server: string, time: string, nonce: string): Uint8Array =>
  concatBytes(utf8(DOMAIN), Uint8Array.of(0), utf8(`${method} ${path} ${server} ${time} ${nonce}`))

/** The header by which a granted peer asks. `sign` is a raw Ed25519 signature by the key in `id`; `nonce` has 32 fresh bytes. */
export async function signedAuthorization(
  request: { readonly method: string; readonly path: string; readonly server: string; readonly now: number; readonly nonce: Uint8Array },
  self: { readonly entityId: string; signBytes(bytes: Uint8Array): Promise<Uint8Array> }
): Promise<string> {
  const time = new Date(request.now).toISOString()
  const nonce = bytesToHex(request.nonce)
  const signature = await self.signBytes(signedText(request.method, request.path, request.server, time, nonce))
  return `Kith id=${self.entityId}, time=${time}, nonce=${nonce}, signature=${bytesToHex(signature)}`
}

export class HttpAuthority {
  readonly #deps: HttpAuthorityDeps
  readonly #token: Uint8Array | undefined
  readonly #wrong: RatedNames
  /** Nonces and when they may be forgotten, oldest first. */
  readonly #nonces = new Map<string, number>()

  /** @param token undefined: only granted peers */
  constructor(deps: HttpAuthorityDeps, token: string | undefined) {
    this.#deps = deps
    this.#token = token === undefined ? undefined : utf8(token)
    this.#wrong = new RatedNames(
      deps.clock,
      { perSecond: MAX_WRONG_TOKENS_PER_MINUTE / 60, burst: MAX_WRONG_TOKENS_PER_MINUTE },
      MAX_RATED_ADDRESSES
    )
  }

  /** @throws NOT_AUTHORISED, RATE_LIMITED */
  async check(request: {
    readonly method: string
    readonly path: string
    readonly authorization: string | undefined
    readonly address: string
  }): Promise<void> {
    const { authorization = '', address } = request
    const bearer = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(authorization)?.[1]
    // A right token always passes: nobody can lock the owner out.
    if (bearer !== undefined && this.#token && timingSafeEqual(utf8(bearer), this.#token)) return
    if (!this.#wrong.tryTake(rateKeyOf(address))) throw new KithError('RATE_LIMITED', 'too many requests without authority')
    const [, id, time, nonce, signature] = SIGNED.exec(authorization) ?? []
    if (id === undefined || time === undefined || nonce === undefined || signature === undefined) throw refused()
    if (!this.#deps.isGranted(id) || !this.#isFresh(time, nonce) || !this.#deps.strangers.allow(rateKeyOf(address))) throw refused()
    const key = keyOfDid(id)
    const bytes = hexToBytesOf(64, signature)
    const text = signedText(request.method, request.path, this.#deps.self, time, nonce)
    if (!key || !bytes || !(await ed25519Verify(key, text, bytes)) || this.#nonces.has(nonce)) throw refused()
    this.#nonces.set(nonce, this.#deps.clock.now() + 2 * SIGNED_REQUEST_WINDOW_MS)
  }

  #isFresh(time: string, nonce: string): boolean {
    const now = this.#deps.clock.now()
    for (const [old, until] of this.#nonces) {
      if (until >= now) break
      this.#nonces.delete(old)
    }
    const at = Date.parse(time)
    return Math.abs(at - now) <= SIGNED_REQUEST_WINDOW_MS && !this.#nonces.has(nonce) && this.#nonces.size < MAX_REQUEST_NONCES
  }
}

/** One answer for every reason. */
const refused = (): KithError =>
  new KithError('NOT_AUTHORISED', 'the token of this node, or the signature of a peer with a grant, is needed')
