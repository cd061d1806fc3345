/** Large messages on their way in: what is announced costs nothing, what comes is bounded (threats CO9). */
import assert from 'node:assert/strict'
import test from 'node:test'
import { sha256 } from '#hash'
import type { ChunkInit, ChunkPart } from '../../wire/chunk-payloads.ts'
import {
  MAX_PARTIAL_BYTES,
  MAX_PARTIAL_BYTES_PER_PEER,
  MAX_PARTIALS,
  PART_OVERHEAD_BYTES,
  PARTIAL_IDLE_MS,
  PARTIAL_TOTAL_MS
} from '../limits.ts'
import { newUuid } from '../uuid.ts'
import { ChunkReceiver } from './chunk-receiver.ts'

const clock = { monotonic: () => 0 }
const PART = 64 * 1024
const KEPT = PART + PART_OVERHEAD_BYTES
const WHOLE = new Uint8Array(8 * 1024 * 1024).map((_, i) => i % 251)
const HASH = sha256(WHOLE)
const CHUNKS = WHOLE.length / PART
const initOf = (transferId: string, totalBytes = WHOLE.length, totalChunks = CHUNKS): ChunkInit => ({
  kind: 'init',
  ...{ transferId, originalMsgType: 'agent_message', totalBytes, totalChunks },
  sha256: HASH
})
function partOf(transferId: string, chunkIndex: number): ChunkPart {
  const data = WHOLE.slice(chunkIndex * PART, (chunkIndex + 1) * PART)
  return { kind: 'part', transferId, chunkIndex, totalChunks: CHUNKS, data, checksum: sha256(data).subarray(0, 16) }
}

test('ten thousand announcements take no memory and little time, and keep no transfer of others out', () => {
  const receiver = new ChunkReceiver(clock)
  const id = newUuid()
  receiver.init('honest', initOf(id))
  receiver.part('honest', partOf(id, 0))
  const before = process.memoryUsage().arrayBuffers
  for (let i = 0; i < 10_000; i++) receiver.init(`attacker ${i % 3}`, initOf(newUuid(), ...(i % 2 ? ([1, 1] as const) : [])))
  assert.ok(process.memoryUsage().arrayBuffers - before < WHOLE.length)
  assert.equal(receiver.bytes, KEPT)
  for (let i = 1; i < CHUNKS - 1; i++) assert.equal(receiver.part('honest', partOf(id, i)), undefined)
  const end = receiver.part('honest', partOf(id, CHUNKS - 1))
  assert.ok(end && 'whole' in end)
  assert.deepEqual(Buffer.compare(end.whole, WHOLE), 0)
  assert.equal(receiver.bytes, 0)
})

test('parts that contradict what was announced, or do not make it, are refused (threats CH2)', () => {
  const receiver = new ChunkReceiver(clock)
  const id = newUuid()
  receiver.init('peer', initOf(id))
  const part = partOf(id, 0)
  for (const wrong of [{ totalChunks: CHUNKS - 1 }, { data: WHOLE.slice(0, PART - 1) }, { chunkIndex: CHUNKS }])
    assert.throws(() => receiver.part('peer', { ...part, ...wrong }), { code: 'BAD_PAYLOAD' }, JSON.stringify(wrong).slice(0, 40))
  assert.equal(receiver.bytes, 0)
  assert.deepEqual(receiver.part('peer', { ...part, checksum: new Uint8Array(16) }), { missing: [[0, CHUNKS - 1]] })
  assert.equal(receiver.bytes, 0, 'a part with a wrong checksum is not kept')
  for (let i = 0; i < CHUNKS - 1; i++) receiver.part('peer', partOf(id, i))
  const data = WHOLE.slice(0, PART)
  const last = { ...partOf(id, CHUNKS - 1), data, checksum: sha256(data).subarray(0, 16) }
  assert.throws(() => receiver.part('peer', last), { code: 'TRANSFER_BROKEN' })
  assert.equal(receiver.bytes, 0)
})

test('parts of one peer, and of all, are bounded; the transfer that grows is not the one that goes', () => {
  const receiver = new ChunkReceiver(clock)
  const send = (from: string): void => {
    const id = newUuid()
    receiver.init(from, initOf(id))
    for (let i = 0; i < CHUNKS - 1; i++) assert.equal(receiver.part(from, partOf(id, i)), undefined)
  }
  for (let i = 0; i < 3; i++) send('one')
  assert.ok(receiver.bytes <= MAX_PARTIAL_BYTES_PER_PEER && receiver.bytes > MAX_PARTIAL_BYTES_PER_PEER - WHOLE.length)
  for (let i = 0; i < 12; i++) send(`peer ${i}`)
  assert.ok(receiver.bytes <= MAX_PARTIAL_BYTES && receiver.bytes > MAX_PARTIAL_BYTES - WHOLE.length)
})

test('many names do not push out the transfer of one peer, neither by announcing nor by sending', () => {
  const receiver = new ChunkReceiver(clock)
  const id = newUuid()
  receiver.init('honest', initOf(id))
  const flood = (n: number): void => {
    for (let i = 0; i < 12; i++) {
      const theirs = newUuid()
      receiver.init(`attacker ${n} ${i}`, initOf(theirs))
      for (let k = 0; k < CHUNKS - 1; k++) receiver.part(`attacker ${n} ${i}`, partOf(theirs, k))
    }
    for (let i = 0; i < 2 * MAX_PARTIALS; i++) receiver.init(`name ${n} ${i}`, initOf(newUuid()))
  }
  for (let i = 0; i < CHUNKS - 1; i++) {
    assert.equal(receiver.part('honest', partOf(id, i)), undefined)
    if (i % 50 === 25) flood(i)
  }
  const end = receiver.part('honest', partOf(id, CHUNKS - 1))
  assert.ok(end && 'whole' in end)
})

test('what was left is forgotten when nobody sends anything any more, and what goes on for too long as well', () => {
  let now = 0
  const receiver = new ChunkReceiver({ monotonic: () => now })
  const [left, slow] = [newUuid(), newUuid()]
  for (const id of [left, slow]) {
    receiver.init('one', initOf(id))
    receiver.part('one', partOf(id, 0))
  }
  assert.equal(receiver.dueAt, PARTIAL_IDLE_MS)
  now = PARTIAL_IDLE_MS - 1
  receiver.part('one', partOf(slow, 1))
  receiver.dropOld()
  assert.equal(receiver.bytes, 3 * KEPT)
  now++
  receiver.dropOld()
  assert.equal(receiver.bytes, 2 * KEPT)
  for (let i = 2; now < PARTIAL_TOTAL_MS; i++) {
    now = Math.min(PARTIAL_TOTAL_MS, receiver.dueAt! - 1)
    receiver.part('one', partOf(slow, i))
    receiver.dropOld()
  }
  assert.deepEqual([receiver.bytes, receiver.dueAt], [0, undefined])
})

test('parts of one byte count for what they take', () => {
  const receiver = new ChunkReceiver(clock)
  const data = WHOLE.slice(0, 1)
  const checksum = sha256(data).subarray(0, 16)
  for (let n = 0; n < 100; n++) {
    const id = newUuid()
    receiver.init(`peer ${n}`, initOf(id, 1024, 1024))
    for (let chunkIndex = 0; chunkIndex < 1023; chunkIndex++)
      receiver.part(`peer ${n}`, { kind: 'part', transferId: id, chunkIndex, totalChunks: 1024, data, checksum })
  }
  assert.ok(receiver.bytes <= MAX_PARTIAL_BYTES && receiver.bytes > MAX_PARTIAL_BYTES / 2)
})
