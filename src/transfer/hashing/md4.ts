/**
 * MD4 (RFC 1320) for short inputs, everywhere: hash sets, keywords. OpenSSL 3 has none. MD4 is broken: it names files in eDonkey and
 * proves nothing, which is why every byte that comes by it is checked against SHA-256 in the end.
 */

const BLOCK = 64
/** RFC 1320 §3.4: what each of the sixteen steps of a round rotates by (in turn) and takes from the block. */
export const MD4_ROUNDS = [
  { shifts: [3, 7, 11, 19], constant: 0, words: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] },
  { shifts: [3, 5, 9, 13], constant: 0x5a827999, words: [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15] },
  { shifts: [3, 9, 11, 15], constant: 0x6ed9eba1, words: [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15] }
] as const

/** MD4 of `bytes`: 16 bytes. For megabytes use md4-fast.ts. */
export function md4(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const padded = new Uint8Array((Math.floor((bytes.length + 8) / BLOCK) + 1) * BLOCK)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n, true)
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]
  for (let at = 0; at < padded.length; at += BLOCK) compress(state, view, at)
  const digest = new Uint8Array(16)
  for (const [i, word] of state.entries()) new DataView(digest.buffer).setUint32(4 * i, word, true)
  return digest
}

/** One block (RFC 1320 §3.4). The four words change roles from step to step instead of moving. */
function compress(state: number[], block: DataView, at: number): void {
  const s = [...state]
  for (const [round, { shifts, constant, words }] of MD4_ROUNDS.entries()) {
    for (const [i, word] of words.entries()) {
      const role = (n: number): number => (n - i + 16) % 4
      const [a, b, c, d] = [s[role(0)]!, s[role(1)]!, s[role(2)]!, s[role(3)]!]
      const mixed = round === 0 ? (b & c) | (~b & d) : round === 1 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d
      const sum = (a + mixed + block.getUint32(at + 4 * word, true) + constant) | 0
      const shift = shifts[i % 4]!
      s[role(0)] = (sum << shift) | (sum >>> (32 - shift))
    }
  }
  for (const i of state.keys()) state[i] = (state[i]! + s[i]!) >>> 0
}
