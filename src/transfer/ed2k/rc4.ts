/** RC4, which eMule's obfuscation uses (no secrecy is claimed for it). node:crypto has none: OpenSSL 3 keeps it in its legacy provider. */
export class Rc4 {
  /** 32-bit numbers: a third faster than bytes. */
  readonly #s: Int32Array = new Int32Array(256)
  #i = 0
  #j = 0

  /** @param skip bytes of the key stream that are thrown away first */
  constructor(key: Uint8Array, skip: number) {
    const s = this.#s
    for (let i = 0; i < 256; i++) s[i] = i
    for (let i = 0, j = 0; i < 256; i++) {
      j = (j + s[i]! + key[i % key.length]!) & 255
      const t = s[i]!
      s[i] = s[j]!
      s[j] = t
    }
    this.apply(new Uint8Array(skip))
  }

  /** Encrypts or decrypts in place. @returns the same bytes */
  apply<T extends Uint8Array>(bytes: T): T {
    const s = this.#s
    let i = this.#i
    let j = this.#j
    const end = bytes.length
    for (let at = 0; at < end; at++) {
      i = (i + 1) & 255
      const a = s[i]!
      j = (j + a) & 255
      const b = s[j]!
      s[i] = b
      s[j] = a
      bytes[at] = bytes[at]! ^ s[(a + b) & 255]!
    }
    this.#i = i
    this.#j = j
    return bytes
  }
}
