/** Groups over real messengers: sessions, durable outboxes and inboxes, links in memory. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { MemoryNetwork, seedOf, tempFolder } from '../../test/kits/messaging.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { signBody } from '../identity/signing.ts'
import { openGroups } from './groups.ts'
import { openGroupStore } from './groups-store.node.ts'
import type { Groups } from './groups-types.ts'

interface Member {
  readonly id: string
  readonly groups: Groups
  close(): Promise<void>
}
async function open(t: TestContext, network: MemoryNetwork, folder: string, name: string): Promise<Member> {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const peer = stack.use(await network.open(folder, name))
  const store = stack.use(openGroupStore(join(folder, name, 'groups.db'), { storageKey: new Uint8Array(32).fill(1) }))
  const sign = (domain: string, body: Uint8Array) => signBody(seedOf(name), domain, body)
  const deps = { clock: systemClock, log: silentLogger, random: randomBytes, messenger: peer.messenger, store, sign }
  const groups = stack.use(await openGroups(deps))
  return { id: peer.id, groups, close: () => stack.disposeAsync() }
}
const texts = (m: Member, groupId: string): (string | undefined)[] =>
  m.groups
    .posts(groupId)
    .map(p => p.text)
    .reverse()
const soon = (what: string, ready: () => boolean): Promise<void> => eventually(what, ready, 20_000)

test('a group works over encrypted sessions, also for who was away', async t => {
  const folder = tempFolder()
  t.after(() => folder[Symbol.dispose]())
  const network = new MemoryNetwork()
  const a = await open(t, network, folder.path, 'a')
  const b = await open(t, network, folder.path, 'b')
  const c = await open(t, network, folder.path, 'c')
  const { id } = await a.groups.create('three', [b.id, c.id])
  const { id: postId } = await a.groups.send(id, 'one')
  await soon('both have it', () => [b, c].every(m => texts(m, id).includes('one')))
  await soon('the sender knows', () => a.groups.post(id, postId)!.deliveries.every(d => d.state === 'delivered'))
  await c.close()
  await b.groups.send(id, 'two')
  await soon('a has it', () => texts(a, id).includes('two'))
  const again = await open(t, network, folder.path, 'c')
  await soon('c is told later', () => texts(again, id).includes('two'))
  await a.groups.remove(id, again.id)
  await soon('all know', () => [b, again].every(m => m.groups.get(id)!.members.length === 2))
  await b.groups.send(id, 'three')
  await soon('a has it', () => texts(a, id).includes('three'))
  assert.deepEqual(texts(again, id), ['one', 'two'])
  assert.deepEqual(texts(a, id), ['one', 'two', 'three'])
})
