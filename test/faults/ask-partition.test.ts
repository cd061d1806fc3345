/**
 * Two nodes that send each other messages while the cable between them is pulled, while only one of them is heard, and while one is stopped
 * (threats C4, C6): nothing is lost, nothing comes twice, nothing expires, and it goes on by itself. KITH_CAMPAIGN=1 (`npm run campaign --
 * ask`) keeps each fault long enough for both sides to notice, ten times.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type AskLink, noAskLink, openAskLink } from '../kits/ask-link.ts'
import { type AskNode, allArrivedOnce, arrived, CAMPAIGN, numbered, openNode, received, sendTexts, until } from '../kits/ask-nodes.ts'
import { Lab } from '../kits/lab.ts'
import { seededRandom } from '../kits/random.ts'

const TEXTS = 100
/** Rounds of all faults, and how long each lasts. */
const ROUNDS = CAMPAIGN ? 10 : 1
const SHORT_MS = 1_500
/** Both sides have given the other up by then: 30 s without an acknowledgement, 90 s without a word. */
const NOTICED_MS = 130_000
/** After a heal, for what waits to begin to move. */
const HEALED_MS = 30_000

interface Fault {
  readonly what: string
  begin(): void
  end(): void
}

function faults(link: AskLink, b: AskNode): Fault[] {
  return [
    { what: 'pulled', begin: () => link.pull(), end: () => link.plug() },
    { what: 'a unheard', begin: () => link.mute(0), end: () => link.unmute(0) },
    { what: 'b unheard', begin: () => link.mute(1), end: () => link.unmute(1) },
    { what: 'b stopped', begin: () => b.process.kill('SIGSTOP'), end: () => b.process.kill('SIGCONT') }
  ]
}

test('a cable pulled, one side unheard, one side stopped: nothing lost, nothing twice, and it goes on', async t => {
  const why = noAskLink()
  if (why !== undefined) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const random = seededRandom(t)
  const lab = new Lab(t)
  await using link = await openAskLink()
  const a = await openNode(t, lab, 'a', [], link.ends[0])
  const b = await openNode(t, lab, 'b', ['--bootstrap', a.address], link.ends[1])
  await a.api.ask.send({ to: b.address, text: 'hello b' })
  await b.api.ask.send({ to: a.address, text: 'hello a' })
  await arrived(b, 'hello', 1)
  for (let round = 0; round < ROUNDS; round++) {
    const all = faults(link, b)
    // Of the two that are heard by one side only, one is enough for a short run.
    if (!CAMPAIGN) all.splice(random() < 0.5 ? 1 : 2, 1)
    for (const fault of all) {
      const lasts = CAMPAIGN && round % 3 === 1 ? NOTICED_MS : SHORT_MS * (0.5 + random())
      await during(t, { a, b, fault, lasts, name: `${round} ${fault.what}` })
    }
  }
  await t.test('C15: the address of one changes while messages are under way', async () => {
    link.move(1, '10.98.0.77')
    const [there, back] = [numbered('moved >', 20), numbered('moved <', 20)]
    await Promise.all([sendTexts(a, b.entityId, there), sendTexts(b, a.entityId, back)])
    await allArrivedOnce(a, b, there)
    await allArrivedOnce(b, a, back)
    assert.equal(b.process.child.exitCode, null, 'nothing was started again')
  })
  assert.deepEqual(
    (await a.api.ask.messages({ direction: 'out', limit: 1000 })).filter(m => m.state === 'failed'),
    [],
    'nothing expired'
  )
})

async function during(
  t: TestContext,
  {
    a,
    b,
    fault,
    lasts,
    name
  }: { readonly a: AskNode; readonly b: AskNode; readonly fault: Fault; readonly lasts: number; readonly name: string }
): Promise<void> {
  const [there, back] = [numbered(`${name} >`, TEXTS), numbered(`${name} <`, TEXTS / 4)]
  const isStopped = fault.what === 'b stopped'
  // Half before, half while it is broken.
  await sendTexts(a, b.entityId, there.slice(0, TEXTS / 2))
  fault.begin()
  try {
    await sendTexts(a, b.entityId, there.slice(TEXTS / 2))
    if (!isStopped) await sendTexts(b, a.entityId, back)
    await new Promise(resolve => setTimeout(resolve, lasts))
    if (lasts === NOTICED_MS && fault.what === 'pulled')
      for (const node of [a, b])
        assert.ok(
          (await node.api.ask.peers()).every(p => !p.connected),
          'the loss is noticed'
        )
  } finally {
    fault.end()
  }
  const healed = performance.now()
  if (isStopped) await sendTexts(b, a.entityId, back)
  await until(`what waited goes on: ${name}`, async () => new Set(await received(b)).has(there.at(-1)!), CAMPAIGN ? 400_000 : 60_000)
  const took = performance.now() - healed
  t.diagnostic(`${name}: ${Math.round(lasts)} ms, on after ${Math.round(took)} ms`)
  await allArrivedOnce(a, b, there)
  await allArrivedOnce(b, a, back)
  if (CAMPAIGN) assert.ok(took < HEALED_MS, `${name}: on after ${Math.round(took)} ms`)
}
