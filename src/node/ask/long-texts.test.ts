/** Texts that came as links: fetched for peers that the user knows, within bounds, again when it failed, and told to the sender. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import { utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { Emitter } from '../../base/events.ts'
import { silentLogger } from '../../base/log.ts'
import type { IncomingMessage, MessengerEvents, OutgoingMessage } from '../../messaging/types.ts'
import { newUuid } from '../../messaging/uuid.ts'
import { LONG_TEXT_RETRY_MS, MAX_LONG_TEXT_BYTES } from '../limits.ts'
import { fetchedOwnerOf, LongTexts } from './long-texts.ts'

const FRIEND = 'did:key:friend'

class Rig {
  readonly clock = new FakeClock()
  readonly inbox: IncomingMessage[] = []
  readonly sent: OutgoingMessage[] = []
  readonly shown: string[] = []
  readonly got = new Map<string, string>()
  readonly dropped: string[] = []
  readonly events = new Emitter<MessengerEvents>(() => {})
  isThere = true
  open(): LongTexts {
    const messenger = {
      self: 'did:key:self',
      inbox: () => this.inbox,
      send: async (m: OutgoingMessage) => {
        this.sent.push(m)
        return {} as never
      },
      events: this.events
    }
    const files = {
      putFile: () => Promise.reject(new Error('unused')),
      getFile: async () => {
        if (!this.isThere) throw new KithError('NO_SOURCES', 'gone')
        return '/got'
      },
      dropFile: (path: string) => void this.dropped.push(path)
    }
    const texts = {
      has: (_: string, id: string) => this.got.has(id),
      put: (_: string, id: string, text: Uint8Array) => void this.got.set(id, new TextDecoder().decode(text))
    }
    return new LongTexts({
      ...{ clock: this.clock, log: silentLogger, messenger, files, texts, read: async () => utf8('all of it') },
      ...{ isKnown: from => from === FRIEND, show: m => void this.shown.push(m.id) }
    })
  }
  message(change: { from?: string; size?: number; text?: string } = {}): IncomingMessage {
    const { from = FRIEND, size = 7_000_000, text } = change
    const data = { ...(text === undefined ? {} : { text }), file: { link: 'kith:x', name: 'message.txt', size } }
    const body = { from, to: 'me', content: { type: 'text', data } }
    const at = this.clock.now()
    const m = { id: newUuid(), from, type: 'agent_message', body, priority: 'normal', via: 'direct', sentAt: at, receivedAt: at } as const
    this.inbox.unshift(m)
    return m
  }
}

test('a long text of a known peer is fetched, then shown, and its sender is told', async () => {
  const rig = new Rig()
  await using long = rig.open()
  long.start()
  const m = rig.message()
  assert.equal(long.take(m), true)
  assert.deepEqual(rig.shown, [])
  await eventually('shown', () => rig.shown.length === 1)
  assert.deepEqual([rig.got.get(m.id), rig.dropped], ['all of it', ['/got']])
  const [told] = rig.sent
  assert.equal(told?.to, FRIEND)
  assert.equal(fetchedOwnerOf({ type: 'agent_message', body: told!.body }), `message:${m.id}`)
})

test('texts of strangers, texts that are too long, and files stay links', async () => {
  const rig = new Rig()
  await using long = rig.open()
  long.start()
  for (const change of [{ from: 'did:key:stranger' }, { size: MAX_LONG_TEXT_BYTES + 1 }, { size: -1 }, { text: 'see the file' }])
    assert.equal(long.take(rig.message(change)), false)
  assert.deepEqual([rig.got.size, rig.sent], [0, []])
})

test('what cannot be fetched is shown as a link, and tried again: after a while, when the sender is back, after a restart', async () => {
  const rig = new Rig()
  rig.isThere = false
  const m = rig.message()
  {
    await using long = rig.open()
    long.start()
    rig.inbox.length = 0
    const other = rig.message()
    assert.equal(long.take(other), true)
    await eventually('shown as it is', () => rig.shown.length === 1)
    rig.isThere = true
    rig.events.emit('peer:connected', { entityId: FRIEND, peerId: undefined })
    await eventually('fetched', () => rig.got.has(other.id))
    await eventually('and the other', async () => {
      await rig.clock.advance(LONG_TEXT_RETRY_MS)
      return rig.got.has(m.id)
    })
  }
  rig.got.clear()
  await using again = rig.open()
  again.start()
  await eventually('fetched by the next run', () => rig.got.size === 1)
})

test('whoever gave a file hears that the user has fetched it', async () => {
  const rig = new Rig()
  await using long = rig.open()
  long.start()
  const m = rig.message({ text: 'here', from: 'did:key:stranger' })
  long.fetched('kith:other')
  long.fetched('kith:x')
  long.fetched('kith:x')
  assert.deepEqual(
    rig.sent.map(s => [s.to, fetchedOwnerOf({ type: 'agent_message', body: s.body })]),
    [['did:key:stranger', `message:${m.id}`]]
  )
})
