/**
 * What each digest costs by itself, in memory, without files, workers or our code around it: ns per byte on one core, printed as JSON.
 * Run as often at once as there are cores that hashing uses, so that they heat and share what they share in real work.
 */
import { createHash, hash, randomFillSync } from 'node:crypto'
import { createMD4 } from 'hash-wasm'

const CHUNK = 256 * 1024
const BLOCK = 16 * 1024
const data = randomFillSync(Buffer.alloc(38 * CHUNK)) // about an ed2k part
const PART = 9_728_000
const ROUNDS = 12

const md4 = await createMD4()
const each = (size: number, work: (bytes: Buffer) => void): void => {
  for (let at = 0; at < data.length; at += size) work(data.subarray(at, at + size))
}

/** BEP 52: 16 leaves and the 15 nodes above them. */
function v2(chunk: Buffer): void {
  let layer: Buffer[] = []
  for (let at = 0; at < chunk.length; at += BLOCK) layer.push(hash('sha256', chunk.subarray(at, at + BLOCK), 'buffer'))
  while (layer.length > 1) {
    const pairs = Buffer.concat(layer)
    layer = layer.slice(layer.length / 2).map((_, i) => hash('sha256', pairs.subarray(64 * i, 64 * i + 64), 'buffer'))
  }
}

const digests: Record<string, () => void> = {
  whole: () => {
    const h = createHash('sha256')
    each(4 * CHUNK, bytes => h.update(bytes))
    h.digest()
  },
  chunks: () => each(CHUNK, bytes => hash('sha256', bytes, 'buffer')),
  sha1: () => each(CHUNK, bytes => hash('sha1', bytes, 'buffer')),
  v2: () => each(CHUNK, v2),
  md4: () => {
    md4.init()
    md4.update(data.subarray(0, PART))
    md4.digest('binary')
  },
  aich: () => each(184_320, bytes => hash('sha1', bytes, 'buffer'))
}

const nsPerByte: Record<string, number> = {}
for (const [name, run] of Object.entries(digests)) {
  let bestMs = Number.POSITIVE_INFINITY // a slow round says more about other work on the machine than about the digest
  for (let i = 0; i < ROUNDS; i++) {
    const began = performance.now()
    run()
    bestMs = Math.min(bestMs, performance.now() - began)
  }
  nsPerByte[name] = (bestMs * 1e6) / (name === 'md4' ? PART : data.length)
}
console.log(JSON.stringify(nsPerByte))
