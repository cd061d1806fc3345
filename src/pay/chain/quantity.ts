/** Strict readers of the hex and JSON that Ethereum nodes speak. Whatever they refuse is RPC_ERROR: the endpoint cannot be used. */
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { MAX_JSON_DEPTH } from '../limits.ts'

const bad = (what: string): KithError => new KithError('RPC_ERROR', `the chain's endpoint answered with a bad ${what}`, { what })

/** "0x0", "0x1f": no leading zeros, at most 2^256 - 1. @throws RPC_ERROR */
export function readQuantity(v: unknown, what: string): bigint {
  if (typeof v !== 'string' || !/^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})$/.test(v)) throw bad(what)
  return BigInt(v)
}

/** A quantity that is a safe integer: block numbers, nonces, indices. @throws RPC_ERROR */
export function readCount(v: unknown, what: string): number {
  const n = readQuantity(v, what)
  if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(what)
  return Number(n)
}

/** "0x" and whole bytes. @throws RPC_ERROR when longer than `max` bytes or of another form */
export function readData(v: unknown, max: number, what: string): Uint8Array<ArrayBuffer> {
  if (typeof v !== 'string' || v.length > 2 + 2 * max || !/^0x([0-9a-fA-F]{2})*$/.test(v)) throw bad(what)
  return hexToBytes(v.slice(2))
}

/** Exactly 32 bytes, as lower-case hex with 0x. @throws RPC_ERROR */
export function readHash(v: unknown, what: string): string {
  const b = readData(v, 32, what)
  if (b.length !== 32) throw bad(what)
  return toHex(b)
}

/** Exactly 20 bytes. @throws RPC_ERROR */
export function readAddress(v: unknown, what: string): Uint8Array<ArrayBuffer> {
  const b = readData(v, 20, what)
  if (b.length !== 20) throw bad(what)
  return b
}

/** A JSON object (not null, not an array). @throws RPC_ERROR */
export function readObject(v: unknown, what: string): Record<string, unknown> {
  if (typeof v !== 'object' || v === null || Array.isArray(v)) throw bad(what)
  return v as Record<string, unknown>
}

/** An array of at most `max` entries. @throws RPC_ERROR */
export function readArray(v: unknown, max: number, what: string): readonly unknown[] {
  if (!Array.isArray(v) || v.length > max) throw bad(what)
  return v
}

/** JSON.parse with bounded nesting, because deep nesting makes it (and whoever walks the value) slow. @throws what `fail` makes */
export function parseJson(text: string, fail: () => KithError = () => bad('JSON')): unknown {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inString) {
      if (c === 0x5c) i++
      else if (c === 0x22) inString = false
    } else if (c === 0x22) inString = true
    else if (c === 0x5b || c === 0x7b) {
      if (++depth > MAX_JSON_DEPTH) throw fail()
    } else if (c === 0x5d || c === 0x7d) depth--
  }
  try {
    return JSON.parse(text)
  } catch {
    throw fail() // no cause: it would quote remote text
  }
}

/** Bytes to "0x…". */
export const toHex = (bytes: Uint8Array): `0x${string}` => `0x${bytesToHex(bytes)}`
/** A number or amount to a quantity. */
export const toQuantity = (n: number | bigint): `0x${string}` => `0x${n.toString(16)}`
