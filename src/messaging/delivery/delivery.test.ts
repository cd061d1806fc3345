/** Delivery against a network that breaks, repeats and cuts: whatever happens, each message has its effect once (threats RT9, CO19). */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { MemoryNetwork, note, type TestPeer, tempFolder } from '../../../test/kits/messaging.ts'
import { hasCode } from '../../base/errors.ts'
import { HEARTBEAT_MS, MAX_WAITING_PER_PEER, MISSED_HEARTBEATS } from '../limits.ts'
import { newUuid } from '../uuid.ts'

type Harm = 'break' | 'repeat' | 'cut'
type Step =
  | { readonly do: 'send'; readonly from: 0 | 1; readonly large: boolean }
  | { readonly do: 'harm'; readonly how: Harm; readonly afterFrames: number; readonly share: number }
  | { readonly do: 'restart'; readonly who: 0 | 1 }
  | { readonly do: 'away' }
  | { readonly do: 'wait' }

const side = fc.constantFrom<0 | 1>(0, 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('send' as const), from: side, large: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('harm' as const),
      how: fc.constantFrom<Harm>('break', 'repeat', 'cut'),
      afterFrames: fc.nat(3),
      share: fc.double({ min: 0, max: 1, noNaN: true })
    })
  },
  fc.record({ do: fc.constant('restart' as const), who: side }),
  fc.constantFrom<Step>({ do: 'away' }, { do: 'wait' })
)

const ticks = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise(resolve => setImmediate(resolve))
}

/** Time passes until something is so; none of it while the disk is at work. */
async function until({ clock, peers }: Case, what: string, is: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!is()) {
    assert.ok(performance.now() < deadline, `in vain: ${what}`)
    await ticks(10)
    await Promise.all(peers.map(p => p.onDisk()))
    await clock.advance(200)
  }
}

class Case {
  readonly clock = new FakeClock()
  readonly net = new MemoryNetwork(this.clock)
  readonly sent: { readonly from: 0 | 1; readonly id: string }[] = []
  readonly effects = new Map<string, number>()
  readonly folder: string
  peers: TestPeer[] = []

  constructor(folder: string) {
    this.folder = folder
  }

  async open(who: 0 | 1): Promise<void> {
    const peer = await this.net.open(this.folder, ['alice', 'bob'][who]!)
    peer.messenger.handle('agent_message', async m => void this.effects.set(m.id, (this.effects.get(m.id) ?? 0) + 1))
    this.peers[who] = peer
  }
  async run(s: Step): Promise<void> {
    const { net, clock } = this
    if (s.do === 'send') {
      const id = newUuid()
      const body = note(s.large ? 'x'.repeat(250_000) : id)
      this.sent.push({ from: s.from, id })
      await this.peers[s.from]!.messenger.send({ to: this.peers[1 - s.from]!.id, type: 'agent_message', body, id })
    } else if (s.do === 'restart') {
      await this.peers[s.who]![Symbol.asyncDispose]()
      await this.open(s.who)
    } else if (s.do === 'away') net.isUp = !net.isUp
    else if (s.do === 'wait') await clock.advance(3000)
    else this.#harm(s.how, s.afterFrames, s.share)
    await ticks(5)
  }
  /** Does something to one frame. After a repeated or cut one the link stays: its session has to notice. */
  #harm(how: Harm, afterFrames: number, share: number): void {
    const { net } = this
    let left = afterFrames
    net.tamper = frame => {
      if (left-- !== 0) return [frame]
      if (how === 'repeat') return [frame, frame]
      if (how === 'break') throw new Error('broken')
      return [frame.subarray(0, Math.floor(share * frame.length))]
    }
  }
  async heal(): Promise<void> {
    this.net.isUp = true
    this.net.tamper = undefined
    const isOver = (): boolean =>
      this.sent.every(({ from, id }) => this.peers[from]!.messenger.sent(id)?.state === 'delivered' && this.effects.has(id))
    await until(this, 'delivered', isOver)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const p of this.peers) await p[Symbol.asyncDispose]()
  }
}

test('whatever breaks, every message arrives, and has its effect once', async () => {
  const steps = fc.array(step, { minLength: 8, maxLength: 24 })
  const property = fc.asyncProperty(steps, async all => {
    using folder = tempFolder()
    await using c = new Case(folder.path)
    await c.open(0)
    await c.open(1)
    for (const s of all) await c.run(s)
    await c.heal()
    assert.deepEqual(
      [...c.effects.values()],
      c.sent.map(() => 1)
    )
    assert.equal(c.peers[0]!.messenger.inbox().length + c.peers[1]!.messenger.inbox().length, c.sent.length)
  })
  await fc.assert(property, { numRuns: Number(process.env['KITH_RUNS'] ?? 12) })
})

test('two that open a link to each other at the same time keep the same one', async () => {
  using folder = tempFolder()
  await using c = new Case(folder.path)
  await c.open(0)
  await c.open(1)
  const [alice, bob] = [c.peers[0]!, c.peers[1]!]
  const sends = [alice, bob].map((p, i) => p.messenger.send({ to: [bob, alice][i]!.id, type: 'agent_message', body: note('hi') }))
  await Promise.all(sends)
  await until(c, 'both arrived', () => c.effects.size === 2)
  await ticks(50)
  assert.ok(alice.messenger.isConnected(bob.id) && bob.messenger.isConnected(alice.id))
  const { dials } = c.net
  await alice.messenger.send({ to: bob.id, type: 'agent_message', body: note('again') })
  await until(c, 'arrived', () => c.effects.size === 3)
  assert.equal(c.net.dials, dials, 'no link was opened again')
})

test('the 10,001st message for one recipient is refused with QUEUE_FULL, and others are not affected', async () => {
  using folder = tempFolder()
  await using c = new Case(folder.path)
  c.net.isUp = false
  await c.open(0)
  await c.open(1)
  const [alice, bob] = [c.peers[0]!.messenger, c.peers[1]!]
  const message = { to: bob.id, type: 'agent_message', body: note('') } as const
  await Promise.all(Array.from({ length: MAX_WAITING_PER_PEER }, () => alice.send(message)))
  await assert.rejects(alice.send(message), e => hasCode(e, 'QUEUE_FULL'))
  const other = 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK'
  assert.equal((await alice.send({ ...message, to: other })).state, 'waiting')
})

test('an idle link says that it is there, and one that is silent is given up', async () => {
  using folder = tempFolder()
  await using c = new Case(folder.path)
  await c.open(0)
  await c.open(1)
  const [alice, bob] = [c.peers[0]!.messenger, c.peers[1]!]
  const lost: string[] = []
  alice.events.on('peer:lost', e => lost.push(e.reason))
  const { id } = await alice.send({ to: bob.id, type: 'agent_message', body: note('hi') })
  await until(c, 'delivered', () => alice.sent(id)?.state === 'delivered')
  for (let i = 0; i < 3 * MISSED_HEARTBEATS; i++) {
    await c.clock.advance(HEARTBEAT_MS + 1)
    await ticks(20)
  }
  assert.ok(alice.isConnected(bob.id), 'heartbeats keep it')
  assert.deepEqual(lost, [])
})
