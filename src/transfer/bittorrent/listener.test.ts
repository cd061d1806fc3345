import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { RawPeer } from '../../../test/interop/bt-raw-peer.ts'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate } from '../../../test/kits/transfer-doubles.ts'
import { type Clock, systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import type { Share } from '../protocol.ts'
import type { ListenerOptions } from '../tcp/capped-listener.node.ts'
import { type BitTorrent, openBitTorrent } from './bittorrent.node.ts'
import type { EncryptionMode } from './encryption.ts'
import { decodeExtendedHandshake, decodeNeed, encodeExtendedHandshake, encodeMetadata, encodeTicket, extensionIds } from './extensions.ts'
import { encodeHandshake, type Message } from './messages.ts'
import { infoOfShare } from './metainfo.ts'
import { ticketMac } from './ticket.ts'

const CHUNK = 256 * 1024
const infoHashOf = (s: Share): Uint8Array => infoOfShare(s)!.infoHash

interface Rig {
  readonly bt: BitTorrent
  readonly gate: TestGate
  readonly infoHash: Uint8Array
  readonly share: MemoryShare
}

async function open(
  stack: AsyncDisposableStack,
  share: MemoryShare,
  listen: Partial<ListenerOptions> = {},
  clock: Clock = systemClock,
  encryption: EncryptionMode = 'off'
): Promise<Rig> {
  const gate = new TestGate()
  const deps = { clock, log: silentLogger, gate, shares: shareIndex([share], infoHashOf) }
  const bt = stack.use(await openBitTorrent(deps, { listen: { host: '127.0.0.1', port: 0, ...listen }, encryption }))
  return { bt, gate, share, infoHash: infoHashOf(share) }
}
const extended = (payload: Uint8Array, id = 0): Message => ({ kind: 'extended', id, payload })
const ourExtensions = encodeExtendedHandshake({
  ids: { ut_metadata: 7, kith: 8, kith_ticket: 9 },
  version: undefined,
  requestQueue: undefined,
  listenPort: undefined,
  metadataSize: undefined,
  uploadOnly: false,
  nonce: undefined,
  maxBlock: undefined
})

// threats BT4
for (const [why, bytes] of [
  [
    'another info-hash',
    () => encodeHandshake({ infoHash: new Uint8Array(20), peerId: new Uint8Array(20).fill(1), fast: true, extended: true })
  ],
  ['a protocol name of 255 bytes', () => Uint8Array.of(255, 1, 2)],
  ['an encrypted handshake, which we do not take', () => new Uint8Array(randomBytes(96)).fill(7, 0, 1)],
  [
    'every reserved bit set',
    (r: Rig) =>
      encodeHandshake({ infoHash: r.infoHash, peerId: new Uint8Array(20), fast: true, extended: true }).map((b, i) =>
        i >= 20 && i < 28 ? 255 : b
      )
  ]
] as const) {
  test(`a peer with ${why} is closed without an answer`, async () => {
    await using stack = new AsyncDisposableStack()
    const rig = await open(stack, new MemoryShare(seededBytes(CHUNK)))
    const peer = stack.use(await RawPeer.dial(rig.bt.port))
    peer.raw(bytes(rig))
    await peer.closed()
    assert.equal(peer.handshake, undefined)
  })
}

const request = (piece: number, begin: number, length: number): Message => ({ kind: 'request', piece, begin, length })
// threats BT5
for (const [why, send] of [
  ['a message of 2^31 bytes', (p: RawPeer) => p.raw(Uint8Array.of(0x80, 0, 0, 0, 7))],
  ['a request beyond its piece', (p: RawPeer) => p.send(request(0, CHUNK - 1, 2))],
  ['a request of more than 128 KiB', (p: RawPeer) => p.send(request(0, 0, 128 * 1024 + 1))],
  ['a request for piece n', (p: RawPeer) => p.send(request(5, 0, 1))],
  ['have n', (p: RawPeer) => p.send({ kind: 'have', piece: 5 })],
  ['a bitfield with spare bits', (p: RawPeer) => p.send({ kind: 'bitfield', bits: Uint8Array.of(0xff) })],
  ['a block nobody asked for', (p: RawPeer) => p.send({ kind: 'piece', piece: 0, begin: 0, block: new Uint8Array(16384) })],
  ['257 bitfields', (p: RawPeer) => p.send(...Array<Message>(257).fill({ kind: 'bitfield', bits: Uint8Array.of(0) }))],
  ['an extension that is no dictionary', (p: RawPeer) => p.send(extended(Uint8Array.of(1, 2)))],
  ['a storm of cancels', (p: RawPeer) => p.send(...Array<Message>(60_000).fill({ kind: 'cancel', piece: 0, begin: 0, length: 1 }))],
  [
    '5,000 requests for metadata',
    (p: RawPeer) => p.send(...Array<Message>(5000).fill(extended(encodeMetadata({ kind: 'request', piece: 9 }), extensionIds.ut_metadata)))
  ]
] as const) {
  test(`a peer that sends ${why} is closed, others go on`, async () => {
    await using stack = new AsyncDisposableStack()
    const rig = await open(stack, new MemoryShare(seededBytes(5 * CHUNK)))
    const peer = stack.use(await RawPeer.dial(rig.bt.port))
    peer.shake(rig.infoHash)
    await peer.message('unchoke')
    send(peer)
    await peer.closed()
    const other = stack.use(await RawPeer.dial(rig.bt.port))
    other.shake(rig.infoHash)
    await other.message('unchoke')
    other.send(request(4, 0, 16384))
    assert.deepEqual((await other.message('piece')).block, Uint8Array.from(rig.share.chunk(4).subarray(0, 16384)))
  })
}
test('2,000 requests wait, one more closes the connection', async () => {
  await using stack = new AsyncDisposableStack()
  const rig = await open(stack, new MemoryShare(seededBytes(5 * CHUNK)))
  rig.gate.onAdmit = () => new Promise<never>(() => {})
  for (const [count, closes] of [
    [2000, false],
    [2001, true]
  ] as const) {
    const peer = stack.use(await RawPeer.dial(rig.bt.port))
    peer.shake(rig.infoHash)
    await peer.message('unchoke')
    peer.send(...Array.from({ length: count }, (_, i) => request(i % 5, 0, 1 + i)))
    peer.send({ kind: 'cancel', piece: 0, begin: 0, length: 2000 - 4 }) // answered by a reject: the queue was read
    if (closes) await peer.closed()
    else await peer.message('reject')
  }
})
test('a peer that asks but never reads is closed before it costs more than its buffers', async () => {
  await using stack = new AsyncDisposableStack()
  const rig = await open(stack, new MemoryShare(seededBytes(40 * CHUNK)))
  const peer = stack.use(await RawPeer.dial(rig.bt.port))
  peer.shake(rig.infoHash)
  await peer.message('unchoke')
  peer.socket.pause()
  peer.send(...Array.from({ length: 600 }, (_, i) => request(Math.floor(i / 16), (i % 16) * 16384, 16384)))
  await eventually('some of it is read', () => rig.share.bytesRead > 0)
  let last = -1
  await eventually('reading stops', async () => {
    const same = last === rig.share.bytesRead
    last = rig.share.bytesRead
    await new Promise(resolve => setTimeout(resolve, 100))
    return same && last === rig.share.bytesRead
  })
  assert.ok(rig.share.bytesRead < rig.share.grid.size, `${rig.share.bytesRead} bytes were read for a peer that takes nothing`)
})
test('nobody shakes hands within ten seconds, or is silent for longer than the keep-alive: closed', async () => {
  await using stack = new AsyncDisposableStack()
  const sleepers: { readonly until: number; readonly wake: () => void }[] = []
  let now = 0
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        sleepers.push({ until: now + ms, wake: resolve })
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
  }
  const pass = async (ms: number): Promise<void> => {
    for (const end = now + ms; now < end; ) {
      now += 1000
      for (const s of sleepers.filter(s => s.until <= now)) s.wake()
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  const rig = await open(stack, new MemoryShare(seededBytes(CHUNK)), {}, clock)
  const mute = stack.use(await RawPeer.dial(rig.bt.port))
  const idle = stack.use(await RawPeer.dial(rig.bt.port))
  idle.shake(rig.infoHash)
  await idle.message('unchoke')
  await eventually('both are watched', () => sleepers.length >= 2)
  await pass(11_000)
  await mute.closed()
  assert.ok(!idle.ended)
  await pass(85_000)
  await idle.message('keepAlive')
  assert.ok(!idle.ended)
  await pass(50_000)
  await idle.closed()
})
test('one address has at most eight connections, everybody together the total', async () => {
  await using stack = new AsyncDisposableStack()
  const rig = await open(stack, new MemoryShare(seededBytes(CHUNK)), { exemptLoopback: false })
  const peers: RawPeer[] = []
  for (let i = 0; i < 8; i++) {
    const peer = stack.use(await RawPeer.dial(rig.bt.port))
    peer.shake(rig.infoHash)
    await peer.message('unchoke')
    peers.push(peer)
  }
  const ninth = stack.use(await RawPeer.dial(rig.bt.port))
  await ninth.closed()
  await peers[0]![Symbol.asyncDispose]()
  await eventually('a place becomes free', async () => {
    await using peer = await RawPeer.dial(rig.bt.port)
    peer.shake(rig.infoHash)
    return await peer.message('unchoke').then(
      () => true,
      () => false
    )
  })
  const small = await open(stack, new MemoryShare(seededBytes(CHUNK)), { maxConnections: 1 })
  const first = stack.use(await RawPeer.dial(small.bt.port))
  first.shake(small.infoHash)
  await first.message('unchoke')
  await stack.use(await RawPeer.dial(small.bt.port)).closed()
})

test('of a paid share other programs get nothing, and a Kith peer hears what it needs', async () => {
  await using stack = new AsyncDisposableStack()
  const rig = await open(stack, new MemoryShare(seededBytes(CHUNK), { pricePerMb: 5n }))
  const plain = stack.use(await RawPeer.dial(rig.bt.port))
  plain.shake(rig.infoHash, undefined, { extended: false })
  plain.send(request(0, 0, 16384))
  await plain.message('reject')
  assert.ok(!plain.received.some(m => m.kind === 'unchoke'))
  const kith = stack.use(await RawPeer.dial(rig.bt.port))
  kith.shake(rig.infoHash)
  kith.send(extended(ourExtensions))
  await kith.message('unchoke')
  kith.send(request(0, 0, 16384))
  await kith.until('need', () => kith.received.some(m => m.kind === 'extended' && m.id === 8))
  const need = kith.received.find(m => m.kind === 'extended' && m.id === 8) as Extract<Message, { kind: 'extended' }>
  assert.equal(typeof decodeNeed(need.payload), 'string')
  await kith.message('reject')
  assert.equal(rig.gate.sentBytes, 0)
})
test('a ticket opens a paid share on the connection it was made for; overheard or forged it closes the connection', async () => {
  await using stack = new AsyncDisposableStack()
  const rig = await open(stack, new MemoryShare(seededBytes(CHUNK), { pricePerMb: 5n }))
  const ticket = rig.gate.issue(rig.share, CHUNK)
  const peerId = new Uint8Array(20).fill(3)
  const join = async (): Promise<{ peer: RawPeer; mac: (key: Uint8Array) => Uint8Array }> => {
    const peer = stack.use(await RawPeer.dial(rig.bt.port))
    peer.shake(rig.infoHash, peerId)
    peer.send(extended(ourExtensions))
    await peer.message('unchoke')
    const nonce = decodeExtendedHandshake((await peer.message('extended')).payload).nonce!
    const scope = { infoHash: rig.infoHash, seederPeerId: peer.handshake!.subarray(48), ownPeerId: peerId, nonce }
    return { peer, mac: key => ticketMac(key, scope) }
  }
  const { peer, mac } = await join()
  const overheard = encodeTicket({ id: ticket.id, mac: mac(ticket.key) })
  peer.send(extended(overheard, extensionIds.kith_ticket), request(0, 0, 16384))
  await peer.message('piece')
  const thief = await join()
  thief.peer.send(extended(overheard, extensionIds.kith_ticket), request(0, 0, 16384))
  await thief.peer.closed()
  const forger = await join()
  forger.peer.send(extended(encodeTicket({ id: ticket.id, mac: forger.mac(new Uint8Array(32)) }), extensionIds.kith_ticket))
  await forger.peer.closed()
})
