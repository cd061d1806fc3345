/**
 * Items of BEP 44: values of up to 1,000 bytes that the DHT keeps under the SHA-1 of the value (immutable), or of a public key and a
 * salt (mutable: signed, with a sequence number). Pure but for the signature.
 */
import { ed25519Sign, ed25519Verify } from '#crypto'
import { sha1 } from '#hash'
import { concatBytes, equalBytes, utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { decodeBencode } from '../bittorrent/bencode.ts'
import { type KrpcErrorCode, krpcErrors, type Signed } from './krpc.ts'
import { MAX_ITEM_BYTES, MAX_SALT_BYTES } from './limits.ts'

export interface Item {
  /** One bencoded value. */
  readonly value: Uint8Array
  /** undefined: immutable. */
  readonly signed: Signed | undefined
  /** Of a mutable item; empty when it has none. */
  readonly salt: Uint8Array
}

/** 20 bytes under which an item is kept. */
export const targetOf = (item: Item): Uint8Array<ArrayBuffer> =>
  item.signed ? mutableTarget(item.signed.key, item.salt) : sha1(item.value)

export const mutableTarget = (key: Uint8Array, salt: Uint8Array): Uint8Array<ArrayBuffer> => sha1(concatBytes(key, salt))

/** The bytes that a signature covers. */
export function signedBytes(value: Uint8Array, seq: number, salt: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = salt.length > 0 ? [utf8(`4:salt${salt.length}:`), salt] : []
  return concatBytes(...head, utf8(`3:seqi${seq}e1:v`), value)
}

/** Signs a mutable item. @param seed of the Ed25519 key whose public half is `key` @throws DHT_ITEM_REFUSED beyond the limits */
export async function signItem(
  seed: Uint8Array,
  key: Uint8Array,
  value: Uint8Array,
  seq: number,
  salt: Uint8Array = new Uint8Array()
): Promise<Item> {
  const signature = await ed25519Sign(seed, signedBytes(value, seq, salt))
  const item = { value, signed: { key, signature, seq }, salt }
  const code = sizeError(item)
  if (code !== undefined) throw refusal(code)
  return item
}

/** Why an item is too large; undefined when it is not. */
export function sizeError({ value, salt }: Item): KrpcErrorCode | undefined {
  if (value.length > MAX_ITEM_BYTES) return krpcErrors.tooLarge
  return salt.length > MAX_SALT_BYTES ? krpcErrors.saltTooLong : undefined
}

/** Whether the signature is right; immutable items have none and need none. */
export async function isGenuine({ value, signed, salt }: Item): Promise<boolean> {
  return signed === undefined || (await ed25519Verify(signed.key, signedBytes(value, signed.seq, salt), signed.signature))
}

/** Why an item may not follow the one that is kept (same target); undefined when it may. */
export function orderError(before: Item | undefined, item: Item, cas: number | undefined): KrpcErrorCode | undefined {
  if (!before?.signed || !item.signed) return undefined
  if (cas !== undefined && cas !== before.signed.seq) return krpcErrors.casMismatch
  if (item.signed.seq < before.signed.seq) return krpcErrors.seqTooLow
  return item.signed.seq === before.signed.seq && !equalBytes(item.value, before.value) ? krpcErrors.seqTooLow : undefined
}

/** @throws DHT_ITEM_REFUSED unless `value` is one bencoded value in its one spelling and not too long */
export function checkValue(value: Uint8Array): void {
  if (value.length > MAX_ITEM_BYTES) throw refusal(krpcErrors.tooLarge)
  try {
    decodeBencode(value)
  } catch (cause) {
    throw new KithError('DHT_ITEM_REFUSED', 'the value is not bencoded', { code: krpcErrors.protocol }, { cause })
  }
}

export const refusal = (code: number, why = ''): KithError =>
  new KithError('DHT_ITEM_REFUSED', `the item breaks the rules${why && `: ${why}`}`, { code })
