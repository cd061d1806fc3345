/**
 * Everything that messages are, at random, for as long as KITH_MINUTES says (threats C16): three nodes that send each other short and long
 * texts, take some back, are stopped for a moment and killed now and then. What arrives arrives once; memory and descriptors do not grow. Not
 * in the usual run: it needs an hour to say anything of slopes, and a minute to say that it works.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { type AskNode, openNode, received, sent, until } from '../kits/ask-nodes.ts'
import { Lab } from '../kits/lab.ts'
import { seededRandom } from '../kits/random.ts'

const MINUTES = Number(process.env['KITH_MINUTES'] ?? 0)
/** What a node may have gained in an hour after the first fifth: a heap moves by so much without any leak. */
const MIB_AN_HOUR = 8
const MOST_DESCRIPTORS = 20
const SAMPLE_MS = 2000

interface Place {
  readonly name: string
  node: AskNode
  /** Of this process: a killed one begins again. */
  samples: { readonly at: number; readonly mib: number; readonly files: number }[]
}

test('C16: hours of everything at random: nothing twice, nothing lost, no growth', { timeout: (MINUTES + 10) * 60_000 }, async t => {
  if (MINUTES === 0) return t.skip('runs in npm run campaign -- long')
  const random = seededRandom(t)
  const lab = new Lab(t)
  const hub = await openNode(t, lab, 'hub')
  const open = (name: string): Promise<AskNode> => openNode(t, lab, name, ['--bootstrap', hub.address])
  const places: Place[] = [{ name: 'hub', node: hub, samples: [] }]
  for (const name of ['b', 'c']) places.push({ name, node: await open(name), samples: [] })
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!
  const texts = new Map<string, string>()
  const end = performance.now() + MINUTES * 60_000
  let sampledAt = 0
  for (let n = 0; performance.now() < end; n++) {
    const from = pick(places)
    const to = pick(places.filter(p => p !== from))
    const chance = random()
    // The one whom the others begin with keeps its address, and is never killed: its memory is the one that counts.
    if (chance < 0.005 && from.name !== 'hub') await again(from, open)
    else if (chance < 0.02) await pause(from, random)
    else {
      const text = `${n} ${'x'.repeat(random() < 0.03 ? 300_000 : Math.floor(random() * 3000))}`
      const { id } = await from.node.api.ask.send({ to: to.node.entityId, text })
      if (random() > 0.05 || !(await from.node.api.ask.cancelMessage(id).catch(() => false))) texts.set(String(n), to.name)
    }
    if (performance.now() - sampledAt < SAMPLE_MS) continue
    sampledAt = performance.now()
    for (const p of places) p.samples.push({ at: performance.now(), ...figuresOf(p.node) })
  }
  for (const p of places)
    await until(
      `all of ${p.name} ended`,
      async () => (await sent(p.node)).every(m => m.state === 'delivered' || m.state === 'failed'),
      120_000
    )
  for (const p of places) {
    const came = (await received(p.node)).map(text => text.split(' ')[0]!)
    assert.equal(new Set(came).size, came.length, `${p.name}: something twice`)
    const wanted = [...texts].filter(([, name]) => name === p.name).map(([n]) => n)
    // The list is of the last thousand.
    assert.deepEqual(
      wanted.slice(-500).filter(n => !came.includes(n)),
      [],
      `${p.name}: lost`
    )
  }
  for (const p of places) checkGrowth(t, p)
})

async function again(place: Place, open: (name: string) => Promise<AskNode>): Promise<void> {
  await place.node.process.destroy()
  place.node = await open(place.name)
  place.samples = []
}
async function pause({ node }: Place, random: () => number): Promise<void> {
  node.process.kill('SIGSTOP')
  await new Promise(resolve => setTimeout(resolve, 100 + 2000 * random()))
  node.process.kill('SIGCONT')
}

function figuresOf({ process: { child } }: AskNode): { mib: number; files: number } {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  return { mib: Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) / 1024, files: readdirSync(`/proc/${child.pid}/fd`).length }
}

/** Least squares of memory over time, after the first fifth. */
function checkGrowth(t: TestContext, { name, samples }: Place): void {
  const late = samples.slice(Math.ceil(samples.length / 5))
  const [first, last] = [late[0], late.at(-1)]
  if (!first || !last || late.length < 10) return
  const mean = (of: (s: (typeof late)[number]) => number): number => late.reduce((sum, s) => sum + of(s), 0) / late.length
  const [at, mib] = [mean(s => s.at), mean(s => s.mib)]
  const slope = mean(s => (s.at - at) * (s.mib - mib)) / mean(s => (s.at - at) ** 2)
  const perHour = slope * 3_600_000
  const hours = (last.at - first.at) / 3_600_000
  const files = Math.max(...late.map(s => s.files)) - Math.min(...late.map(s => s.files))
  t.diagnostic(`${name}: ${hours.toFixed(2)} h, ${mib.toFixed(0)} MiB, ${perHour.toFixed(1)} MiB/h, ${files} descriptors up and down`)
  assert.ok(files <= MOST_DESCRIPTORS, `${name}: descriptors move by ${files}`)
  if (hours >= 0.7) assert.ok(perHour < MIB_AN_HOUR, `${name}: ${perHour} MiB an hour`)
}
