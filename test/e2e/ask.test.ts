/** What a user does with messages, tasks and groups, with real processes: sending, being away, asking a program elsewhere, being refused. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { suite, type TestContext } from 'node:test'
import type { KnownPeerView, MessageView, TaskView } from '../../src/node/ask-types.ts'
import { errorCode, Lab, sha256OfFile } from '../kits/lab.ts'
import type { Ended } from '../kits/process.ts'
import { eventually } from '../kits/transfer-doubles.ts'

suite('ask', { concurrency: 2, timeout: 180_000 }, () => {
  test('texts: to a node that runs, to one that is away and comes back, by name; each arrives once', texts)
  test('a program on another node: result, progress, a file, failure, and who may not ask', programs)
  test('a group: who is removed reads nothing that comes later', groups)
})

const ok = (end: Ended): Ended => {
  assert.equal(end.code, 0, end.err + end.out.slice(-2000))
  return end
}
const textsOf = async (lab: Lab, home: string): Promise<string[]> =>
  (await lab.api(home).ask.messages({ direction: 'in' })).map(m => m.text ?? `[${m.type}]`).reverse()

async function texts(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const b = await lab.ready('b', 'up')
  const a = await lab.ready('a', 'up', '--bootstrap', b.ready.addresses[0]!)
  const first = ok(await lab.client('a', 'msg', 'send', b.ready.addresses[0]!, 'hello b'))
  assert.equal((first.last as unknown as MessageView).state, 'delivered')
  assert.deepEqual(await textsOf(lab, 'b'), ['hello b'])

  // The same words on both screens, and names of one's own.
  const fromA = ok(await lab.client('a', 'verify', b.ready.peerId)).last
  const fromB = ok(await lab.client('b', 'verify', a.ready.peerId)).last
  assert.deepEqual(fromA['words'], fromB['words'])
  assert.equal(ok(await lab.client('a', 'verify', b.ready.peerId, '--yes')).last['verified'], true)
  ok(await lab.client('a', 'peer', 'name', b.ready.peerId, 'server'))
  const listed = (await lab.api('a').ask.peers()) as KnownPeerView[]
  assert.equal(listed.find(p => p.name === 'server')?.verified, true)

  // A file goes along: shared encrypted, its link in the message.
  ok(await lab.client('a', 'msg', 'send', 'Server', 'by name', '--file', lab.file('f.bin', 300_000)))
  const [withFile] = await lab.api('b').ask.messages({ direction: 'in', limit: 1 })
  const got = ok(await lab.client('b', 'get', withFile!.file!.link, '-o', lab.dir('out'))).last
  assert.equal(sha256OfFile(String(got['path'])), sha256OfFile(join(lab.folder, 'f.bin')))

  // Too long for a message: it goes as a file, and comes as a text, because B knows A.
  ok(await lab.client('b', 'peer', 'name', `…${withFile!.peer.slice(-8)}`, 'ada'))
  const long = `${'a long line of text\n'.repeat(350_000)}the end`
  const { id: longId } = await lab.api('a').ask.send({ to: 'server', text: long })
  await eventually('the long text', async () => (await textsOf(lab, 'b')).at(-1)?.startsWith('a long line') === true, 30_000)
  assert.equal((await lab.api('b').ask.message(longId)).text, long)
  const [head] = await lab.api('b').ask.messages({ direction: 'in', limit: 1 })
  assert.deepEqual([head!.textBytes, head!.text!.length, head!.file], [7_000_007, 65_536, undefined])
  assert.deepEqual(
    (await lab.api('a').status()).shares.map(s => s.lent),
    [true, true]
  )

  // Away: it waits on A's disk, through a kill, and arrives once.
  await b.process.destroy()
  const away = ok(await lab.client('a', 'msg', 'send', 'server', 'while you were away', '--wait', '300ms'))
  assert.equal((away.last as unknown as MessageView).state, 'waiting')
  await a.process.destroy()
  const again = await lab.ready('b', 'up')
  await lab.ready('a', 'up', '--bootstrap', again.ready.addresses[0]!)
  await eventually('the message arrives', async () => (await textsOf(lab, 'b')).includes('while you were away'), 60_000)
  await eventually(
    'the sender knows',
    async () => (await lab.api('a').ask.messages({ direction: 'out' })).every(m => m.state === 'delivered'),
    30_000
  )
  assert.deepEqual(await textsOf(lab, 'b'), ['hello b', 'by name', head!.text, 'while you were away'])

  const unknown = await lab.client('a', 'msg', 'send', 'nobody-of-this-name', 'x')
  assert.deepEqual([unknown.code === 0, errorCode(unknown)], [false, 'UNKNOWN_PEER'])
}

async function programs(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const script = join(lab.folder, 'worker.mjs')
  writeFileSync(
    script,
    `import { readFileSync } from 'node:fs'
const task = JSON.parse(readFileSync(0, 'utf8'))
process.stderr.write('progress: 0.5 half\\n')
if (task.description === 'fail') { process.stderr.write('it broke\\n'); process.exit(3) }
const files = (task.files ?? []).map(f => readFileSync(f, 'utf8'))
if (task.description === 'long') process.stdout.write('z'.repeat(600_000))
else process.stdout.write(JSON.stringify({ said: task.description, input: task.input ?? null, files }))
`
  )
  const a = await lab.ready('a', 'up')
  const worker = lab.kith('w', 'agent', 'serve', '--skill', 'echo', '--bootstrap', a.ready.addresses[0]!, '--', process.execPath, script)
  const ready = (await worker.line('ready')) as unknown as { addresses: string[]; peerId: string }
  const refused = await lab.client('a', 'agent', 'ask', ready.addresses[0]!, '--skill', 'echo', 'may I?')
  assert.equal((refused.last as unknown as TaskView).state, 'REFUSED', refused.err)
  assert.notEqual(refused.code, 0)

  ok(await lab.client('w', 'peer', 'grant', a.ready.peerId, 'task:echo'))
  const file = join(lab.folder, 'article.txt')
  writeFileSync(file, 'an article')
  const done = ok(await lab.client('a', 'agent', 'ask', ready.peerId, '--skill', 'echo', 'hello', '--input', '{"n":1}', '--file', file))
    .last as unknown as TaskView
  assert.equal(done.state, 'COMPLETED')
  assert.deepEqual(done.output, { said: 'hello', input: { n: 1 }, files: [readFileSync(file, 'utf8')] })
  // Too long for a message: it comes as a file, is fetched, and stays when it is not given any more.
  const answered = ok(await lab.client('a', 'agent', 'ask', ready.peerId, '--skill', 'echo', 'long'))
  const long = answered.last as unknown as TaskView
  assert.equal((long.output as string | undefined)?.length, 600_000, answered.err)
  assert.equal(((await lab.api('a').ask.taskOutput(long.id)).output as string).length, 600_000)
  // Only the skill is named: found by asking the network.
  const found = ok(await lab.client('a', 'agent', 'ask', '--skill', 'echo', 'anybody')).last as unknown as TaskView
  assert.deepEqual((found.output as { said: string }).said, 'anybody')
  const broke = await lab.client('a', 'agent', 'ask', ready.peerId, '--skill', 'echo', 'fail')
  const failed = broke.last as unknown as TaskView
  assert.deepEqual([failed.state, broke.code === 0], ['FAILED', false])
  assert.match(failed.error?.message ?? '', /it broke/)
  const listed = (await lab.api('a').ask.tasks()).map(x => x.state).sort()
  assert.deepEqual(listed, ['COMPLETED', 'COMPLETED', 'COMPLETED', 'FAILED', 'REFUSED'])
}

async function groups(t: TestContext): Promise<void> {
  const lab = new Lab(t)
  const a = await lab.ready('a', 'up')
  const b = await lab.ready('b', 'up', '--bootstrap', a.ready.addresses[0]!)
  const c = await lab.ready('c', 'up', '--bootstrap', a.ready.addresses[0]!)
  for (const [who, name] of [
    [b, 'bob'],
    [c, 'carol']
  ] as const)
    ok(await lab.client('a', 'peer', 'name', who.ready.addresses[0]!, name))
  ok(await lab.client('a', 'group', 'create', 'team', 'bob', 'carol'))
  ok(await lab.client('a', 'group', 'send', 'team', 'to both'))
  for (const home of ['b', 'c']) await eventually(`${home} has it`, async () => (await textsOf(lab, home)).includes('to both'), 30_000)
  await assert.rejects(lab.api('a').ask.createGroup('team', ['bob']), { code: 'GROUP_EXISTS' })
  ok(await lab.client('a', 'group', 'remove', 'team', 'carol'))
  const only = ok(await lab.client('a', 'group', 'send', 'team', 'only to bob')).last as unknown as MessageView
  assert.equal(only.state, 'delivered')
  await eventually('bob has it', async () => (await textsOf(lab, 'b')).includes('only to bob'), 30_000)
  await eventually('carol was told', async () => (await lab.api('c').ask.groups()).every(g => !g.isMember), 30_000)
  assert.ok(!(await textsOf(lab, 'c')).includes('only to bob'))
  const [team] = await lab.api('b').ask.groups()
  assert.equal((await lab.api('b').ask.leaveGroup(team!.id.slice(0, 8))).isMember, false)
  await lab.api('b').ask.leaveGroup('team')
  assert.deepEqual(await lab.api('b').ask.groups(), [])
}
