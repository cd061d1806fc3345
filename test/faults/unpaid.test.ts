/**
 * What a downloader that never pays can take of a paid file (threats T4): the credit of a stranger, 1 MiB, and no more, whatever it
 * claims to be, however often the seeder is killed. A real seeder process; the downloader speaks the real protocols and does not pay.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { bytesToHex, hexToBytes } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { openIdentity } from '../../src/identity/open.node.ts'
import { openHost } from '../../src/net/host.node.ts'
import { ScopeGate } from '../../src/net/scope-gate.ts'
import { createWallet } from '../../src/pay/wallet.node.ts'
import { requestMac } from '../../src/transfer/http/ticket-mac.ts'
import { type FetchedOffer, fetchOffer, fetchTicket, type OfferDeps } from '../../src/transfer/offers.ts'
import { freeGate } from '../../src/transfer/payment-gate.ts'
import type { Ticket } from '../../src/transfer/protocol.ts'
import { TicketBook } from '../../src/transfer/tickets.ts'
import { Lab, type Ready } from '../kits/lab.ts'
import { phrases } from '../kits/pay.ts'
import { seededRandom } from '../kits/random.ts'

const MIB = 2 ** 20
const SIZE = 6 * MIB

test('whoever does not pay gets 1 MiB, also after the seeder was killed, and under any number of names', { timeout: 120_000 }, async t => {
  const random = seededRandom(t)
  const lab = new Lab(t)
  const file = lab.file('film.bin', SIZE)
  await createWallet(join(lab.dir('seller/data'), 'pay'), phrases[2], {}, randomBytes)
  const share = ['share', file, '--price', '0.001']
  let seller = await lab.ready('seller', ...share)
  const thief = await openThief(t, lab, 'thief')

  let taken = await thief.take(seller.ready, 0, Math.floor(random() * 3) * 262_144 + 100_000)
  assert.ok(taken > 0)
  for (let kill = 0; kill < 2; kill++) {
    await seller.process.destroy()
    seller = await lab.ready('seller', ...share)
    taken += await thief.take(seller.ready, taken, 1 + Math.floor(random() * 200_000))
    assert.ok(taken <= MIB, `${taken} after ${kill + 1} kills`)
  }
  // Everything at once, then again and again: one connection, several at the same time.
  taken += await thief.take(seller.ready, 0, SIZE)
  taken += (await Promise.all([0, 1, 2, 3].map(n => thief.take(seller.ready, n * MIB, MIB)))).reduce((a, b) => a + b, 0)
  t.diagnostic(`taken by one: ${taken}`)
  assert.ok(taken <= MIB, `${taken} bytes were served unpaid`)
  const refused = await thief.ask(seller.ready, 0, 262_143)
  assert.equal(refused.status, 402)
  assert.match(refused.detail, /0\.001 coin per MB.*credit is used up.*pay/)
  assert.equal((await thief.offer(seller.ready)).offer.creditBytes, 0)

  // New PeerIds, instances and wallets at the same address gain nothing.
  const others = await Promise.all([1, 2, 3, 4].map(n => openThief(t, lab, `thief-${n}`)))
  for (const other of others) taken += await other.take(seller.ready, 0, SIZE)
  t.diagnostic(`taken by all: ${taken}`)
  assert.ok(taken <= MIB, `${taken} bytes were served unpaid to one address`)
  // Without a wallet or a ticket there is not even that.
  const poor = await openThief(t, lab, 'poor', new Uint8Array(20))
  assert.equal(await poor.take(seller.ready, 0, SIZE), 0)
  const curl = await fetch(await urlOf(thief, seller.ready))
  assert.equal(curl.status, 402)
  await curl.body?.cancel()
})

interface Thief {
  offer(seller: Ready): Promise<FetchedOffer>
  /** One ranged request with a fresh ticket. */
  ask(seller: Ready, first: number, last: number): Promise<{ readonly status: number; readonly received: number; readonly detail: string }>
  /** Asks for a range, and on from wherever the seeder cut it off, until it refuses. @returns bytes of content that arrived */
  take(seller: Ready, first: number, length: number): Promise<number>
}

const target = (seller: Ready): { peerId: string; addresses: string[] } => ({
  peerId: seller.peerId,
  addresses: [seller.addresses[0]!]
})
const urlOf = async (thief: Thief, seller: Ready): Promise<string> => {
  const { offer } = await thief.offer(seller)
  return `http://127.0.0.1:${offer.protocols.find(p => p.name === 'http')!.port}/${seller.fileId}`
}

/** A node of its own: identity, libp2p host, wallet address. It can do everything but pay. */
async function openThief(t: TestContext, lab: Lab, name: string, wallet: Uint8Array = randomBytes(20)): Promise<Thief> {
  const identity = await openIdentity(lab.dir(name), { clock: systemClock })
  const gate = new ScopeGate()
  const host = await openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey: identity.peerPrivateKey }, { listen: [] })
  t.after(() => host[Symbol.asyncDispose]())
  const signer = {
    instanceKey: identity.instance.key,
    peerId: identity.peerId,
    certificate: identity.peerCertificate,
    sign: identity.sign.bind(identity)
  }
  const deps: OfferDeps = {
    rpc: host.rpc,
    clock: systemClock,
    signer,
    tickets: new TicketBook(systemClock),
    payments: { ...freeGate, wallet }
  }
  const tickets = new Map<string, Ticket>()
  let counter = Date.now()
  const { signal } = new AbortController()
  const thief: Thief = {
    offer(seller) {
      gate.allow(seller.addresses[0]!, 'user')
      return fetchOffer(deps, target(seller), hexToBytes(seller.fileId!), signal)
    },
    async ask(seller, first, last) {
      const url = await urlOf(thief, seller)
      const ticket = tickets.get(url) ?? (await fetchTicket(deps, target(seller), hexToBytes(seller.fileId!), signal))
      tickets.set(url, ticket)
      const facts = { method: 'GET', path: `/${seller.fileId}`, range: `bytes=${first}-${last}`, counter: ++counter }
      const answer = await fetch(url, {
        headers: {
          Range: facts.range,
          'Kith-Ticket': bytesToHex(ticket.id),
          'Kith-Counter': String(facts.counter),
          'Kith-Mac': requestMac(ticket.key, facts)
        }
      })
      if (answer.status !== 206)
        return { status: answer.status, received: 0, detail: String(((await answer.json()) as { detail?: string }).detail) }
      let received = 0
      try {
        for await (const part of answer.body!) received += part.length
      } catch {
        // cut off where the credit ends
      }
      return { status: 206, received, detail: '' }
    },
    async take(seller, first, length) {
      let got = 0
      while (got < length) {
        const { status, received } = await thief.ask(seller, first + got, Math.min(SIZE, first + length) - 1)
        got += received
        if (status !== 206) {
          assert.equal(status, 402)
          break
        }
      }
      return got
    }
  }
  return thief
}
