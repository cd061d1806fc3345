/** Random bytes a few at a time: the system is asked for many at once, because each time costs as much as encrypting a message. */

const POOL_BYTES = 4096
/** More than this at once comes from the system directly. */
const SMALL_BYTES = 64

/** @param random the system's generator @returns the same, faster for few bytes. No byte is given out twice. */
export function pooledRandom(random: (n: number) => Uint8Array): (n: number) => Uint8Array {
  let pool = new Uint8Array()
  let at = 0
  return n => {
    if (n > SMALL_BYTES) return random(n)
    if (at + n > pool.length) {
      pool = random(POOL_BYTES).slice()
      at = 0
    }
    const out = pool.slice(at, at + n)
    pool.fill(0, at, (at += n))
    return out
  }
}
