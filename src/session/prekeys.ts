/**
 * Prekeys: X25519 keys to which messages for an instance are sealed while it is away, signed by it. Once a week there is a new one; two
 * weeks after it was made the secret half is deleted, and what was sealed to it can be read by nobody any more.
 *
 * | bytes | field     | notes                                  |
 * | ----: | --------- | -------------------------------------- |
 * |     1 | version   | 1                                      |
 * |     8 | id        | random                                 |
 * |    32 | key       | X25519                                 |
 * |     8 | createdAt | ms since 1970                          |
 * |     8 | expiresAt | nothing is sealed to it after this     |
 *
 * This is the body of a Signed (wire/signed.ts) with domain "kith/prekey/1".
 * Spec: docs/wire/session.md §6
 */
import { x25519PublicKey } from '#crypto'
import { bytesToHex, equalBytes, hexToBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type Codec, decode, encode, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { openSigned } from '../identity/signing.ts'
import { signedBytes, signedCodec } from '../wire/signed.ts'
import { keyOfEntity } from './entity.ts'
import { CLOCK_WINDOW_MS, MAX_PREKEYS, PREKEY_KEPT_MS, PREKEY_ROTATION_MS } from './limits.ts'
import type { SessionSelf } from './types.ts'

export const PREKEY_DOMAIN = 'kith/prekey/1'

export interface Prekey {
  /** 16 hex digits. */
  readonly id: string
  readonly publicKey: Uint8Array
  readonly createdAt: number
  readonly expiresAt: number
}

/** One of our own. */
export interface StoredPrekey {
  readonly id: string
  readonly secret: Uint8Array
  /** The signed prekey, for others. */
  readonly signed: Uint8Array
  readonly createdAt: number
}

export interface PrekeyStore {
  list(): readonly StoredPrekey[]
  get(id: string): StoredPrekey | undefined
  /** Durable when it returns: the public half is published next. */
  put(prekey: StoredPrekey): void
  remove(id: string): void
}

export interface PrekeyDeps {
  readonly clock: Pick<Clock, 'now'>
  readonly random: (n: number) => Uint8Array
  readonly self: SessionSelf
}

const prekeyCodec: Codec<Prekey> = {
  write(w, m) {
    w.u8(1)
    w.bytes(hexToBytes(m.id))
    w.bytes(m.publicKey)
    w.u64(m.createdAt)
    w.u64(m.expiresAt)
  },
  read(r) {
    expectVersion(r, 1)
    const prekey = { id: bytesToHex(r.bytes(8)), publicKey: r.bytes(32), createdAt: r.u64(), expiresAt: r.u64() }
    const lifetime = prekey.expiresAt - prekey.createdAt
    if (lifetime <= 0 || lifetime > PREKEY_ROTATION_MS) throw new KithError('WIRE_RANGE', 'a prekey is used for a week', { lifetime })
    return prekey
  }
}

/**
 * The prekey to publish, made if there is none that is young enough; deletes those that are too old. To be called now and then, and before
 * a prekey is told to anybody.
 */
export async function rotatePrekeys(deps: PrekeyDeps, store: PrekeyStore): Promise<StoredPrekey> {
  const now = deps.clock.now()
  const byAge = [...store.list()].sort((a, b) => b.createdAt - a.createdAt)
  // One from the future is of a clock that was wrong: others refuse it, so there has to be another.
  const current = byAge.find(p => p.createdAt <= now + CLOCK_WINDOW_MS && now < p.createdAt + PREKEY_ROTATION_MS)
  const kept = current ?? (await makePrekey(deps))
  if (!current) store.put(kept)
  const others = byAge.filter(p => p.id !== kept.id)
  for (const [i, p] of others.entries()) if (now >= p.createdAt + PREKEY_KEPT_MS || i >= MAX_PREKEYS - 1) store.remove(p.id)
  return kept
}

async function makePrekey({ clock, random, self }: PrekeyDeps): Promise<StoredPrekey> {
  const [id, secret, createdAt] = [bytesToHex(random(8)), Uint8Array.from(random(32)), clock.now()]
  const publicKey = await x25519PublicKey(secret)
  const body = encode(prekeyCodec, { id, publicKey, createdAt, expiresAt: createdAt + PREKEY_ROTATION_MS })
  const signature = await self.signBytes(signedBytes(PREKEY_DOMAIN, body))
  return { id, secret, signed: encode(signedCodec, { body, signer: self.publicKey, signature }), createdAt }
}

/**
 * Reads a signed prekey of an instance.
 * @throws IDENTITY_MISMATCH when another has signed it, EXPIRED, WIRE_SIGNATURE, UNKNOWN_SENDER, or any WIRE_ code
 */
export async function readPrekey(bytes: Uint8Array, owner: string, clock: Pick<Clock, 'now'>): Promise<Prekey> {
  const signed = decode(signedCodec, bytes)
  if (!equalBytes(signed.signer, keyOfEntity(owner))) throw new KithError('IDENTITY_MISMATCH', 'the prekey is of somebody else')
  const prekey = await openSigned(prekeyCodec, PREKEY_DOMAIN, signed)
  const now = clock.now()
  if (now > prekey.expiresAt || prekey.createdAt > now + CLOCK_WINDOW_MS)
    throw new KithError('EXPIRED', 'the prekey may not be used now', { createdAt: prekey.createdAt, expiresAt: prekey.expiresAt })
  return prekey
}

/** Prekeys that end with the process: for tests. */
export class MemoryPrekeys implements PrekeyStore {
  readonly #byId = new Map<string, StoredPrekey>()

  list(): readonly StoredPrekey[] {
    return [...this.#byId.values()]
  }
  get(id: string): StoredPrekey | undefined {
    return this.#byId.get(id)
  }
  put(prekey: StoredPrekey): void {
    this.#byId.set(prekey.id, prekey)
  }
  remove(id: string): void {
    this.#byId.delete(id)
  }
}
