import assert from 'node:assert/strict'
import { hash, randomFillSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { ChunkHasher } from './chunk-hasher.node.ts'
import { Sha256Lanes } from './sha256-lanes.ts'

const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')
const shared = (bytes: Uint8Array): Uint8Array => {
  const out = new Uint8Array(new SharedArrayBuffer(bytes.length))
  out.set(bytes)
  return out
}

test('four lanes know the SHA-256 of 64 zero bytes', () => {
  const zeros = new Uint8Array(64)
  const digests = new Sha256Lanes().hash([zeros, zeros, zeros, zeros])
  for (const d of digests) assert.equal(hex(d), 'f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b')
})

test('four lanes agree with OpenSSL for any four messages of whole blocks', () => {
  const lanes = new Sha256Lanes()
  const four = fc
    .integer({ min: 1, max: 600 })
    .chain(blocks => fc.array(fc.uint8Array({ minLength: 64 * blocks, maxLength: 64 * blocks }), { minLength: 4, maxLength: 4 }))
  fc.assert(
    fc.property(four, messages => {
      assert.deepEqual(
        lanes.hash(messages).map(hex),
        messages.map(m => hash('sha256', m))
      )
    }),
    { numRuns: 60 }
  )
})

test('lengths that are no whole blocks, or differ, are refused', () => {
  const lanes = new Sha256Lanes()
  assert.throws(() => lanes.hash([1, 2, 3, 4].map(() => new Uint8Array(65))), RangeError)
  assert.throws(() => lanes.hash([64, 64, 64, 128].map(n => new Uint8Array(n))), RangeError)
})

for (const lanes of ['always', 'never', 'measured'] as const) {
  test(`chunks of any number and length get their digests in order (lanes: ${lanes})`, () => {
    const hasher = new ChunkHasher({ lanes })
    const chunk = (n: number): Uint8Array => shared(randomFillSync(new Uint8Array(n)))
    const sizes = [...Array<number>(11).fill(4096), 1, 64, 4096, 4096, 4096, 4096, 0, 100]
    const chunks = sizes.map(chunk)
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(
        hasher.hash('sha256', chunks).map(hex),
        chunks.map(c => hash('sha256', c))
      )
    }
    assert.deepEqual(
      hasher.hash('sha1', chunks).map(hex),
      chunks.map(c => hash('sha1', c))
    )
  })
}
