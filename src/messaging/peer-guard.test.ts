import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { tempFolder } from '../../test/kits/messaging.ts'
import type { Clock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { openPeerBook } from '../trust/peer-book.node.ts'
import type { PeerBook } from '../trust/types.ts'
import { didOfKey } from '../wire/did-key.ts'
import { MESSAGE_TYPES, type MessageType } from '../wire/message-types.ts'
import type { Origin } from './guard.ts'
import { BAD_FRAMES_TO_BAN } from './limits.ts'
import { PeerGuard } from './peer-guard.ts'

const did = (n: number): string => didOfKey(new Uint8Array(32).fill(n))
const [PEER, FRIEND] = [did(1), did(2)]
const from = (entityId: string | undefined, peerId?: string, address?: string): Origin => ({ entityId, peerId, address })

class StillClock implements Clock {
  at = 1_800_000_000_000
  now = (): number => this.at
  monotonic = (): number => this.at
  sleep = (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason), { once: true }))
}

async function withGuard(work: (guard: PeerGuard, book: PeerBook, clock: StillClock, banned: string[]) => void): Promise<void> {
  using folder = tempFolder()
  const clock = new StillClock()
  const banned: string[] = []
  await using book = openPeerBook({ clock, log: silentLogger }, `${folder.path}/peers.db`)
  const deps = {
    clock,
    scores: book.scores,
    isTrusted: (id: string) => id === FRIEND,
    onBanned: (_: Origin, code: string) => void banned.push(code)
  }
  work(new PeerGuard(deps), book, clock, banned)
}
const times = (n: number, work: () => string | undefined): number => [...Array(n)].filter(() => work() === undefined).length

test('each type has its share, and a wake-up comes once a minute (threats TA3)', () =>
  withGuard((guard, _book, clock) => {
    const types = ['handshake', 'heartbeat', 'task_delegate', 'discovery', 'wake_up'] as const
    // Somebody else for each: who is refused so often is banned.
    const who = (type: MessageType): string => did(100 + Object.keys(MESSAGE_TYPES).indexOf(type))
    const admit = (type: MessageType, by = who(type)): string | undefined => guard.admit(from(by), type, 100)
    const got = Object.fromEntries(types.map(t => [t, times(500, () => admit(t))]))
    assert.deepEqual(got, { handshake: 10, heartbeat: 120, task_delegate: 60, discovery: 20, wake_up: 1 })
    clock.at += 60_000
    const later = Object.fromEntries((['heartbeat', 'task_delegate', 'wake_up'] as const).map(t => [t, times(500, () => admit(t))]))
    assert.deepEqual(later, { heartbeat: 60, task_delegate: 30, wake_up: 1 })
    assert.equal(
      times(10_000, () => admit('task_delegate', FRIEND)),
      10_000,
      'whom the user trusts may ask more'
    )
    assert.equal(
      times(10, () => admit('wake_up', FRIEND)),
      1
    )
    assert.equal(
      times(10_000, () => admit('agent_message')),
      10_000
    )
  }))

test('a session carries 10,000 messages a second; who has none a few frames', () =>
  withGuard(guard => {
    assert.equal(
      times(10_000, () => guard.admit(from(PEER, 'p'), undefined, 1024)),
      10_000
    )
    assert.ok(times(1000, () => guard.admit(from(undefined, 'q'), undefined, 1024)) <= 40)
    assert.ok(times(1000, () => guard.admit(from(PEER), undefined, 1024 * 1024)) < 300, 'bytes count too')
  }))

test('those whom nobody vouches for bring a bounded number of bytes onto the disk, each and together', () =>
  withGuard(guard => {
    const mebi = 1024 * 1024
    const taken = times(100, () => guard.admit(from(PEER, 'p'), 'agent_message', mebi))
    assert.ok(taken <= 33, `${taken} MiB of one`)
    for (const type of ['heartbeat', 'handshake', 'ack'] as const)
      assert.equal(guard.admit(from(PEER, 'p'), type, mebi), undefined, 'what is not stored goes on')
    const names = Array.from({ length: 60 }, (_, i) => `did:key:other${i}`)
    const flood = (address: string | undefined): number =>
      names.reduce((n, name) => n + times(32, () => guard.admit(from(name, name, address), 'agent_message', mebi)), 0)
    const relayed = taken + flood(undefined)
    assert.ok(relayed <= 65, `${relayed} MiB sealed or through relays`)
    assert.equal(guard.admit(from(did(50), 'honest', '9.9.9.9'), 'agent_message', mebi), undefined, 'others find room')
    const all = relayed + 1 + flood('8.8.8.8') + flood('7.7.7.7')
    assert.ok(all <= 130, `${all} MiB of all`)
  }))

test('whoever sends bad frames is banned at the latest after twenty, told once, and its next link is refused', () =>
  withGuard((guard, book, _clock, banned) => {
    const who = from(PEER, 'p', '192.0.2.1')
    let n = 0
    while (guard.admit(who, undefined, 10) === undefined) {
      guard.report(who, 'UNSUPPORTED') // costs least
      n++
    }
    assert.ok(n <= BAD_FRAMES_TO_BAN, `${n}`)
    assert.deepEqual(banned, ['UNSUPPORTED', 'UNSUPPORTED'], 'the identity, and the PeerId')
    assert.equal(guard.admit(from(undefined, 'p', '192.0.2.9'), undefined, 0), 'BANNED', 'before a handshake')
    assert.equal(guard.admit(from(undefined, 'other', '192.0.2.1'), undefined, 0), undefined, 'others behind its address are heard')
    assert.equal(book.scores.isBanned({ entityId: PEER }), true)
    guard.report(from(FRIEND), 'DOWNGRADE')
    assert.equal(guard.admit(from(FRIEND), undefined, 1), 'BANNED')
  }))

test('a clock, a restart or a full disk costs nobody anything', () =>
  withGuard((guard, book) => {
    for (const code of [
      'CLOCK_SKEW',
      'SESSION_EXPIRED',
      'DISK_FULL',
      'QUEUE_FULL',
      'INTERNAL',
      'EXPIRED',
      'LINK_REPLACED',
      'UNKNOWN_PREKEY'
    ]) {
      for (let i = 0; i < 50; i++) guard.report(from(PEER, 'p'), code)
    }
    assert.equal(book.scores.view({ entityId: PEER }).score, 0)
  }))

const TYPES = Object.keys(MESSAGE_TYPES) as MessageType[]
const CODES = [
  'INVALID_SIGNATURE',
  'REPLAY_DETECTED',
  'MALFORMED',
  'DOWNGRADE',
  'NONCE_REUSE',
  'IDENTITY_MISMATCH',
  'SEQUENCE_ERROR',
  'TOO_LARGE'
]
/** All that others can be proved to be: themselves, or nobody, also from the victim's own address and naming its PeerId in what they send. */
const attacker = fc.record({
  entityId: fc.constantFrom(undefined, did(7), did(8), did(9)),
  peerId: fc.constantFrom(undefined, 'attacker', 'sybil'),
  address: fc.constantFrom(undefined, '192.0.2.1', '2001:db8::1')
})
const action = fc.oneof(
  fc.record({ who: attacker, code: fc.constantFrom(...CODES) }),
  fc.record({ who: attacker, type: fc.constantFrom(undefined, ...TYPES), times: fc.integer({ min: 1, max: 200 }) })
)

test('no script of others lowers the score of a peer, nor keeps it from being heard (threats T1)', () =>
  withGuard((guard, book, clock) => {
    const victim = from(PEER, 'victim', '192.0.2.1')
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), fc.nat(100_000), (script, ms) => {
        clock.at += ms
        const before = book.scores.view({ entityId: PEER }).score
        for (const a of script) {
          if ('code' in a) guard.report(a.who, a.code)
          else for (let i = 0; i < a.times; i++) guard.admit(a.who, a.type, 1000)
        }
        assert.equal(book.scores.view({ entityId: PEER }).score, before)
        assert.equal(guard.admit(victim, undefined, 100), undefined)
        assert.equal(guard.admit(from(undefined, 'victim', '192.0.2.1'), undefined, 0), undefined, 'not a new link of it either')
        clock.at += 1000
      })
    )
  }))
