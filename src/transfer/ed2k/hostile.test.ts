/** Clients that mean harm: floods, false callers, addresses that lead elsewhere. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'node:test'
import { deflateSync } from 'node:zlib'
import { ed2kOf } from '../../../test/interop/ed2k-digest.ts'
import { helloOf, TestClient, TestListener } from '../../../test/kits/ed2k-client.ts'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { makeGrid } from '../grid.ts'
import type { Share } from '../protocol.ts'
import { type Ed2k, openEd2k } from './ed2k.node.ts'
import { decodeFileRequest, encodeFileAnswer, encodeFileRequest } from './file-request.ts'
import { encodeHello } from './hello.ts'
import { encodeKithPacket, ticketMac } from './kith-packet.ts'
import { IDLE_PACKET_BYTES, IDLE_PACKETS_BURST, MAX_INFLATED_BYTES, MAX_QUEUED_RANGES } from './limits.ts'
import { encodePacket } from './packet.ts'
import { decodeSources } from './peers.ts'

const open = (shares: readonly Share[], clock: Clock = systemClock): Promise<Ed2k> =>
  openEd2k(
    { clock, log: silentLogger, shares: shareIndex(shares), gate: new TestGate(), checkAddress: async host => host },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
const shareOf = (content: Uint8Array<ArrayBuffer>): MemoryShare & { readonly hash: Uint8Array } => {
  const ed2k = ed2kOf(content)
  return Object.assign(new MemoryShare(content, { ed2k }), { hash: ed2k.hash })
}
/** A client at another address of this machine. */
async function dialFrom(localAddress: string, port: number, number: number): Promise<TestClient> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  await once(socket, 'connect')
  const client = new TestClient(socket)
  client.send(0xe3, 0x01, encodeHello(helloOf({ number }), false))
  await client.next(0x4c)
  return client
}

test('ED1: small packets that inflate to much count for what they are', async () => {
  await using ed2k = await open([], new FakeClock())
  await using client = await TestClient.dial(ed2k.port)
  const bomb = encodePacket(0xd4, 0x85, deflateSync(new Uint8Array(MAX_INFLATED_BYTES)))
  assert.ok(bomb.length < 1000)
  const most = Math.ceil((IDLE_PACKETS_BURST * IDLE_PACKET_BYTES) / MAX_INFLATED_BYTES)
  for (let i = 0; i <= most; i++) client.socket.write(bomb)
  await client.untilClosed()
})

test('ED8: a caller from another address is not the client that keeps us waiting, whatever user hash it names', async () => {
  await using seeder = await TestListener.open()
  await using ed2k = await open([])
  const grid = makeGrid(1000)
  const hash = new Uint8Array(16).fill(9)
  const endpoint = {
    host: '127.0.0.1',
    port: seeder.port,
    extra: hash,
    fileId: new Uint8Array(32),
    grid,
    seeder: 'paid',
    ticket: undefined
  }
  const opening = ed2k.openSource(endpoint, new AbortController().signal)
  const client = await seeder.accept()
  await client.greet({ number: 5 })
  const q = decodeFileRequest((await client.next(0xa4)).payload, true, 2)
  client.send(0xc5, 0x93, encodeFileAnswer({ hash: q.hash, name: 'x', aich: undefined, status: undefined }))
  client.send(0xc5, 0x60, new Uint8Array(12))
  await using source = await opening
  await client[Symbol.asyncDispose]()
  const call = async (from: string): Promise<boolean> => {
    await using caller = await dialFrom(from, ed2k.port, 5)
    caller.send(0xe3, 0x55)
    caller.send(0xc5, 0x97)
    await caller.next(0x98)
    return source.has(0)
  }
  for (let i = 0; i < 5; i++) assert.equal(await call('127.0.0.9'), false, 'the stranger speaks for the seeder')
  await eventually('the client itself is taken', () => call('127.0.0.1'))
})

test('ED8: a ticket that was overheard is worth nothing on another connection', async () => {
  const content = seededBytes(5000)
  const ed2kHash = ed2kOf(content)
  const share = Object.assign(new MemoryShare(content, { ed2k: ed2kHash, pricePerMb: 1n }), { hash: ed2kHash.hash })
  const gate = new TestGate()
  await using ed2k = await openEd2k(
    { clock: systemClock, log: silentLogger, shares: shareIndex([share]), gate, checkAddress: async host => host },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  const ticket = gate.issue(share, 1_000_000)
  const kithNonce = new Uint8Array(16).fill(3)
  const shown = (to: TestClient, number: number): Uint8Array => {
    const { userHash, kithNonce: nonce } = to.greeting!
    const scope = { hash: share.hash, seederHash: userHash, ownHash: helloOf({ number }).userHash, nonce: nonce! }
    return encodeKithPacket({ kind: 'ticket', hash: share.hash, id: ticket.id, mac: ticketMac(ticket.key, scope) })
  }
  const firstBytes = async (client: TestClient): Promise<void> => {
    await client.begin(share.hash)
    client.ask(share.hash, [0, 5000])
    await client.next(0x46)
  }
  await using owner = await TestClient.dial(ed2k.port, { number: 1, kithNonce })
  const overheard = shown(owner, 1)
  owner.send(0xc5, 0x4b, overheard)
  await firstBytes(owner)
  const served = gate.admitted.length
  assert.ok(served > 0)
  await using thief = await TestClient.dial(ed2k.port, { number: 1, kithNonce })
  thief.send(0xc5, 0x4b, overheard)
  await thief.untilClosed()
  await using other = await TestClient.dial(ed2k.port, { number: 2, kithNonce })
  other.send(0xc5, 0x4b, shown(other, 1))
  await other.untilClosed()
  assert.equal(gate.admitted.length, served)
})

test('ED5: ranges that are asked for faster than they are served wait in a queue that has an end', async () => {
  const share = shareOf(seededBytes(500_000))
  const gate = new TestGate()
  const { promise, resolve } = Promise.withResolvers<void>()
  gate.onAdmit = () => promise
  await using ed2k = await openEd2k(
    { clock: systemClock, log: silentLogger, shares: shareIndex([share]), gate, checkAddress: async host => host },
    { listen: { host: '127.0.0.1', port: 0 } }
  )
  await using client = await TestClient.dial(ed2k.port)
  await client.begin(share.hash)
  for (let i = 0; i <= MAX_QUEUED_RANGES + 1; i++) client.ask(share.hash, [1000 * i, 1000 * i + 10])
  await client.untilClosed()
  resolve()
})

test('ED6: ports of other services are not told to others, nor called back', async () => {
  const share = shareOf(seededBytes(5000))
  await using ed2k = await open([share])
  const question = encodeFileRequest(
    { hash: share.hash, size: 5000, status: undefined, wantsName: true, wantsStatus: false, wantsAich: false, wantsSources: 4 },
    2
  )
  const ask = async (number: number, port: number): Promise<TestClient> => {
    const client = await TestClient.dial(ed2k.port, { number, port })
    client.send(0xc5, 0xa4, question)
    await client.next(0x93)
    return client
  }
  await using mail = await ask(1, 25)
  await using honest = await ask(2, 4662)
  await using asker = await ask(3, 4663)
  const { peers } = decodeSources((await asker.next(0x84)).payload)
  assert.deepEqual(
    peers.map(p => p.port),
    [4662]
  )
  assert.deepEqual([mail.closed, honest.closed], [false, false])
})

test('ED9: a large file is looked at once, not for every packet that asks about it', async () => {
  const share = shareOf(seededBytes(9_728_000 + 5))
  let looks = 0
  const has = (chunk: number): boolean => ++looks > 0 && share.has(chunk)
  const counted = new Proxy(share, { get: (target, key) => (key === 'has' ? has : Reflect.get(target, key, target)) })
  await using ed2k = await open([counted])
  await using client = await TestClient.dial(ed2k.port)
  client.send(0xe3, 0x4f, share.hash)
  await client.next(0x50)
  const once = looks
  for (let i = 0; i < 20; i++) client.send(0xe3, 0x4f, share.hash)
  for (let i = 0; i < 20; i++) await client.next(0x50)
  assert.equal(looks, once)
})
test('ED9: part hashes of a large file are not sent again and again', async () => {
  const hash = new Uint8Array(16).fill(4)
  const parts = new Uint8Array(16 * 10_001)
  const small = new MemoryShare(seededBytes(1000))
  const grid = makeGrid(10_000 * 9_728_000 + 1)
  const large: Share = {
    ...small,
    grid,
    ed2k: { hash, parts, aich: new Uint8Array(20) },
    has: () => true,
    read: async () => {},
    onChunk: () => {}
  }
  await using ed2k = await open([large], new FakeClock())
  await using client = await TestClient.dial(ed2k.port)
  client.send(0xe3, 0x51, hash)
  assert.equal((await client.next(0x52)).payload.length, 18 + parts.length)
  const most = Math.ceil((IDLE_PACKETS_BURST * IDLE_PACKET_BYTES) / parts.length)
  for (let i = 0; i < most; i++) client.send(0xe3, 0x51, hash)
  await client.untilClosed()
})
