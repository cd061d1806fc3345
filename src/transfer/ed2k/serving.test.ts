/** What other programs get from us, and what ends their connection. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { inflateSync } from 'node:zlib'
import { ed2kOf } from '../../../test/interop/ed2k-digest.ts'
import { helloOf, TestClient, TestListener } from '../../../test/kits/ed2k-client.ts'
import { eventually, MemoryShare, type MemoryShareOptions, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { concatBytes, equalBytes, hexToBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { makeGrid } from '../grid.ts'
import type { Share } from '../protocol.ts'
import { LeReader, LeWriter } from './bytes.ts'
import { type Ed2k, openEd2k } from './ed2k.node.ts'
import { decodeFileAnswer, decodeHashSet, encodeFileRequest } from './file-request.ts'
import { encodeHello } from './hello.ts'
import { makeEd2kIdentity } from './identity.node.ts'
import { decodeSources } from './peers.ts'
import { publicKeyOf, rsaSign, rsaVerify } from './rsa.ts'

const PART = 9_728_000
const shareOf = (content: Uint8Array<ArrayBuffer>, options: MemoryShareOptions = {}): MemoryShare & { readonly hash: Uint8Array } => {
  const ed2k = ed2kOf(content)
  return Object.assign(new MemoryShare(content, { ...options, ed2k }), { hash: ed2k.hash })
}
async function serving(
  shares: readonly Share[],
  options: { slots?: number } = {}
): Promise<{ ed2k: Ed2k; gate: TestGate } & AsyncDisposable> {
  const gate = new TestGate()
  const deps = { clock: systemClock, log: silentLogger, shares: shareIndex(shares), gate }
  const ed2k = await openEd2k(deps, { listen: { host: '127.0.0.1', port: 0 }, ...options })
  return { ed2k, gate, [Symbol.asyncDispose]: () => ed2k[Symbol.asyncDispose]() }
}
const question = (hash: Uint8Array, size: number): Uint8Array =>
  encodeFileRequest({ hash, size, status: undefined, wantsName: true, wantsStatus: true, wantsAich: true, wantsSources: 4 }, 2)

/** Data of the next packets until `bytes` came; they must continue each other. */
async function readData(client: TestClient, from: number, bytes: number, is64 = false): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for (let at = from; at < from + bytes; ) {
    const r = new LeReader((await client.next(is64 ? 0xa2 : 0x46)).payload)
    r.hash()
    const [start, end] = is64 ? [r.u64(), r.u64()] : [r.u32(), r.u32()]
    assert.equal(start, at)
    assert.ok(end - start <= 10_240)
    parts.push(r.bytes(r.left))
    at = end
  }
  return concatBytes(...parts)
}

test('a client hears name, status, root and part hashes, in one packet and in the old ones', async () => {
  const share = shareOf(seededBytes(2 * PART + 5), { name: 'größe.bin' })
  await using s = await serving([share])
  await using client = await TestClient.dial(s.ed2k.port)
  client.send(0xc5, 0xa4, question(share.hash, share.grid.size))
  const answer = decodeFileAnswer((await client.next(0x93)).payload, share.grid.size)
  assert.deepEqual([answer.name, answer.status, answer.aich], ['größe.bin', { complete: true }, share.ed2k?.aich])
  client.send(0xe3, 0x58, concatBytes(share.hash, new Uint8Array(4)))
  assert.equal(new LeReader((await client.next(0x59)).payload.subarray(16)).text16(), 'größe.bin')
  client.send(0xe3, 0x4f, share.hash)
  assert.deepEqual((await client.next(0x50)).payload, concatBytes(share.hash, new Uint8Array(2)))
  client.send(0xe3, 0x51, share.hash)
  assert.deepEqual(decodeHashSet((await client.next(0x52)).payload).hashes, share.ed2k?.parts)
  client.send(0xc5, 0x97)
  assert.deepEqual((await client.next(0x98)).payload, new Uint8Array([127, 0, 0, 1]))
  client.send(0xc5, 0x9b, concatBytes(share.hash, new Uint8Array(22)))
  assert.deepEqual((await client.next(0x9c)).payload, share.hash, 'recovery is refused')
})
test('files that are unknown, of another size, or paid do not exist; of a partial one only whole parts do', async () => {
  const paid = shareOf(seededBytes(1000, 2), { pricePerMb: 5n })
  const partial = shareOf(seededBytes(2 * PART + 5), { chunks: Array.from({ length: 60 }, (_, i) => i) })
  const small = shareOf(seededBytes(500_000, 3), { chunks: [0] })
  await using s = await serving([paid, partial, small])
  await using client = await TestClient.dial(s.ed2k.port)
  for (const [hash, size] of [
    [paid.hash, 1000],
    [new Uint8Array(16), 5],
    [partial.hash, 7],
    [small.hash, 500_000]
  ] as const) {
    client.send(0xc5, 0xa4, question(hash, size))
    assert.deepEqual((await client.next(0x48)).payload, hash)
  }
  for (const opcode of [0x58, 0x4f, 0x51, 0x54]) {
    client.send(0xe3, opcode, opcode === 0x58 ? concatBytes(paid.hash, new Uint8Array(4)) : paid.hash)
    assert.deepEqual((await client.next(0x48)).payload, paid.hash)
  }
  client.send(0xc5, 0xa4, question(partial.hash, partial.grid.size))
  const { status } = decodeFileAnswer((await client.next(0x93)).payload, partial.grid.size)
  assert.deepEqual(status, { complete: false, count: 3, bits: new Uint8Array([1]) })
})
test('a download that is served: a Kith peer hears of each part that comes, and goes on with the share it becomes; others hear when it is gone', async () => {
  const content = seededBytes(2 * PART + 5)
  const running = shareOf(content, { chunks: [] })
  const index: { byEd2k: Share | undefined } = { byEd2k: running }
  const shares = { ...shareIndex([]), byEd2k: () => index.byEd2k }
  await using ed2k = await openEd2k(
    { clock: systemClock, log: silentLogger, shares, gate: new TestGate() },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  await using kith = await TestClient.connect(ed2k.port)
  kith.send(0xe3, 0x01, encodeHello({ ...helloOf({ number: 1 }), kithNonce: new Uint8Array(16) }, false))
  await kith.next(0x4c)
  await using other = await TestClient.dial(ed2k.port, { number: 2 })
  for (const client of [kith, other]) await client.begin(running.hash)
  for (let c = 38; c <= 74; c++) running.add(c) // the last one holds the whole third part
  running.add(37)
  for (const bits of [4, 6]) {
    const { status } = decodeFileAnswer((await kith.next(0x93)).payload, content.length)
    assert.deepEqual(status, { complete: false, count: 3, bits: new Uint8Array([bits]) })
  }
  kith.ask(running.hash, [0, 10])
  assert.deepEqual((await kith.next(0x4b)).payload[17], 1, 'missing')
  index.byEd2k = shareOf(content)
  for (const client of [kith, other]) {
    client.ask(running.hash, [0, 10])
    assert.ok(equalBytes(new LeReader((await client.next(0x46)).payload.subarray(24)).bytes(10), content.subarray(0, 10)))
  }
  for (let c = 0; c < 37; c++) running.add(c)
  const gone = shareOf(content, { chunks: [] })
  index.byEd2k = gone
  await using third = await TestClient.dial(ed2k.port, { number: 3 })
  await third.begin(gone.hash)
  index.byEd2k = undefined
  third.ask(gone.hash, [0, 10])
  assert.deepEqual((await third.next(0x48)).payload, gone.hash)
  assert.ok(
    [kith, other].every(c => !c.packets.some(p => p.opcode === 0x93)),
    'the others heard nothing of it'
  )
})
test('ranges come once, in order, in small packets; each passes the gate; the same again is not sent', async () => {
  const share = shareOf(seededBytes(2_000_000))
  await using s = await serving([share])
  await using client = await TestClient.dial(s.ed2k.port)
  client.ask(share.hash, [0, 1000]) // without a slot: nothing
  await client.begin(share.hash)
  client.ask(share.hash, [100, 184_420], [184_420, 368_740], [1_900_000, 2_000_000])
  client.ask(share.hash, [184_420, 368_740], [1_900_000, 2_000_000], [400_000, 400_001])
  assert.ok(equalBytes(await readData(client, 100, 368_640), share.content.subarray(100, 368_740)))
  assert.ok(equalBytes(await readData(client, 1_900_000, 100_000), share.content.subarray(1_900_000)))
  assert.ok(equalBytes(await readData(client, 400_000, 1), share.content.subarray(400_000, 400_001)))
  assert.equal(
    s.gate.admitted.reduce((n, a) => n + a.bytes, 0),
    368_640 + 100_000 + 1
  )
  client.ask(share.hash, [0, 10])
  await readData(client, 0, 10)
  client.ask(share.hash, [184_420, 368_740])
  const anew = await readData(client, 184_420, 184_320)
  assert.ok(equalBytes(anew, share.content.subarray(184_420, 368_740)), 'the last request did not name it: it is wanted anew')
  client.send(0xe3, 0x56)
  client.ask(share.hash, [0, 1000])
  client.send(0xc5, 0x97)
  await client.next(0x98)
  assert.ok(!client.packets.some(p => p.opcode === 0x46))
})
test('beyond 4 GiB ranges have 64 bits', async () => {
  const size = 5 * 2 ** 30
  const hash = hexToBytes('00112233445566778899aabbccddeeff')
  const sparse: Share = {
    ...new MemoryShare(seededBytes(1)),
    grid: makeGrid(size),
    pricePerMb: 0n,
    name: 'sparse.bin',
    ed2k: { hash, parts: new Uint8Array(), aich: new Uint8Array(20) },
    has: () => true,
    read: async (offset, length, target) => {
      for (let i = 0; i < length; i++) target[i] = Math.floor((offset + i) / 1000) & 255
    },
    onChunk: () => {}
  }
  await using s = await serving([sparse])
  await using client = await TestClient.dial(s.ed2k.port)
  await client.begin(hash)
  const start = 2 ** 32 - 5000
  const w = new LeWriter().bytes(hash)
  for (const n of [start, 0, 0, start + 300_000, 0, 0]) w.u64(n)
  client.send(0xc5, 0xa3, w.done())
  const expected = Uint8Array.from({ length: 300_000 }, (_, i) => Math.floor((start + i) / 1000) & 255)
  assert.ok(equalBytes(await readData(client, start, 300_000, true), expected))
})
test('text is compressed for who takes it, and noise is not', async () => {
  const text = new TextEncoder().encode('all work and no play makes jack a dull boy\n'.repeat(6000))
  const share = shareOf(text, { name: 'play.txt' })
  const noise = shareOf(seededBytes(300_000), { name: 'noise.bin' })
  await using s = await serving([share, noise])
  await using client = await TestClient.dial(s.ed2k.port, { abilities: { compression: true } })
  await client.begin(share.hash)
  client.ask(share.hash, [1000, 185_320])
  const pieces: Uint8Array[] = []
  for (let have = 0, total = 1; have < total; ) {
    const r = new LeReader((await client.next(0x40)).payload)
    assert.deepEqual(r.hash(), share.hash)
    assert.equal(r.u32(), 1000)
    total = r.u32()
    pieces.push(r.bytes(r.left))
    have += pieces.at(-1)!.length
  }
  assert.ok(equalBytes(inflateSync(concatBytes(...pieces)), text.subarray(1000, 185_320)))
  await client.begin(noise.hash)
  client.ask(noise.hash, [0, 184_320])
  assert.ok(equalBytes(await readData(client, 0, 184_320), noise.content.subarray(0, 184_320)))
})
test('one slot: the second client waits, is served when the first is done, and is called when it has hung up', async () => {
  const share = shareOf(seededBytes(100_000))
  await using s = await serving([share], { slots: 1 })
  await using home = await TestListener.open()
  await using a = await TestClient.dial(s.ed2k.port, { number: 1 })
  await using b = await TestClient.dial(s.ed2k.port, { number: 2 })
  const c = await TestClient.dial(s.ed2k.port, { number: 3, port: home.port })
  await a.begin(share.hash)
  b.send(0xe3, 0x54, share.hash)
  assert.deepEqual((await b.next(0x60)).payload, hexToBytes('010000000000000000000000'))
  c.send(0xe3, 0x54, share.hash)
  assert.equal(new LeReader((await c.next(0x60)).payload).u16(), 2)
  await c[Symbol.asyncDispose]()
  a.send(0xe3, 0x56)
  await b.next(0x55)
  b.ask(share.hash, [0, 1000])
  assert.equal((await readData(b, 0, 1000)).length, 1000)
  await b[Symbol.asyncDispose]()
  const called = await home.accept()
  await called.greet({ number: 3, port: home.port })
  await called.next(0x55)
  called.ask(share.hash, [5, 1000])
  assert.ok(equalBytes(await readData(called, 5, 995), share.content.subarray(5, 1000)))
  await eventually('one is served', () => s.ed2k.uploads.served === 1 && s.ed2k.uploads.waiting === 0)
})
test('askers hear of each other when they ask for sources', async () => {
  const share = shareOf(seededBytes(1000))
  await using s = await serving([share])
  await using a = await TestClient.dial(s.ed2k.port, { number: 1, port: 4662 })
  await using b = await TestClient.dial(s.ed2k.port, { number: 2, port: 4663 })
  a.send(0xc5, 0xa4, question(share.hash, 1000))
  await a.next(0x93)
  b.send(0xc5, 0xa4, question(share.hash, 1000))
  const { peers } = decodeSources((await b.next(0x84)).payload)
  assert.deepEqual(
    peers.map(p => [p.host, p.port, p.userHash]),
    [['127.0.0.1', 4662, helloOf({ number: 1 }).userHash]]
  )
})
test('whoever asks is told who we are, with our key, over its challenge', async () => {
  const { key } = makeEd2kIdentity()
  await using s = await serving([])
  await using client = await TestClient.dial(s.ed2k.port, { abilities: { secIdent: 1 } })
  const ours = (await client.next(0x87)).payload
  client.send(0xc5, 0x87, new Uint8Array([2, 9, 8, 7, 6]))
  const shown = (await client.next(0x85)).payload.subarray(1)
  const mine = publicKeyOf(key!)
  client.send(0xc5, 0x85, concatBytes(new Uint8Array([mine.length]), mine))
  const signature = (await client.next(0x86)).payload.subarray(1)
  assert.ok(rsaVerify(shown, concatBytes(mine, new Uint8Array([9, 8, 7, 6])), signature))
  const answer = rsaSign(key!, concatBytes(shown, ours.subarray(1)))
  client.send(0xc5, 0x86, concatBytes(new Uint8Array([answer.length]), answer))
  client.send(0xc5, 0x97)
  await client.next(0x98)
})
test('ED5: ranges beyond the file, backwards or overlapping close the connection, and so does what is no eDonkey', async () => {
  const share = shareOf(seededBytes(1_000_000))
  await using s = await serving([share])
  const hello = encodeHello(helloOf({}), false)
  const bad: ((c: TestClient) => void)[] = [
    c => c.ask(share.hash, [999_999, 1_000_001]),
    c => c.ask(share.hash, [2000, 1000]),
    c => c.ask(share.hash, [0, 1000], [500, 1500]),
    c => c.ask(share.hash, [0, 552_961]),
    c => c.socket.write(hexToBytes('e3ffffffff01')),
    c => c.socket.write(hexToBytes('e300000000')),
    c => c.socket.write(hexToBytes('99')),
    c => c.send(0xd4, 0x93, new Uint8Array(50)),
    c => c.send(0xe3, 0x46, concatBytes(share.hash, new Uint8Array(9))),
    c => c.send(0xc5, 0x40, concatBytes(share.hash, hexToBytes('00000000' + '05000000' + '01'))),
    c => c.send(0xe3, 0x01, hello.subarray(0, 30)),
    c => c.send(0xc5, 0x4f, new Uint8Array(5)), // skipped: the next one closes
    c => c.send(0xc5, 0xa4, new Uint8Array(5))
  ]
  for (const [i, act] of bad.entries()) {
    await using client = await TestClient.dial(s.ed2k.port, { number: i + 1 })
    await client.begin(share.hash)
    act(client)
    if (i === 11) {
      client.send(0xc5, 0x97)
      await client.next(0x98)
      client.send(0xc5, 0xa4, new Uint8Array(5))
    }
    await client.untilClosed()
  }
  for (const first of ['e3010000' + '0055', 'c501000000' + '97', '474554202f20485454502f312e310d0a0d0a']) {
    await using client = await TestClient.connect(s.ed2k.port)
    client.socket.write(hexToBytes(first))
    await client.untilClosed()
  }
  await using good = await TestClient.dial(s.ed2k.port)
  await good.begin(share.hash)
})
