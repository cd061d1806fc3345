/** Messages without a session, as strangers and banned peers send them, against the guard that a node has. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { randomBytes } from '#crypto'
import { MemoryNetwork, note, selfOf, type TestPeer, tempFolder } from '../../../test/kits/messaging.ts'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import { utf8 } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { openPeerBook } from '../../trust/peer-book.node.ts'
import type { PeerBook } from '../../trust/types.ts'
import type { MessageType } from '../../wire/message-types.ts'
import { readSecureMessage, writeSecureMessage } from '../../wire/secure-message.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import { FREE_REFUSALS, MAX_TTL_MS, MAX_WAITING_PER_PEER } from '../limits.ts'
import { PeerGuard } from '../peer-guard.ts'
import { newUuid } from '../uuid.ts'
import { writeSingleMessage } from './single-message.ts'
import type { ReceiveContext } from './singles.ts'

const ADDRESS = '192.0.2.7'

async function withPeer(work: (peer: TestPeer, book: PeerBook) => Promise<void>): Promise<void> {
  using folder = tempFolder()
  await using book = openPeerBook({ clock: systemClock, log: silentLogger }, `${folder.path}/peers.db`)
  const guard = new PeerGuard({ clock: systemClock, scores: book.scores, isTrusted: () => false })
  await using peer = await new MemoryNetwork().open(folder.path, 'peer', { guard })
  await work(peer, book)
}

async function written(
  from: string,
  to: string,
  type: MessageType = 'agent_message',
  body: JsonObject = note('hello')
): Promise<Uint8Array> {
  const deps = { clock: systemClock, random: randomBytes, self: await selfOf(from) }
  return writeSingleMessage(deps, to, type, utf8(JSON.stringify({ message_id: newUuid(), ...body })))
}
const receive = (peer: TestPeer, bytes: Uint8Array, how: ReceiveContext): Promise<string> =>
  peer.messenger.receive(bytes, how).then(() => 'taken', codeOf)

test('a banned peer is not heard, whether its message came over HTTP or sealed', () =>
  withPeer(async (peer, book) => {
    book.scores.ban((await selfOf('banned')).entityId)
    for (const how of [{ via: 'http', address: ADDRESS }, { via: 'sealed' }] as const) {
      assert.equal(await receive(peer, await written('banned', peer.id), how), 'BANNED')
      assert.equal(await receive(peer, await written('honest', peer.id), how), 'taken')
    }
    assert.equal(peer.messenger.inbox().length, 2)
  }))

test('a message alone is for us, new enough, outside any session, and of a type that makes sense alone', () =>
  withPeer(async peer => {
    const day = 86_400_000
    const self = await selfOf('honest')
    const at = (ms: number, type: MessageType = 'agent_message'): Promise<Uint8Array> => {
      const clock = { now: () => systemClock.now() + ms }
      const body = { message_id: newUuid(), ...note('hello') }
      return writeSingleMessage({ clock, random: randomBytes, self }, peer.id, type, utf8(JSON.stringify(body)))
    }
    const { entityId } = await selfOf('somebody else')
    const m = readSecureMessage(await at(0))
    const sign = (bytes: Uint8Array): Promise<Uint8Array> => self.signBytes(bytes)
    for (const via of ['sealed', 'http'] as const) {
      const how: ReceiveContext = via === 'http' ? { via, address: ADDRESS } : { via }
      assert.equal(await receive(peer, await written('honest', entityId), how), 'MISROUTED')
      assert.equal(await receive(peer, await writeSecureMessage({ ...m, sequenceNum: 1 }, sign), how), 'SEQUENCE_ERROR')
      assert.equal(await receive(peer, await writeSecureMessage({ ...m, encrypted: true }, sign), how), 'SEQUENCE_ERROR')
      for (const type of ['heartbeat', 'chunk', 'handshake'] as const)
        assert.equal(await receive(peer, await at(0, type), how), 'UNSUPPORTED')
      assert.equal(await receive(peer, await writeSecureMessage(m, async () => new Uint8Array(64)), how), 'INVALID_SIGNATURE')
      assert.equal(await receive(peer, await at(day), how), 'CLOCK_SKEW')
      assert.equal(await receive(peer, await at(-day), how), via === 'http' ? 'CLOCK_SKEW' : 'taken')
    }
    assert.equal(await receive(peer, await at(-MAX_TTL_MS - day), { via: 'sealed' }), 'EXPIRED')
    assert.equal(peer.messenger.inbox().length, 1)
  }))

test('a flood of sealed junk does not keep sealed messages of others out', () =>
  withPeer(async peer => {
    for (let i = 0; i < 2 * FREE_REFUSALS; i++) await receive(peer, utf8('{}'), { via: 'sealed' })
    const codes = []
    for (let i = 0; i < 100; i++) codes.push(await receive(peer, await written('honest', peer.id), { via: 'sealed' }))
    assert.deepEqual([...new Set(codes)], ['taken'])
  }))

test('who repeats what a peer sent over HTTP does not use up what that peer may send, nor its score', () =>
  withPeer(async (peer, book) => {
    const { entityId } = await selfOf('honest')
    const overheard = await written('honest', peer.id, 'wake_up', {})
    assert.equal(await receive(peer, overheard, { via: 'http', address: ADDRESS }), 'taken')
    const codes = new Set<string>()
    for (let i = 0; i < FREE_REFUSALS + 100; i++)
      codes.add(await receive(peer, overheard, { via: 'http', address: `10.${i >> 8}.${i & 255}.1` }))
    assert.deepEqual([...codes], ['REPLAY_DETECTED'])
    assert.equal(book.scores.view({ entityId }).score, 0)
  }))

test('who hands in sealed messages of a peer again and again does not use up its share either', () =>
  withPeer(async (peer, book) => {
    const { entityId } = await selfOf('honest')
    const kept = await written('honest', peer.id, 'wake_up', {})
    const codes = new Set<string>()
    for (let i = 0; i < FREE_REFUSALS + 100; i++) codes.add(await receive(peer, kept, { via: 'sealed' }))
    assert.deepEqual([...codes], ['taken'])
    assert.equal(book.scores.view({ entityId }).score, 0)
    assert.equal(peer.messenger.inbox().length, 1)
  }))

test('who sends what is refused and fetches no answers leaves room for the messages of the user', () =>
  withPeer(async peer => {
    const most = MAX_WAITING_PER_PEER / 10
    let handled = 0
    peer.messenger.handle('agent_message', async () => {
      handled++
      throw new KithError('NOT_AUTHORISED', 'not for you')
    })
    const sent = await Promise.all(Array.from({ length: most + 300 }, () => written('stranger', peer.id)))
    await Promise.all(sent.map(bytes => receive(peer, bytes, { via: 'sealed' })))
    await eventually('all handled', () => handled === sent.length)
    await peer.messenger.send({ to: (await selfOf('friend')).entityId, type: 'agent_message', body: note('hello') })
    const { length } = peer.messenger.outbox(2 * most).filter(m => m.type === 'error')
    assert.ok(length >= most && length < most + 100, `${length} errors wait`)
  }))

test('receipts for many senders are carried a few at a time, and each goes out', async () => {
  using folder = tempFolder()
  const told = new Set<string>()
  let most = 0
  let now = 0
  const carrier = {
    carry: async (to: string) => {
      most = Math.max(most, ++now)
      await new Promise<void>(resolve => setImmediate(resolve))
      now--
      return Boolean(told.add(to))
    }
  }
  await using peer = await new MemoryNetwork().open(folder.path, 'peer', { carrier })
  const sent = await Promise.all(Array.from({ length: 100 }, (_, i) => written(`sender ${i}`, peer.id)))
  await Promise.all(sent.map(bytes => receive(peer, bytes, { via: 'sealed' })))
  await eventually('all are told', () => told.size === sent.length)
  assert.ok(most <= 16, `${most} at once`)
})

test('answers to strangers are refused long before the messages of the user are', () =>
  withPeer(async peer => {
    const to = (await selfOf('stranger')).entityId
    const answer = () => peer.messenger.send({ to, type: 'agent_message', body: note('yes'), isAnswer: true }).then(() => 'taken', codeOf)
    const codes = await Promise.all(Array.from({ length: MAX_WAITING_PER_PEER / 10 + 5 }, answer))
    assert.deepEqual(
      codes.filter(c => c !== 'taken'),
      Array(5).fill('QUEUE_FULL')
    )
    await peer.messenger.send({ to, type: 'agent_message', body: note('by the user') })
  }))
