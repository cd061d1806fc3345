import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { layersOf, v2DigestOf } from '../../../test/interop/bt-v2.ts'
import { MemoryShare, seededBytes } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import type { Share } from '../protocol.ts'
import { type HashRequest, isAnswerable, provesHashes, requestsForLayer, treeHeight, uncleCount } from './hashes.ts'
import { HashServer } from './hashes-server.node.ts'

const BLOCK = 16 * 1024
const CHUNK = 256 * 1024
const shareOf = (content: Uint8Array<ArrayBuffer>, chunks?: Iterable<number>): MemoryShare =>
  new MemoryShare(content, { v2: v2DigestOf(content), ...(chunks ? { chunks } : {}) })
const server = (): HashServer => new HashServer(systemClock)
const contents = [1, BLOCK, BLOCK + 1, 5 * BLOCK, CHUNK, CHUNK + 1, 3 * CHUNK - 7, 8 * CHUNK, 9 * CHUNK + 5].map(n => seededBytes(n))

/** Every request that one may make about a file. */
function requestsOf(share: Share): HashRequest[] {
  const height = treeHeight(share.grid.size)
  const out: HashRequest[] = []
  for (const baseLayer of height > 4
    ? [
        0,
        ...Array(height - 3)
          .keys()
          .map(i => i + 4)
      ]
    : [0, height])
    for (let length = 1; length <= 2 ** (height - baseLayer); length *= 2)
      for (let index = 0; index < 2 ** (height - baseLayer); index += length)
        for (let proofLayers = 0; proofLayers < height - baseLayer; proofLayers++)
          out.push({ root: share.v2!.root, baseLayer, index, length, proofLayers })
  return out
}

for (const content of contents) {
  test(`a file of ${content.length} bytes: every answer holds the right hashes, and proves them when the proof goes to the top`, async () => {
    const share = shareOf(content)
    const height = treeHeight(content.length)
    const layers = layersOf(content)
    const hashes = server()
    const all = requestsOf(share)
    for (const request of all.filter((_, i) => i % Math.ceil(all.length / 150) === 0)) {
      const answer = await hashes.answer(share, request)
      assert.ok(answer, JSON.stringify(request))
      const { baseLayer, index, length } = request
      assert.deepEqual(Buffer.from(answer.subarray(0, 32 * length)), Buffer.concat(layers[baseLayer]!.slice(index, index + length)))
      const whole = baseLayer + Math.log2(length) + uncleCount(request) === height
      assert.equal(provesHashes(request, answer, height), whole)
      for (const at of [0, 32 * length - 1, answer.length - 1]) {
        const bad = Uint8Array.from(answer)
        bad[at]! ^= 1
        assert.ok(!provesHashes(request, bad, height))
      }
    }
  })
}
test('a piece layer asked for in parts arrives whole', async () => {
  const content = seededBytes(600 * BLOCK + 3)
  const share = shareOf(content)
  for (const pieceLength of [BLOCK, CHUNK]) {
    const parts: Buffer[] = []
    const requests = requestsForLayer(share.v2!.root, content.length, pieceLength)
    for (const request of requests) {
      const answer = await server().answer(share, request)
      assert.ok(answer && provesHashes(request, answer, treeHeight(content.length)))
      parts.push(Buffer.from(answer.subarray(0, 32 * request.length)))
    }
    assert.equal(requests.length, pieceLength === BLOCK ? 2 : 1)
    const { layer } = v2DigestOf(content, pieceLength)
    assert.deepEqual(Buffer.concat(parts).subarray(0, layer.length), Buffer.from(layer))
  }
})

const share = shareOf(contents.at(-1)!)
const fine: HashRequest = { root: share.v2!.root, baseLayer: 4, index: 0, length: 2, proofLayers: 3 }
// threats BT5
for (const [why, request] of [
  ['another root', { ...fine, root: new Uint8Array(32) }],
  ['the root', { ...fine, baseLayer: 8, length: 1, proofLayers: 0 }],
  ['a layer above the root', { ...fine, baseLayer: 9 }],
  ['a layer that is not kept', { ...fine, baseLayer: 2 }],
  ['an index behind the layer', { ...fine, index: 16 }],
  ['an index that is no multiple', { ...fine, index: 1 }],
  ['a length of 0', { ...fine, length: 0 }],
  ['a length of 3', { ...fine, length: 3 }],
  ['a length of 1,024', { ...fine, baseLayer: 0, length: 1024 }],
  ['a proof beyond the root', { ...fine, proofLayers: 4 }],
  ['numbers of 2^32 - 1', { ...fine, baseLayer: 0xffffffff, index: 0xffffffff, length: 0xffffffff, proofLayers: 0xffffffff }]
] as const) {
  test(`a request for ${why} is rejected`, async () => assert.equal(await server().answer(share, request), undefined))
}
test('leaf hashes are given of chunks that are there, of a file that has not changed, and as long as the budget lasts', async () => {
  const leaves = { ...fine, baseLayer: 0, length: 16, proofLayers: 7 }
  const partial = shareOf(contents.at(-1)!, [1])
  assert.equal(await server().answer(partial, leaves), undefined)
  assert.ok(await server().answer(partial, { ...leaves, index: 16 }))
  assert.ok(await server().answer(partial, fine), 'the chunk layer is known before the chunks are')
  partial.changed = true
  assert.equal(await server().answer(partial, { ...leaves, index: 16 }), undefined)
  const changed = new MemoryShare(seededBytes(9 * CHUNK + 5, 2), { v2: share.v2! })
  assert.equal(await server().answer(changed, leaves), undefined, 'a wrong leaf is never sent')
  const busy = new HashServer({ ...systemClock, monotonic: () => 0 })
  const before = share.bytesRead
  let answered = 0
  for (let i = 0; i < 300; i++) if (await busy.answer(share, leaves)) answered++
  assert.equal(answered, 255, '64 MiB at once, of which the upper layers took a little')
  assert.equal(share.bytesRead - before, answered * CHUNK)
  assert.ok(await busy.answer(share, fine), 'what needs no disk is answered still')
})
test('any request about any file is judged, and what is judged answerable never needs more uncles than the tree has layers', () => {
  const u32 = fc.oneof(fc.nat(40), fc.integer({ min: 0, max: 2 ** 32 - 1 }))
  const request = fc.record({ baseLayer: u32, index: u32, length: fc.oneof(u32, fc.constantFrom(1, 2, 4, 512)), proofLayers: u32 })
  fc.assert(
    fc.property(request, fc.integer({ min: 1, max: 2 ** 47 }), fc.uint8Array({ maxLength: 200 }), (r, size, bytes) => {
      const height = treeHeight(size)
      const full = { ...r, root: createHash('sha256').digest() }
      assert.equal(provesHashes(full, bytes, height), false)
      if (isAnswerable(full, height)) assert.ok(uncleCount(full) <= height && full.length <= 512)
    })
  )
})
