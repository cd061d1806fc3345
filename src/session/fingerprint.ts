/** Words that two people read to each other to be sure that nobody stands between them. */
import { fingerprintOf } from '../identity/phrase.ts'
import { keyOfEntity } from './entity.ts'

/**
 * The six words of each of two instances (identity's fingerprint), the lower key first: the same twelve words on both screens, whoever asks.
 * One short hash over both keys would not do: somebody in the middle chooses a key towards each side, and finds two that agree on 66 bits by
 * 2^33 tries; of a key with given six words 2^66 are needed.
 * @throws UNKNOWN_SENDER when an id is not the did:key of an Ed25519 key
 */
export function verificationWords(a: string, b: string): string[] {
  return [a, b].sort((x, y) => (x < y ? -1 : Number(x > y))).flatMap(id => fingerprintOf(keyOfEntity(id)))
}
