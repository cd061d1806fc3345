import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { systemClock } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import type { Identity } from '../identity/identity.ts'
import { openIdentity } from '../identity/open.node.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import { MemoryNetwork } from '../net/rpc-memory.ts'
import { MAX_OFFER_AGE_MS } from '../wire/limits.ts'
import { OFFER_DOMAIN, type Offer, offerCodec } from '../wire/offer.ts'
import { RECEIPT_DOMAIN } from '../wire/receipt.ts'
import { offerAnswer } from '../wire/transfer-rpc.ts'
import { makeGrid } from './grid.ts'
import { OfferedSource } from './offered-source.ts'
import { checkOffer, type FetchedOffer, fetchTicket, serveOffers } from './offers.ts'
import { freeGate } from './payment-gate.ts'
import type { Share, Source } from './protocol.ts'
import { TicketBook } from './tickets.ts'

const folder = mkdtempSync(join(tmpdir(), 'kith-offers-'))
test.after(() => rmSync(folder, { recursive: true }))
const NOW = Date.UTC(2026, 0, 1)
const fileId = new Uint8Array(32).fill(7)
const identityOf = (name: string): Promise<Identity> => openIdentity(join(folder, name), { clock: systemClock })
const seller = await identityOf('seller')
const other = await identityOf('other')

const offerOf = (over: Partial<Offer> = {}): Offer => ({
  fileId,
  root: new Uint8Array(32).fill(8),
  size: 3 * 262_144,
  peerId: peerIdToBytes(seller.peerId),
  sequence: 5,
  expiresAt: NOW + 60_000,
  creditBytes: 0,
  pricePerMb: 0n,
  chainId: 0,
  wallet: new Uint8Array(20),
  chunks: undefined,
  protocols: [],
  ...over
})

async function answerOf(
  offer: Offer,
  signer: Identity = seller,
  certificate = seller.peerCertificate,
  domain = OFFER_DOMAIN
): Promise<Uint8Array> {
  return encode(offerAnswer, { certificate, offer: await signer.sign(domain, encode(offerCodec, offer)), manifest: undefined })
}
const check = (raw: Uint8Array, peerId = seller.peerId): Promise<FetchedOffer> => checkOffer(raw, { peerId }, fileId, NOW)

test('a good offer is read with who signed it', async () => {
  const fetched = await check(await answerOf(offerOf()))
  assert.equal(fetched.seeder, Buffer.from(seller.instance.key).toString('hex'))
  assert.equal(fetched.hash.length, 32)
})

test('an offer that is forged, replayed for another peer or file, expired or far ahead is refused', async () => {
  const cases: [string, Promise<Uint8Array>, string?][] = [
    ['signed by another instance', answerOf(offerOf(), other)],
    ["with another's certificate", answerOf(offerOf(), other, other.peerCertificate)],
    ['signed as another kind of message', answerOf(offerOf(), seller, seller.peerCertificate, RECEIPT_DOMAIN)],
    ['naming another peer', answerOf(offerOf({ peerId: peerIdToBytes(other.peerId) }))],
    ['for another file', answerOf(offerOf({ fileId: new Uint8Array(32) }))],
    ['expired', answerOf(offerOf({ expiresAt: NOW - 10 * 60_000 }))],
    ['valid for ever', answerOf(offerOf({ expiresAt: NOW + 2 * MAX_OFFER_AGE_MS }))],
    ['shown by another peer', answerOf(offerOf()), other.peerId]
  ]
  for (const [name, raw, peerId] of cases) {
    const refusal = await check(await raw, peerId).then(
      () => undefined,
      (e: unknown) => e
    )
    assert.ok(refusal instanceof KithError && ['INVALID_OFFER', 'WIRE_SIGNATURE', 'INVALID_CERTIFICATE'].includes(refusal.code), name)
  }
})

test('any bytes are refused with a code, also bytes near a good offer', async () => {
  const good = await answerOf(offerOf())
  const near = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, x]) => {
    const b = Uint8Array.from(good)
    b[at]! ^= x
    return b
  })
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), near), async b => {
      await assert.rejects(check(b), e => e instanceof KithError)
    }),
    { numRuns: 300 }
  )
})

test('a source takes newer offers of its seeder only', async () => {
  const inner = {
    key: 'k',
    protocol: 'http',
    seeder: undefined,
    parallel: 1,
    maxRun: 1,
    has: () => true,
    fetch: async () => {},
    onChange: () => {},
    [Symbol.asyncDispose]: async () => {}
  } satisfies Source
  const fetched = async (over: Partial<Offer>): Promise<FetchedOffer> => check(await answerOf(offerOf(over)))
  const source = new OfferedSource(inner, await fetched({ chunks: [{ first: 0, count: 1 }] }))
  assert.deepEqual(
    [0, 1, 2].map(c => source.has(c)),
    [true, false, false]
  )
  source.renew(await fetched({ sequence: 4, chunks: [{ first: 0, count: 3 }] }))
  assert.ok(!source.has(2), 'an older one is a replay')
  source.renew(await fetched({ sequence: 6, chunks: [{ first: 0, count: 3 }], root: new Uint8Array(32) }))
  assert.ok(!source.has(2), 'another content is not this one')
  source.renew(await fetched({ sequence: 7, chunks: [{ first: 1, count: 2 }] }))
  assert.deepEqual(
    [0, 1, 2].map(c => source.has(c)),
    [false, true, true]
  )
})

test('a ticket is given to the one who proves to be the caller, for a file that is here', async () => {
  const network = new MemoryNetwork()
  const clock = new FakeClock(NOW)
  const tickets = new TicketBook(clock)
  const signerOf = (i: Identity) => ({
    instanceKey: i.instance.key,
    peerId: i.peerId,
    certificate: i.peerCertificate,
    sign: i.sign.bind(i)
  })
  const deps = (i: Identity) => ({ rpc: network.join(i.peerId, '192.0.2.1'), clock, signer: signerOf(i), tickets, payments: freeGate })
  const share = { fileId, root: fileId, grid: makeGrid(10) } as unknown as Share
  const offered = { share, creditBytes: undefined, manifest: undefined, terms: async () => offerOf(), page: () => undefined }
  using _ = serveOffers(deps(seller), {
    offered: hex => (hex === Buffer.from(fileId).toString('hex') ? offered : undefined),
    offeredByRoot: () => undefined
  })
  const buyer = deps(other)
  const ticket = await fetchTicket(buyer, { peerId: seller.peerId }, fileId, AbortSignal.timeout(5_000))
  const holder = tickets.customerOf(ticket.id, fileId)
  assert.deepEqual(
    [holder?.peerId, holder?.address, holder?.instance],
    [other.peerId, '192.0.2.1', Buffer.from(other.instance.key).toString('hex')]
  )
  assert.equal(tickets.customerOf(ticket.id, new Uint8Array(32)), undefined, 'not for another file')
  const refused = async (work: Promise<unknown>): Promise<void> => assert.rejects(work, { code: 'PEER_REFUSED' })
  await refused(fetchTicket(buyer, { peerId: seller.peerId }, new Uint8Array(32), AbortSignal.timeout(5_000)))
  await refused(fetchTicket({ ...buyer, signer: signerOf(seller) }, { peerId: seller.peerId }, fileId, AbortSignal.timeout(5_000)))
  await refused(
    fetchTicket({ ...buyer, clock: new FakeClock(NOW - 3_600_000) }, { peerId: seller.peerId }, fileId, AbortSignal.timeout(5_000))
  )
  await clock.advance(2 * 3_600_000)
  assert.equal(tickets.customerOf(ticket.id, fileId), undefined, 'not for ever')
})

test('many names at one address take no ticket from others', () => {
  const tickets = new TicketBook(new FakeClock())
  const issue = (peerId: string, address: string) => tickets.issue({ peerId, instance: 'aa', wallet: new Uint8Array(20), address }, fileId)
  const honest = issue('honest', '192.0.2.1')
  for (let i = 0; i < 11_000; i++) issue(`name ${i}`, `2001:db8:1:2::${(i + 1).toString(16)}`)
  assert.ok(tickets.customerOf(honest.id, fileId))
  assert.ok(tickets.size <= 1 + 256)
  assert.ok(tickets.customerOf(issue('late', '2001:db8:1:2::1').id, fileId), 'the oldest of that address ended')
})

test('tickets are bounded for one peer and for all', () => {
  const tickets = new TicketBook(new FakeClock())
  const who = (peerId: string) => ({ peerId, instance: 'aa', wallet: new Uint8Array(20), address: '192.0.2.1' })
  const first = tickets.issue(who('a'), fileId)
  for (let i = 0; i < 40; i++) tickets.issue(who('a'), fileId)
  assert.equal(tickets.size, 16)
  assert.equal(tickets.customerOf(first.id, fileId), undefined)
  for (let i = 0; i < 11_000; i++) tickets.issue({ ...who(`p${i}`), address: `10.0.${i >> 8}.${i & 255}` }, fileId)
  assert.equal(tickets.size, 10_000)
})
