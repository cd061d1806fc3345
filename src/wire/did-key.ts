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
/** Arithmetic goes by limbs of 24 bits and groups of four digits: their products are exact, and no BigInt is needed. */
const LIMB = 2 ** 24
const GROUP = 4
const GROUP_VALUE: number = 58 ** GROUP
/** 34 bytes and a little more. */
const LIMBS = 12

/** Whether a text looks like the did:key of an Ed25519 key; `keyOfDid` decides. Costs next to nothing. */
export const looksLikeDid = (text: string): boolean => text.length === DID_CHARS && SHAPE.test(text)

/** The last that was read: most messages come from whom the one before came from. */
let last: { readonly text: string; readonly key: Uint8Array<ArrayBuffer> } | undefined

/** The Ed25519 key inside a did:key; undefined for any other text, other kinds of keys included. Whether the key is a point is not checked. */
export function keyOfDid(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (last?.text !== text) {
    const key = readKey(text)
    if (!key) return undefined
    last = { text, key }
  }
  return last.key.slice()
}

function readKey(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!looksLikeDid(text)) return undefined
  /** The number, its lowest limb first. */
  const limbs = new Array<number>(LIMBS).fill(0)
  let at = PREFIX.length
  // 47 digits: three, then eleven groups of four.
  for (let end = at + 3; end <= DID_CHARS; end += GROUP) {
    let carry = 0
    for (; at < end; at++) carry = carry * 58 + DIGITS[text.charCodeAt(at)]!
    for (let i = 0; i < LIMBS; i++) {
      const sum = limbs[i]! * GROUP_VALUE + carry
      carry = Math.floor(sum / LIMB)
      limbs[i] = sum - carry * LIMB
    }
  }
  const byte = (n: number): number => (limbs[Math.floor(n / 3)]! >> (8 * (n % 3))) & 0xff
  // 0xed 0x01 above the 32 bytes, and nothing above them.
  if (byte(32) !== 0x01 || byte(33) !== 0xed || byte(34) !== 0 || byte(35) !== 0) return undefined
  const key = new Uint8Array(32)
  for (let n = 0; n < 32; n++) key[n] = byte(31 - n)
  return key
}

/** did:key of an Ed25519 public key of 32 bytes. */
export function didOfKey(publicKey: Uint8Array): string {
  if (publicKey.length !== 32) throw new RangeError('an Ed25519 key has 32 bytes')
  const view = new DataView(publicKey.buffer, publicKey.byteOffset, 32)
  let value = 0xed01n
  for (let i = 0; i < 32; i += 8) value = (value << 64n) | view.getBigUint64(i)
  let text = ''
  for (; value > 0n; value /= 58n) text = ALPHABET[Number(value % 58n)] + text
  return PREFIX + text
}
