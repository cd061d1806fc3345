import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { MemoryFinder, openTestPeer } from '../../test/kits/transfer-peer.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { MemoryNetwork } from '../net/rpc-memory.ts'
import { parseLink } from '../wire/link.ts'
import type { Offer } from '../wire/offer.ts'
import { collectInfo, mergeOffers } from './info.ts'
import { MAX_INFO_RANGES } from './limits.ts'
import type { FetchedOffer } from './offers.ts'
import { freeGate } from './payment-gate.ts'

const CHUNK = 262_144
const link = { fileId: new Uint8Array(32).fill(7), root: undefined, size: undefined, name: undefined, via: [] }

function offerOf(peerId: string, over: Partial<Offer>, manifest?: FetchedOffer['manifest']): FetchedOffer {
  const offer: Offer = {
    fileId: link.fileId,
    root: new Uint8Array(32).fill(1),
    size: 16 * CHUNK,
    peerId: new Uint8Array(),
    sequence: 1,
    expiresAt: 0,
    creditBytes: 0,
    pricePerMb: 0n,
    chainId: 0,
    wallet: new Uint8Array(20).fill(0xab),
    chunks: undefined,
    protocols: [{ name: 'http', port: 8080, extra: new Uint8Array() }],
    ...over
  }
  return { offer, seeder: peerId, hash: new Uint8Array(), peerId, addresses: [], manifest, raw: new Uint8Array() }
}

test('offers become the metadata of spec 004', () => {
  const empty = new Uint8Array()
  const manifest = {
    fileId: link.fileId,
    root: new Uint8Array(32),
    size: 16 * CHUNK,
    name: 'film.mkv',
    mime: 'video/x',
    created: 1_640_995_200_999
  }
  const info = mergeOffers(
    link,
    [
      offerOf('A', { pricePerMb: 1000n, chainId: 1 }, manifest),
      offerOf('B', {
        chunks: [
          { first: 5, count: 4 },
          { first: 15, count: 1 }
        ],
        protocols: [
          { name: 'ed2k', port: 4662, extra: empty },
          { name: 'webtorrent', port: 0, extra: empty }
        ]
      }),
      offerOf('C', { protocols: [{ name: 'kith', port: 0, extra: empty }] }),
      offerOf('liar', { size: 3 })
    ],
    peer => ({ A: '192.0.2.1', B: '2001:db8::7' })[peer]
  )
  const free = { wallet: undefined, price_per_mb: '0' }
  const part = { ...free, peer_id: 'B', chunks: ['5-8', '15-15'] }
  assert.deepEqual(info, {
    file_hash: '07'.repeat(32),
    file_name: 'film.mkv',
    file_size: 16 * CHUNK,
    total_chunks: 16,
    chunk_size: CHUNK,
    created_at: 1_640_995_200,
    mime_type: 'video/x',
    seeders: {
      http: [
        { peer_id: 'A', multiaddr: '/ip4/192.0.2.1/tcp/8080/p2p/A', wallet: `0x${'ab'.repeat(20)}`, chunks: 'all', price_per_mb: '1000' }
      ],
      ed2k: [{ ...part, multiaddr: '/ip6/2001:db8::7/tcp/4662/p2p/B' }],
      webtorrent: [{ ...part, multiaddr: '/p2p/B' }],
      kith: [{ ...free, peer_id: 'C', multiaddr: '/p2p/C', chunks: 'all' }]
    },
    total_seeders: 3,
    seeders_by_protocol: { http: 1, ed2k: 1, webtorrent: 1, kith: 1 }
  })
})

test('an answer stays bounded however many ranges the offers have, and everybody is counted', () => {
  const chunks = Array.from({ length: 4096 }, (_, i) => ({ first: 2 * i, count: 1 }))
  const info = mergeOffers(
    link,
    Array.from({ length: 100 }, (_, i) => offerOf(`P${i}`, { chunks, size: 9000 * CHUNK })),
    () => '192.0.2.1'
  )
  assert.equal(info.total_seeders, 100)
  assert.equal(info.seeders_by_protocol['http'], 100)
  assert.equal(info.seeders['http']?.length, Math.floor(MAX_INFO_RANGES / 4096))
})

test('signed offers of real peers are collected; nobody there gives what the link says', async () => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-info-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const network = new MemoryNetwork()
  const all = new MemoryFinder('')
  const [a, b, c] = [1, 2, 3].map(() => openTestPeer(network, all))
  const [one, two, reader] = [stack.use(await a!), stack.use(await b!), stack.use(await c!)]
  const file = join(folder, 'film.bin')
  writeFileSync(file, new Uint8Array(600_000))
  const address = await one.share(file)
  await two.share(file)
  const { instance, peerId, peerCertificate } = reader.identity
  const signer = { instanceKey: instance.key, peerId, certificate: peerCertificate, sign: reader.identity.sign.bind(reader.identity) }
  const base = { rpc: reader.rpc, clock: systemClock, log: silentLogger, tickets: reader.tickets, payments: freeGate, signer }
  const deps = { ...base, finder: reader.finder }
  const info = await collectInfo(deps, parseLink(address), AbortSignal.timeout(10_000))
  assert.equal(info.total_seeders, 2)
  assert.equal(info.file_size, 600_000)
  assert.deepEqual(info.seeders['http']?.map(s => s.multiaddr).sort(), [
    ...[one, two].map(p => `/ip4/127.0.0.1/tcp/${p.port('http')}/p2p/${p.identity.peerId}`).sort()
  ])
  const nobody = await collectInfo(deps, { ...link, size: 5, name: 'x' }, AbortSignal.timeout(10_000), { waitMs: 50 })
  assert.deepEqual([nobody.total_seeders, nobody.file_size, nobody.file_name, nobody.seeders], [0, 5, 'x', {}])
})
