import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { MemoryPost } from '../../test/kits/messenger-memory.ts'
import { type Someone, someone } from '../../test/kits/reach.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { didOfKey } from '../wire/did-key.ts'
import { type GroupOp, groupOpCodec } from '../wire/group-op.ts'
import { groupMessageBody, groupUpdateBody, readGroupMessage, readGroupUpdate } from '../wire/group-payloads.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { transcriptOf } from './groups/log.ts'
import { openGroups } from './groups.ts'
import { openGroupStore } from './groups-store.node.ts'
import type { Groups, PostView } from './groups-types.ts'
import type { IncomingMessage, Messenger } from './types.ts'

interface Member {
  readonly self: Someone
  readonly id: string
  groups: Groups
  messenger: Messenger
  readonly posts: PostView[]
  readonly splits: string[]
  readonly healed: string[]
  open(): Promise<void>
  close(): Promise<void>
  /** As kill -9: what runs is not finished. */
  kill(): Promise<void>
}

async function member(t: TestContext, post: MemoryPost, mayInvite?: (by: string) => boolean): Promise<Member> {
  const self = await someone()
  const folder = mkdtempSync(join(tmpdir(), 'kith-groups-'))
  let store = openGroupStore(join(folder, 'groups.db'), { storageKey: new Uint8Array(32).fill(1) })
  const m: Member = {
    self,
    id: self.entityId,
    groups: undefined as unknown as Groups,
    messenger: undefined as unknown as Messenger,
    posts: [],
    splits: [],
    healed: [],
    async open() {
      m.messenger = post.open(self.entityId)
      const deps = {
        clock: systemClock,
        log: silentLogger,
        random: randomBytes,
        messenger: m.messenger,
        store,
        sign: self.sign
      }
      m.groups = await openGroups({ ...deps, ...(mayInvite ? { mayInvite } : {}) })
      m.groups.events.on('group:message', e => void m.posts.push(e.post))
      m.groups.events.on('group:split', e => void m.splits.push(e.with))
      m.groups.events.on('group:healed', e => void m.healed.push(e.group.id))
    },
    async close() {
      await m.groups[Symbol.asyncDispose]()
      await m.messenger[Symbol.asyncDispose]()
      store[Symbol.dispose]()
    },
    async kill() {
      post.kill(self.entityId)
      await m.groups[Symbol.asyncDispose]()
      store[Symbol.dispose]()
      store = openGroupStore(join(folder, 'groups.db'), { storageKey: new Uint8Array(32).fill(1) })
    }
  }
  await m.open()
  t.after(async () => {
    await m.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return m
}
const some = (t: TestContext, post: MemoryPost, n: number): Promise<Member[]> =>
  Promise.all(Array.from({ length: n }, () => member(t, post)))

/** All of them see exactly these members. */
const agree = (groupId: string, all: readonly Member[], members: readonly Member[] = all): Promise<void> =>
  eventually('all agree', () => {
    const want = members
      .map(m => m.id)
      .sort()
      .join()
    return all.every(
      m =>
        m.groups
          .get(groupId)
          ?.members.map(x => x.entityId)
          .sort()
          .join() === want
    )
  })
const texts = (m: Member): string[] => m.posts.map(p => p.text ?? '')
const gets = (m: Member, text: string): Promise<void> => eventually(`the message "${text}"`, () => texts(m).includes(text))
const code = (name: string) => (e: unknown) => hasCode(e, name) || assert.fail(String(e))
const state = (from: Member, groupId: string, postId: string, to: Member): string => {
  const d = from.groups.post(groupId, postId)!.deliveries.find(x => x.to === to.id)
  return `${d?.state} ${d?.code ?? ''}`.trim()
}

test('a group: create, write, add, remove, leave; all know who is in it and what was said while they were', async t => {
  const post = new MemoryPost()
  const [a, b, c, d] = (await some(t, post, 4)) as [Member, Member, Member, Member]
  const { id } = await a.groups.create('Küche', [b.id, c.id])
  await agree(id, [a, b, c])
  assert.deepEqual([b.groups.get(id)!.name, b.groups.get(id)!.createdBy, b.groups.get(id)!.isMember], ['Küche', a.id, true])
  const first = await a.groups.send(id, 'hello')
  await Promise.all([gets(b, 'hello'), gets(c, 'hello')])
  await eventually('delivered', () => [b, c].every(m => state(a, id, first.id, m) === 'delivered'))
  await b.groups.send(id, { kind: 'photo', link: 'kith:…' })
  await eventually('a body', () => a.posts[0]?.body['kind'] === 'photo')

  await a.groups.add(id, d.id)
  await agree(id, [a, b, c, d])
  await c.groups.send(id, 'welcome')
  await gets(d, 'welcome')
  assert.deepEqual(texts(d), ['welcome'], 'nothing from before')

  await a.groups.remove(id, c.id)
  await agree(id, [a, b, c, d], [a, b, d])
  assert.equal(c.groups.get(id)!.isMember, false)
  await b.groups.send(id, 'without c')
  await Promise.all([gets(a, 'without c'), gets(d, 'without c')])
  assert.ok(!texts(c).includes('without c'))
  await assert.rejects(c.groups.send(id, 'x'), code('NOT_MEMBER'))
  await assert.rejects(b.groups.add(id, c.id), code('NOT_AUTHORISED'))
  await d.groups.leave(id)
  await agree(id, [a, b], [a, b])
  await assert.rejects(d.groups.leave(id), code('NOT_MEMBER'))
  assert.equal(await d.groups.forget(id), true)
  assert.deepEqual(d.groups.list(), [])
  await assert.rejects(a.groups.forget(id), code('STILL_MEMBER'))
  await assert.rejects(a.groups.create('', []), code('BAD_GROUP_NAME'))
  await assert.rejects(a.groups.create('x', ['bob']), code('BAD_ENTITY'))
  await assert.rejects(a.groups.send('0'.repeat(64), 'x'), code('UNKNOWN_GROUP'))
})

test('a message is encrypted once, and nobody on the way reads it', async t => {
  const post = new MemoryPost()
  const seen: { readonly to: string; readonly type: string; readonly body: JsonObject }[] = []
  post.passes = m => void seen.push(m) === undefined
  const [a, b, c] = (await some(t, post, 3)) as [Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id, c.id])
  const canary = randomUUID()
  await a.groups.send(id, canary)
  await Promise.all([gets(b, canary), gets(c, canary)])
  const copies = seen.filter(m => m.type === 'group_message')
  assert.equal(new Set(copies.map(m => m.to)).size, 2)
  assert.equal(new Set(copies.map(m => m.body['data'])).size, 1)
  assert.ok(!JSON.stringify(copies).includes(canary))
})

test('RT5: messages of who is no member, was none yet, or uses another key are NOT_MEMBER', async t => {
  const post = new MemoryPost()
  const sent: { readonly from: string; readonly body: JsonObject; readonly type: string }[] = []
  post.passes = m => void sent.push({ ...m, from: '' }) === undefined
  const [a, b, c, stranger] = (await some(t, post, 4)) as [Member, Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id])
  await agree(id, [a, b])
  await a.groups.send(id, 'before')
  await gets(b, 'before')
  const before = sent.findLast(m => m.type === 'group_message')!.body
  await a.groups.add(id, c.id)
  await agree(id, [a, b, c])
  await c.groups.send(id, 'as a member')
  await gets(b, 'as a member')
  const own = sent.findLast(m => m.type === 'group_message')!.body
  const refusal = async (from: Member, to: Member, body: JsonObject): Promise<unknown> => {
    const { id: sentId } = await from.messenger.send({ to: to.id, type: 'group_message', body })
    const answer = (): IncomingMessage | undefined =>
      from.messenger.inbox({ type: 'error' }).find(m => m.body['original_message_id'] === sentId)
    await eventually('an answer', () => answer() !== undefined)
    return answer()!.body['error_code']
  }
  assert.equal(await refusal(stranger, b, own), 'NOT_MEMBER')
  assert.equal(await refusal(c, b, { ...before, post_id: randomUUID() }), 'NOT_MEMBER', 'from before it joined')
  assert.equal(await refusal(a, c, before), 'NOT_MEMBER', 'from before the reader joined')
  assert.equal(await refusal(c, b, { ...own, epoch: before['epoch']! }), 'NOT_MEMBER', 'the key of another epoch')
  assert.equal(await refusal(a, b, own), 'DECRYPTION_FAILED', 'it was another who wrote it')
  await a.groups.remove(id, c.id)
  await agree(id, [a, b, c], [a, b])
  assert.equal(await refusal(c, b, { ...own, post_id: randomUUID() }), 'NOT_MEMBER', 'it was removed')
  assert.equal(await refusal(stranger, b, { ...own, group_id: '1'.repeat(64) }), 'NOT_MEMBER')
  assert.deepEqual(texts(b), ['before', 'as a member'])
})

test('RT7: when somebody on the way shows members different histories, the next message tells', async t => {
  const post = new MemoryPost()
  const [a, b, c] = (await some(t, post, 3)) as [Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id, c.id])
  await agree(id, [a, b, c])
  const x = await member(t, post)
  post.passes = m => !(m.type === 'group_update' && m.to === c.id)
  await a.groups.add(id, x.id)
  await agree(id, [a, b, x], [a, b, c, x])
  assert.equal(c.groups.get(id)!.split, false)
  await b.groups.send(id, 'who is here?')
  await eventually('c hears of it', () => c.splits.length > 0)
  assert.equal(c.splits[0], b.id)
  assert.ok(c.groups.get(id)!.split)
  assert.deepEqual(texts(c), [], 'it waits')
  post.passes = () => true
  for (const m of [a, b]) post.heal(m.id, c.id)
  await gets(c, 'who is here?')
  await agree(id, [a, b, c, x])
  await eventually('healed', () => c.healed.length === 1 && !c.groups.get(id)!.split)
})

test('changes on both sides of a cut come together, and the next message has a key of its own', async t => {
  const post = new MemoryPost()
  const [a, b, c, x, y] = (await some(t, post, 5)) as [Member, Member, Member, Member, Member]
  const { id } = await a.groups.create('g', [c.id, x.id, y.id])
  await a.groups.add(id, b.id, 'admin')
  await agree(id, [a, b, c, x, y])
  post.cut(a.id, b.id)
  await a.groups.remove(id, x.id)
  const d = await member(t, post)
  await b.groups.add(id, d.id)
  await agree(id, [c], [a, b, c, y, d])
  post.heal(a.id, b.id)
  await agree(id, [a, b, c, y, d])
  await c.groups.send(id, 'together')
  await Promise.all([a, b, y, d].map(m => gets(m, 'together')))
  assert.ok(!texts(x).includes('together'))
  assert.deepEqual(a.groups.get(id)!.forkedBy, [])
})

test('everything survives kill -9: groups, messages, what was to be sent and what waits', async t => {
  const post = new MemoryPost()
  const [a, b, c] = (await some(t, post, 3)) as [Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id, c.id])
  await agree(id, [a, b, c])
  post.cut(a.id, b.id)
  const sent = await a.groups.send(id, 'later')
  await gets(c, 'later')
  await a.kill()
  await b.kill()
  await a.open()
  await b.open()
  assert.equal(state(a, id, sent.id, b), 'waiting')
  post.heal(a.id, b.id)
  await gets(b, 'later')
  await eventually('delivered', () => state(a, id, sent.id, b) === 'delivered')
  assert.equal((await a.groups.send(id, 'later', sent.id)).id, sent.id)
  await b.groups.send(id, 'thanks')
  await gets(a, 'thanks')
  assert.deepEqual(
    b.groups.posts(id).map(p => p.text),
    ['thanks', 'later']
  )
  assert.equal(texts(c).filter(x => x === 'later').length, 1)
})

test('a member that was not told yet is told everything by who writes to it', async t => {
  const post = new MemoryPost()
  const [a, b, c] = (await some(t, post, 3)) as [Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id])
  await agree(id, [a, b])
  post.cut(a.id, c.id)
  await a.groups.add(id, c.id)
  await agree(id, [a, b], [a, b, c])
  const { id: postId } = await b.groups.send(id, 'hi c')
  await gets(c, 'hi c')
  await eventually('delivered in the end', () => state(b, id, postId, c) === 'delivered')
})

test('who may not invite does not, and strangers cannot change or learn of a group', async t => {
  const post = new MemoryPost()
  const a = await member(t, post)
  const shy = await member(t, post, () => false)
  const { id } = await a.groups.create('g', [shy.id])
  await eventually('refused', () => a.messenger.inbox({ type: 'error' }).some(m => m.body['error_code'] === 'NOT_AUTHORISED'))
  assert.deepEqual(shy.groups.list(), [])
  const stranger = await member(t, post)
  const heads = ['2'.repeat(64)]
  const ask = groupUpdateBody({ groupId: id, ops: [], epochs: [], heads, want: true })
  await stranger.messenger.send({ to: a.id, type: 'group_update', body: ask })
  await eventually('refused', () => stranger.messenger.inbox({ type: 'error' }).some(m => m.body['error_code'] === 'NOT_MEMBER'))
  assert.equal(a.groups.get(id)!.split, false)
  assert.deepEqual(stranger.groups.list(), [])
})

test('RT7: who was removed cannot make members believe that their group is split', async t => {
  const post = new MemoryPost()
  const [a, b, c] = (await some(t, post, 3)) as [Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id, c.id])
  await agree(id, [a, b, c])
  let forged: JsonObject | undefined
  post.passes = m => {
    if (m.type === 'group_message') forged = m.body
    return true
  }
  await c.groups.send(id, 'x')
  await gets(a, 'x')
  await a.groups.remove(id, c.id)
  await agree(id, [a, b], [a, b])
  const heads = ['2'.repeat(64)]
  const transcript = await transcriptOf(heads)
  await c.messenger.send({ to: a.id, type: 'group_message', body: { ...forged!, post_id: randomUUID(), heads, transcript } })
  await eventually('it was held', () => c.messenger.inbox({ type: 'group_update' }).some(m => m.body['want'] === true))
  assert.equal(a.groups.get(id)!.split, false)
})

test('a peer that sends change after change is told to wait before it costs much; others go on', async t => {
  const post = new MemoryPost()
  const [a, b, c] = (await some(t, post, 3)) as [Member, Member, Member]
  const { id } = await a.groups.create('g', [b.id, c.id])
  await agree(id, [a, b, c])
  const junk = groupUpdateBody({ groupId: id, ops: Array(1000).fill(new Uint8Array(10)), epochs: [], heads: [id], want: false })
  for (let i = 0; i < 20; i++) await b.messenger.send({ to: a.id, type: 'group_update', body: junk })
  await eventually('told to wait', () => b.messenger.inbox({ type: 'error' }).some(m => m.body['error_code'] === 'RATE_LIMITED'))
  const codes = b.messenger.inbox({ type: 'error' }).map(m => m.body['error_code'])
  assert.ok(codes.filter(x => x !== 'RATE_LIMITED').length <= 9, codes.join())
  const d = await member(t, post)
  await c.groups.leave(id)
  await a.groups.add(id, d.id)
  await agree(id, [a, d], [a, b, d])
})

test('operations and payloads survive the way, and anything else is refused with a code', () => {
  const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n })
  const hex = (n: number): fc.Arbitrary<string> => bytes(n).map(b => Buffer.from(b).toString('hex'))
  const who = bytes(32).map(didOfKey)
  const role = fc.constantFrom('admin' as const, 'member' as const)
  const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
    fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
  const hashes = fc.uniqueArray(hex(32), { minLength: 1, maxLength: 8 }).map(h => h.sort())
  const change = fc.oneof(
    plain({ kind: fc.constantFrom('add' as const, 'role' as const), member: who, role }),
    plain({ kind: fc.constant('remove' as const), member: who }),
    plain({ kind: fc.constant('leave' as const) })
  )
  const nat = fc.maxSafeNat()
  const op = plain({ group: hex(32).map(h => `1${h.slice(1)}`), lamport: nat.map(n => n || 1), at: nat, parents: hashes, change })
  fc.assert(fc.property(op, o => assert.deepEqual(decode(groupOpCodec, encode(groupOpCodec, o as GroupOp)), o)))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), b => {
      try {
        assert.deepEqual(encode(groupOpCodec, decode(groupOpCodec, b)), b)
      } catch (e) {
        assert.ok(e instanceof KithError, String(e))
      }
    })
  )
  const update = plain({
    groupId: hex(32),
    ops: fc.array(bytes(60), { maxLength: 3 }),
    epochs: fc.array(plain({ key: hex(32), heads: hashes }), { maxLength: 3 }),
    heads: hashes,
    want: fc.boolean()
  })
  fc.assert(fc.property(update, u => assert.deepEqual(readGroupUpdate(groupUpdateBody(u)), u)))
  const message = plain({
    groupId: hex(32),
    postId: fc.uuid({ version: 4 }),
    epoch: hex(16),
    heads: hashes,
    transcript: hex(32),
    salt: hex(32),
    data: bytes(40)
  })
  fc.assert(fc.property(message, m => assert.deepEqual(readGroupMessage(groupMessageBody(m)), m)))
  const good = { ...groupUpdateBody({ groupId: '1'.repeat(64), ops: [], epochs: [], heads: ['2'.repeat(64)], want: true }) }
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(good)), fc.jsonValue(), (field, value) => {
      for (const read of [readGroupUpdate, readGroupMessage])
        try {
          read({ ...good, [field]: value } as JsonObject)
        } catch (e) {
          assert.ok(hasCode(e, 'BAD_PAYLOAD'), String(e))
        }
    })
  )
})
