/** Random numbers from a seed that is printed with the test, so that a failure can be repeated: `KITH_TEST_SEED=… node --test FILE`. */
import type { TestContext } from 'node:test'

/** @returns numbers in [0, 1), as Math.random; mulberry32 */
export function seededRandom(t: TestContext): () => number {
  let state = Number(process.env['KITH_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 32)) >>> 0
  t.diagnostic(`KITH_TEST_SEED=${state}`)
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
