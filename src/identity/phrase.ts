/** Recovery phrases (BIP-39, English): made, checked, and turned into the person's keys. */

import { entropyToMnemonic, mnemonicToSeed, validateMnemonic } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { hkdfSha256, randomBytes } from '#crypto'
import { sha256 } from '#hash'
import { bytesToBase64Url, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { MAX_PHRASE_CHARS } from './limits.ts'

/** Secret keys of a person, all from one phrase. A key for another purpose gets another label, never a part of these. */
export interface PersonKeys {
  /** Ed25519 seed. */
  readonly sign: Uint8Array
  /** X25519 secret key. */
  readonly encrypt: Uint8Array
  /** 64 characters of [0-9A-Za-z_-]: ONE's `personEmail`, the same on every device of the person. */
  readonly email: string
}

/** A new phrase of 12 or 24 words. `random` is for tests that need a known phrase. */
export function createPhrase(words: 12 | 24 = 12, random: (n: number) => Uint8Array = randomBytes): string {
  return entropyToMnemonic(random(words === 12 ? 16 : 32), wordlist)
}

/**
 * Lower case, single spaces, so that a phrase typed or pasted in any layout is one string.
 * @throws BAD_PHRASE when it is not 12 or 24 known words with the right checksum
 */
export function normalisePhrase(text: string): string {
  const phrase = text.length > MAX_PHRASE_CHARS ? '' : text.normalize('NFKD').trim().toLowerCase().split(/\s+/).join(' ')
  const words = phrase.split(' ').length
  if ((words !== 12 && words !== 24) || !validateMnemonic(phrase, wordlist)) {
    throw new KithError(
      'BAD_PHRASE',
      'not a recovery phrase',
      { words },
      { hint: 'give the 12 or 24 words in their order, separated by spaces' }
    )
  }
  return phrase
}

/** Keys of the person behind a phrase. The wallet's key is derived elsewhere, by BIP-44. @throws BAD_PHRASE */
export async function personKeysOf(text: string): Promise<PersonKeys> {
  const seed = await mnemonicToSeed(normalisePhrase(text))
  const derive = (label: string, length: number): Promise<Uint8Array<ArrayBuffer>> => hkdfSha256(seed, utf8(label), length)
  return {
    sign: await derive('kith/person/sign/1', 32),
    encrypt: await derive('kith/person/encrypt/1', 32),
    email: bytesToBase64Url(await derive('kith/person/email/1', 48))
  }
}

/**
 * Six words (66 bits of SHA-256 of the key) for two people to compare on their screens. Not secret.
 * The first 11 bits are word one, and so on.
 */
export function fingerprintOf(key: Uint8Array): string[] {
  const bits = [...sha256(key).subarray(0, 9)].map(b => b.toString(2).padStart(8, '0')).join('')
  return Array.from({ length: 6 }, (_, i) => wordlist[Number.parseInt(bits.slice(11 * i, 11 * i + 11), 2)]!)
}
