/** CRC-32C (Castagnoli), which BEP 40 and BEP 42 take of addresses: a few bytes at a time, so a table does. Pure. */

/** The reflected polynomial, one byte at a time. */
const TABLE: Uint32Array = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1
  return c
})

/** CRC-32C of `bytes` as an unsigned number. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff
  for (const b of bytes) c = TABLE[(c ^ b) & 0xff]! ^ (c >>> 8)
  return (c ^ 0xffffffff) >>> 0
}
