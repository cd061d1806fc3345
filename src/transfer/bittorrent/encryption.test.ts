import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { RawPeer } from '../../../test/interop/bt-raw-peer.ts'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { type BitTorrent, openBitTorrent } from './bittorrent.node.ts'
import { Encryption, type EncryptionMode } from './encryption.ts'
import { encodeHandshake } from './messages.ts'
import { infoOfShare, parseInfo } from './metainfo.ts'

const CHUNK = 256 * 1024
const whole = new MemoryShare(seededBytes(9 * CHUNK + 77))
const { info, infoHash } = infoOfShare(whole)!
const torrent = parseInfo(info)

async function open(stack: AsyncDisposableStack, encryption: EncryptionMode, ...shares: MemoryShare[]): Promise<BitTorrent> {
  const deps = { clock: systemClock, log: silentLogger, gate: new TestGate(), shares: shareIndex(shares, () => infoHash) }
  const bt = stack.use(await openBitTorrent(deps, { listen: { host: '127.0.0.1', port: 0 }, encryption }))
  if (shares.length > 0) stack.use(bt.announceShare(infoHash, [], 'given'))
  return bt
}
const endpoint = (port: number) => ({
  host: '127.0.0.1',
  port,
  extra: infoHash,
  fileId: whole.fileId,
  grid: whole.grid,
  seeder: undefined,
  ticket: undefined
})

for (const [leech, seed, works] of [
  ['off', 'off', true],
  ['off', 'allowed', true],
  ['off', 'required', false],
  ['allowed', 'off', true],
  ['allowed', 'required', true],
  ['required', 'off', false],
  ['required', 'allowed', true],
  ['required', 'required', true]
] as const) {
  test(`encryption ${leech} meets ${seed}: ${works ? 'the file flows' : 'refused, not weakened'}`, async () => {
    await using stack = new AsyncDisposableStack()
    const seeder = await open(stack, seed, whole)
    const leecher = await open(stack, leech)
    const opening = leecher.openSource(endpoint(seeder.port), AbortSignal.timeout(10_000))
    if (!works) {
      await assert.rejects(opening, e => ['SOURCE_LOST', 'SOURCE_LIED'].includes(codeOf(e)))
      return
    }
    await using source = await opening
    const delivery = new MemoryDelivery(whole.grid, { first: 0, count: whole.grid.count })
    await source.fetch(delivery, AbortSignal.timeout(10_000))
    delivery.assertMatches(whole)
    assert.equal(delivery.chunks.size, whole.grid.count)
  })
}

test('both sides of a swarm fetch over one encrypted connection', async () => {
  await using stack = new AsyncDisposableStack()
  const a = await open(stack, 'required', new MemoryShare(whole.content, { chunks: [0, 2, 4] }))
  const b = await open(stack, 'required', new MemoryShare(whole.content, { chunks: [1, 3] }))
  const got = { a: 0, b: 0 }
  const join = (bt: BitTorrent, name: 'a' | 'b', port?: number): void => {
    const request = { torrent, left: () => 1, trust: 'given' as const, peers: port ? [{ host: '127.0.0.1', port }] : [] }
    const onSource: Parameters<BitTorrent['openSwarm']>[0]['onSource'] = async source => {
      const first = name === 'a' ? 1 : 0
      await eventually('it has the chunk', () => source.has(first))
      const delivery = new MemoryDelivery(whole.grid, { first, count: 1 })
      await source.fetch(delivery, AbortSignal.timeout(5000))
      delivery.assertMatches(whole)
      got[name]++
    }
    stack.use(bt.openSwarm({ ...request, onSource: source => void onSource(source) }))
  }
  join(a, 'a')
  join(b, 'b', a.port)
  await eventually('both have fetched', () => got.a === 1 && got.b === 1)
})

test('noise instead of an encrypted handshake ends the connection, and one address cannot begin many', async () => {
  await using stack = new AsyncDisposableStack()
  const seeder = await open(stack, 'allowed', whole)
  for (let i = 0; i < 3; i++) {
    const peer = stack.use(await RawPeer.dial(seeder.port))
    peer.raw(new Uint8Array(randomBytes(8000)).fill(7, 0, 1))
    await peer.closed()
    assert.equal(peer.handshake, undefined)
  }
  const limited = new Encryption({ ...systemClock, monotonic: () => 0 }, 'allowed')
  const taken = Array.from({ length: 50 }, () => limited.incoming('192.0.2.1').onEncrypted?.()).filter(Boolean).length
  assert.equal(taken, 20)
  assert.ok(limited.incoming('192.0.2.2').onEncrypted?.())
})

test('a plain handshake gets no answer where encryption is required', async () => {
  await using stack = new AsyncDisposableStack()
  const seeder = await open(stack, 'required', whole)
  const peer = stack.use(await RawPeer.dial(seeder.port))
  peer.raw(encodeHandshake({ infoHash, peerId: new Uint8Array(20).fill(1), fast: true, extended: true }))
  await peer.closed()
  assert.equal(peer.handshake, undefined)
})
