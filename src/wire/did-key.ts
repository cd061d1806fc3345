/**
 * did:key of Ed25519 keys, the ids of entities: "did:key:z" + base58btc of 0xed 0x01 and the 32 bytes of the key. Always 56 characters, so
 * there is one spelling of each.
 * Spec: docs/wire/message.md §2, W3C did:key 0.9 §3.1
 */
const PREFIX = 'did:key:z'
const DID_CHARS: number = PREFIX.length + 47
const SHAPE = /^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const DIGITS = new Uint8Array(128)
for (let i = 0; i < 58; i++) DIGITS[ALPHABET.charCodeAt(i)] = i
/** Nine base58 digits are below 2^53. */
const GROUP = 9
const GROUP_VALUE = 58n ** 9n
const MULTICODEC = 0xed01n

/** Whether a text looks like the did:key of an Ed25519 key; `keyOfDid` decides. Costs next to nothing. */
export const looksLikeDid = (text: string): boolean => text.length === DID_CHARS && SHAPE.test(text)

/** The Ed25519 key inside a did:key; undefined for any other text, other kinds of keys included. Whether the key is a point is not checked. */
export function keyOfDid(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!looksLikeDid(text)) return undefined
  let value = 0n
  let at = PREFIX.length
  // 47 digits: two, then five groups of nine.
  for (let end = at + 2; end <= DID_CHARS; end += GROUP) {
    let group = 0
    for (; at < end; at++) group = group * 58 + DIGITS[text.charCodeAt(at)]!
    value = value * GROUP_VALUE + BigInt(group)
  }
  if (value >> 256n !== MULTICODEC) return undefined
  const key = new Uint8Array(32)
  const view = new DataView(key.buffer)
  for (let i = 3; i >= 0; i--) {
    view.setBigUint64(i * 8, BigInt.asUintN(64, value))
    value >>= 64n
  }
  return key
}

/** did:key of an Ed25519 public key of 32 bytes. */
export function didOfKey(publicKey: Uint8Array): string {
  if (publicKey.length !== 32) throw new RangeError('an Ed25519 key has 32 bytes')
  const view = new DataView(publicKey.buffer, publicKey.byteOffset, 32)
  let value = MULTICODEC
  for (let i = 0; i < 32; i += 8) value = (value << 64n) | view.getBigUint64(i)
  let text = ''
  for (; value > 0n; value /= GROUP_VALUE) {
    let group = Number(value % GROUP_VALUE)
    for (let i = 0; i < GROUP && (group > 0 || value >= GROUP_VALUE); i++) {
      text = ALPHABET[group % 58] + text
      group = Math.floor(group / 58)
    }
  }
  return PREFIX + text
}
