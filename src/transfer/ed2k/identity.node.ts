/**
 * Who we are to other clients: a user hash and an RSA key that stay the same. aMule bans whoever shows another hash at the same address,
 * and does not believe a new key under an old hash.
 */
import { generatePrimeSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { writeFileDurably } from '../../platform/files.node.ts'
import { asUserHash } from './hello.ts'
import { makeRsaKey, type RsaKey } from './rsa.ts'

export interface Ed2kIdentity {
  /** 16 bytes. */
  readonly userHash: Uint8Array
  /** undefined: no secure identification. */
  readonly key: RsaKey | undefined
}

/** A new one, for as long as somebody keeps it. */
export function makeEd2kIdentity(): Ed2kIdentity {
  const prime = (bits: number): bigint => BigInt(`0x${Buffer.from(generatePrimeSync(bits)).toString('hex')}`)
  return { userHash: asUserHash(randomBytes(16)), key: makeRsaKey(prime) }
}

/** The one in this file; made and written (mode 0600) when there is none, or it is damaged: it holds nothing of value. */
export function loadEd2kIdentity(path: string): Ed2kIdentity {
  try {
    const { userHash, n, d } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>
    const hash = hexToBytes(userHash ?? '')
    if (hash.length === 16 && n && d) return { userHash: asUserHash(hash), key: { n: BigInt(`0x${n}`), d: BigInt(`0x${d}`) } }
  } catch {
    // none yet
  }
  const made = makeEd2kIdentity()
  const text = JSON.stringify({ userHash: bytesToHex(made.userHash), n: made.key?.n.toString(16), d: made.key?.d.toString(16) })
  writeFileDurably(path, `${text}\n`)
  return made
}
