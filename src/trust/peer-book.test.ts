import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { type Clock, systemClock } from '../base/clock.ts'
import { codeOf, hasCode } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { didOfKey } from '../identity/peer-id.ts'
import { checkAlias, checkEntity, checkGrant } from './checks.ts'
import { MAX_PEER_ADDRESSES, MAX_PEER_CAPABILITIES } from './limits.ts'
import { openPeerBook } from './peer-book.node.ts'
import type { PeerBook } from './types.ts'

const did = (n: number): string => didOfKey(new Uint8Array(32).fill(n))
const [ALICE, BOB, PERSON] = [did(1), did(2), did(3)]

/** Time that stands still until it is told to go on; `sleep` lasts until the book closes. */
class StillClock implements Clock {
  at = 1_800_000_000_000
  readonly #start = this.at
  now = (): number => this.at
  monotonic = (): number => this.at - this.#start
  sleep = (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))
}

function setUp(t: { after(f: () => void): void }): { path: string; clock: StillClock; open(): PeerBook } {
  const folder = mkdtempSync(join(tmpdir(), 'kith-trust-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'peers.db')
  const clock = new StillClock()
  return { path, clock, open: () => openPeerBook({ clock, log: silentLogger }, path) }
}

test('what was noticed and what the user decided is there after a restart', async t => {
  const { clock, open } = setUp(t)
  {
    await using book = open()
    book.observe(ALICE, { peerId: '12D3a', address: '/ip4/192.0.2.1/tcp/1', personId: PERSON, capabilities: ['sum'], status: { load: 1 } })
    clock.at += 70_000
    book.observe(ALICE, { address: 'http://192.0.2.1:8080' })
    book.mark(ALICE, { name: ' Alice ', verified: true, isMailbox: true })
  }
  await using book = open()
  const alice = book.find('alice')!
  assert.deepEqual(
    { ...alice, firstSeen: 0 },
    {
      entityId: ALICE,
      name: 'Alice',
      personId: PERSON,
      peerIds: ['12D3a'],
      addresses: ['http://192.0.2.1:8080', '/ip4/192.0.2.1/tcp/1'],
      firstSeen: 0,
      lastSeen: clock.at,
      verified: true,
      allowsLegacy: false,
      allowsRelay: false,
      isMailbox: true,
      capabilities: ['sum'],
      status: { load: 1 }
    }
  )
  assert.equal(alice.lastSeen - alice.firstSeen, 70_000)
  assert.equal(book.find('12D3a')?.entityId, ALICE)
  assert.equal(book.find('nobody'), undefined)
  assert.equal(book.forget(ALICE), true)
  assert.equal(book.peer(ALICE), undefined)
  assert.equal(book.find('12D3a'), undefined)
})

test('a name belongs to one peer, whatever its case', async t => {
  const { open } = setUp(t)
  await using book = open()
  book.mark(ALICE, { name: 'Ada' })
  assert.throws(
    () => book.mark(BOB, { name: 'ADA' }),
    e => hasCode(e, 'ALIAS_TAKEN')
  )
  book.mark(ALICE, { name: null })
  assert.equal(book.mark(BOB, { name: 'ADA' }).name, 'ADA')
})

test('what a peer tells is cut to what is kept', async t => {
  const { open } = setUp(t)
  await using book = open()
  for (let i = 0; i < 20; i++) book.observe(ALICE, { address: `/ip4/192.0.2.1/tcp/${i}`, peerId: `p${i}` })
  const lone = String.fromCharCode(0xd800)
  book.observe(ALICE, {
    address: 'x'.repeat(10_000),
    capabilities: [...Array(200)].map((_, i) => (i === 0 ? lone : `c${i}`)),
    status: { text: 'x'.repeat(10_000) }
  })
  const alice = book.peer(ALICE)!
  assert.equal(alice.addresses.length, MAX_PEER_ADDRESSES)
  assert.equal(alice.addresses[0], '/ip4/192.0.2.1/tcp/19')
  assert.deepEqual([alice.capabilities.length, alice.capabilities[0]], [MAX_PEER_CAPABILITIES, 'c1'])
  assert.equal(alice.status, undefined)
})

test('a grant holds for the peer, its person or everybody, and its revocation holds at once', async t => {
  const { open } = setUp(t)
  await using book = open()
  book.observe(ALICE, { personId: PERSON })
  assert.equal(book.allowed(ALICE, 'task:sum'), undefined)
  book.grant('*', 'task:sum', { perHour: 1 })
  book.grant(PERSON, 'task:*', { perHour: 10 })
  assert.deepEqual(book.allowed(ALICE, 'task:sum')?.limits, { perHour: 10 })
  assert.deepEqual(book.allowed(BOB, 'task:sum')?.limits, { perHour: 1 })
  assert.equal(book.allowed(BOB, 'task:other'), undefined)
  assert.equal(book.allowed(ALICE, 'relay'), undefined, 'task:* is for tasks')
  assert.equal(book.revoke(PERSON, 'task:*'), true)
  assert.equal(book.revoke(PERSON, 'task:*'), false)
  assert.deepEqual(book.allowed(ALICE, 'task:sum')?.limits, { perHour: 1 })
  assert.equal(book.grants().length, 1)
  book.scores.ban(BOB)
  assert.equal(book.allowed(BOB, 'task:sum'), undefined, 'nothing for who is banned')
})

test('a grant, a revocation and a ban by a process that is then killed hold after it', async t => {
  const { path } = setUp(t)
  const script = `
    const { openPeerBook } = await import(${JSON.stringify(join(import.meta.dirname, 'peer-book.node.ts'))})
    const { systemClock } = await import(${JSON.stringify(join(import.meta.dirname, '../base/clock.ts'))})
    const { silentLogger } = await import(${JSON.stringify(join(import.meta.dirname, '../base/log.ts'))})
    const book = openPeerBook({ clock: systemClock, log: silentLogger }, ${JSON.stringify(path)})
    book.grant('*', 'relay'); book.grant('*', 'mailbox')
    book.scores.penalise({ entityId: '${ALICE}' }, 'fatal', 'DOWNGRADE')
    await systemClock.sleep(1500)
    book.revoke('*', 'relay')
    process.kill(process.pid, 'SIGKILL')`
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  assert.equal(signal, 'SIGKILL')
  await using book = openPeerBook({ clock: systemClock, log: silentLogger }, path)
  assert.deepEqual(
    book.grants().map(g => g.what),
    ['mailbox']
  )
  assert.equal(book.scores.isBanned({ entityId: ALICE }), true)
  assert.equal(book.scores.list()[0]?.code, 'DOWNGRADE')
})

test('a ban goes on after a restart, no longer than it would have; scores of addresses are not kept', async t => {
  const { clock, open } = setUp(t)
  {
    await using book = open()
    book.scores.penalise({ entityId: ALICE }, 'fatal', 'X')
    book.scores.penalise({ addressKey: '192.0.2.1' }, 'fatal', 'X')
    assert.equal(book.scores.isBanned({ addressKey: '192.0.2.1' }), true)
    assert.equal(book.scores.isBanned({ entityId: BOB }), false)
  }
  clock.at += 39 * 60_000
  {
    await using book = open()
    assert.equal(book.scores.isBanned({ entityId: ALICE }), true)
    assert.equal(book.scores.isBanned({ addressKey: '192.0.2.1' }), false)
  }
  clock.at += 2 * 60_000
  {
    await using book = open()
    assert.equal(book.scores.isBanned({ entityId: ALICE }), false)
    book.scores.penalise({ entityId: ALICE }, 'fatal', 'X')
  }
  clock.at -= 24 * 3_600_000 // the wall clock was wrong
  await using book = open()
  const [entry] = book.scores.list()
  assert.ok(entry!.bannedUntil! - clock.at <= 41 * 60_000)
  book.scores.pardon(ALICE)
  assert.deepEqual(book.scores.list(), [])
})

const anyText = fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 80 }).map(points => String.fromCodePoint(...points))

test('any text is an id, a name, a grant, or refused with a code of this folder', () => {
  const only = (code: string, f: () => unknown): void => {
    try {
      f()
    } catch (e) {
      assert.equal(codeOf(e), code)
    }
  }
  fc.assert(
    fc.property(anyText, text => {
      only('BAD_ENTITY', () => checkEntity(text))
      only('BAD_ALIAS', () => assert.equal(checkAlias(checkAlias(text)), checkAlias(text)))
      only('BAD_GRANT', () => checkGrant(text, {}))
    })
  )
  for (const name of ['', ' ', 'did:key:x', 'a\nb', 'a\u202eb', 'x'.repeat(65), '*'])
    assert.throws(
      () => checkAlias(name),
      e => hasCode(e, 'BAD_ALIAS')
    )
  for (const what of ['', 'admin', 'task:', 'task:a b', 'relay ', 'Relay'])
    assert.throws(
      () => checkGrant(what, {}),
      e => hasCode(e, 'BAD_GRANT')
    )
  for (const n of [-1, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(
      () => checkGrant('relay', { n }),
      e => hasCode(e, 'BAD_GRANT')
    )
})

test('a ban by the user is one after a restart, however much later', async t => {
  const { clock, open } = setUp(t)
  {
    await using book = open()
    book.scores.ban(BOB)
  }
  clock.at += 365 * 24 * 3_600_000
  await using book = open()
  assert.equal(book.scores.isBanned({ entityId: BOB }), true)
  book.scores.pardon(BOB)
  assert.equal(book.scores.isBanned({ entityId: BOB }), false)
})

test('the PeerIds of who is banned are refused, before and after a restart, until the ban ends', async t => {
  const { clock, open } = setUp(t)
  const banned: string[] = []
  {
    await using book = open()
    book.scores.onBanned(who => void banned.push('entityId' in who ? who.entityId : who.addressKey))
    book.observe(ALICE, { peerId: '12D3alice' })
    book.observe(BOB, { peerId: '12D3bob' })
    assert.deepEqual([book.isRefused('12D3alice'), book.isRefused('12D3bob')], [false, false])
    book.scores.ban(ALICE)
    for (let i = 0; i < 9; i++) book.scores.penalise({ entityId: BOB }, 'low', 'MALFORMED')
    book.scores.penalise({ addressKey: 'peer 12D3unknown' }, 'fatal', 'DOWNGRADE')
    book.scores.penalise({ addressKey: '192.0.2.1' }, 'fatal', 'DOWNGRADE')
    assert.deepEqual(banned, [ALICE, BOB, 'peer 12D3unknown', '192.0.2.1'], 'each is told once')
    assert.equal(book.isRefused('12D3alice'), true, 'also before it is on disk')
  }
  const ids = ['12D3alice', '12D3bob', '12D3unknown', '12D3other']
  await using book = open()
  assert.deepEqual(
    ids.map(id => book.isRefused(id)),
    [true, true, true, false]
  )
  assert.deepEqual(
    book.scores.list().map(s => s.entityId),
    [ALICE, BOB],
    'PeerIds are no identities'
  )
  clock.at += 24 * 3_600_000
  assert.deepEqual(
    ids.map(id => book.isRefused(id)),
    [true, false, false, false]
  )
  book.scores.pardon(ALICE)
  assert.equal(book.isRefused('12D3alice'), false)
})
