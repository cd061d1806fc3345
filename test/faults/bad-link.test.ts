/**
 * A seeder and a downloader at the ends of a bad link (threats C5): what arrives is right, or the download goes on; it is never wrong and
 * never loses what it had. The levels are those of iroh's tests, from good wifi to a link that nobody would use. KITH_CAMPAIGN=1 (`npm run
 * campaign -- bad-link`) runs every level over three protocols, and with only one direction bad.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, type TestContext, test } from 'node:test'
import { noBadLink, openBadLink, type Way } from '../kits/bad-link.ts'
import { downloadIn, Lab, sha256OfFile } from '../kits/lab.ts'
import { comparePart, recordedBytes } from '../kits/part-files.ts'
import { seededRandom } from '../kits/random.ts'

const MIB = 2 ** 20
const CAMPAIGN = process.env['KITH_CAMPAIGN'] === '1'

/** kbit/s, round trip and jitter in ms, share lost, mean number of packets lost together. */
const LEVELS = {
  'good-wifi': [100_000, 16, 0, 0.001, 4],
  'congested-wifi': [25_000, 40, 12, 0.01, 6],
  'weak-4g': [8_000, 90, 15, 0.02, 8],
  'slow-3g': [3_000, 200, 30, 0.03, 10],
  'congested-cellular': [1_500, 300, 40, 0.05, 12],
  'very-bad-cellular': [800, 450, 60, 0.08, 20],
  satellite: [25_000, 600, 40, 0.015, 6],
  'barely-usable': [500, 450, 80, 0.12, 25],
  absurd: [256, 800, 150, 0.25, 40]
} as const
type Level = keyof typeof LEVELS

/** Half of the round trip, and all that is wrong: a fade lasts as long as its packets would take. */
function wayOf(level: Level): Way {
  const [rateKbit, roundTrip, jitterMs, loss, packets] = LEVELS[level]
  return { rateKbit, delayMs: roundTrip / 2, jitterMs: jitterMs / 2, loss, burstMs: (packets * 1400 * 8) / rateKbit }
}
/** The same way on a good day: as slow and as far, nothing lost. */
const clean = ({ rateKbit, delayMs }: Way): Way => ({ rateKbit: rateKbit!, delayMs: delayMs! })
const UNRELIABLE: Way = { rateKbit: 25_000, delayMs: 10, loss: 0.002, duplicate: 0.01, corrupt: 0.001, reorder: 0.01 }

interface Case {
  readonly what: string
  readonly protocol: string
  readonly size: number
  /** From the seeder to the downloader, and back. */
  readonly ways: readonly [Way, Way]
  /** Not waited for to finish: what is there after so long must be right, and be there for the next run. */
  readonly seconds?: number
}

const both = (level: Level, protocol: string, size: number, seconds?: number): Case => ({
  what: level,
  protocol,
  size,
  ways: [wayOf(level), wayOf(level)],
  ...(seconds === undefined ? {} : { seconds })
})
const unreliable = (protocol: string): Case => ({
  what: 'a link that doubles, damages and reorders packets',
  protocol,
  size: 10 * MIB,
  ways: [UNRELIABLE, UNRELIABLE]
})

const SHORT: readonly Case[] = [
  both('good-wifi', 'bittorrent', 10 * MIB),
  unreliable('http'),
  both('weak-4g', 'kith', 3 * MIB),
  both('slow-3g', 'http', 1.5 * MIB)
]

/** Every level over three protocols with both directions bad, and over HTTP with only the data's way or only the other one bad. */
function* campaign(): Iterable<Case> {
  for (const level of Object.keys(LEVELS) as Level[]) {
    const seconds = level === 'absurd' ? 900 : undefined
    for (const protocol of ['http', 'bittorrent', 'kith']) yield both(level, protocol, 10 * MIB, seconds)
    const way = wayOf(level)
    const http = both(level, 'http', 10 * MIB, seconds)
    yield { ...http, what: `${level}, only from the seeder`, ways: [way, clean(way)] }
    yield { ...http, what: `${level}, only from the downloader`, ways: [clean(way), way] }
  }
  for (const protocol of ['http', 'https', 'bittorrent', 'kith']) yield unreliable(protocol)
}

const why = noBadLink()
const parallel = CAMPAIGN ? 5 : SHORT.length
suite('a bad link', { concurrency: parallel, timeout: CAMPAIGN ? 3_600_000 : 120_000 }, () => {
  for (const c of CAMPAIGN ? campaign() : SHORT)
    test(`${c.what} over ${c.protocol}: ${c.seconds ? 'nothing is wrong or lost' : 'the file arrives'}`, async t => {
      if (why === undefined) return fetchOver(t, c)
      assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
      t.skip(why)
    })
})

async function fetchOver(t: TestContext, { protocol, size, ways, seconds }: Case): Promise<void> {
  const random = seededRandom(t)
  const lab = new Lab(t)
  await using link = await openBadLink(Math.floor(random() * 2 ** 32), ...ways)
  const [a, b] = link.ends
  const here = (address: string): string[] => ['--json', '--port', '0', '--no-lan', '--listen', address]
  const file = lab.file('f.bin', size)
  const content = readFileSync(file)
  const seeder = lab.start('a', ['share', file, '--protocols', protocol, ...here(a.address)], undefined, {}, a.namespace)
  const ready = await seeder.line('ready')
  const out = lab.dir('out')
  const args = ['get', String(ready['link']), '-o', out, '--protocol', protocol, ...here(b.address)]
  const begun = performance.now()
  const left = (): number => (seconds === undefined ? Number.POSITIVE_INFINITY : seconds * 1000 - (performance.now() - begun))
  for (let kept = 0, runs = 1; ; runs++) {
    const process = lab.start('b', args, undefined, {}, b.namespace)
    const end = await process.over(left())
    const took = `${((performance.now() - begun) / 1000).toFixed(1)} s`
    assert.equal(seeder.child.exitCode, null, `the seeder ended: ${seeder.err}`)
    if (end?.code === 0) {
      t.diagnostic(`${size} bytes in ${took}, ${runs} runs`)
      return assert.equal(sha256OfFile(String(end.last['path'])), ready['fileId'])
    }
    assert.ok(seconds !== undefined, `${took}: ${end?.out}${end?.err}`)
    const last = downloadIn(process.latest(l => downloadIn(l) !== undefined))
    if (last !== undefined && last.verifiedBytes > 0) {
      assert.equal(comparePart(out, content).wrong, 0, 'no chunk is recorded whose bytes are wrong')
      assert.ok(last.resumedBytes >= kept, `${kept} bytes were there, ${last.resumedBytes} were found`)
      kept = recordedBytes(out, size)
    }
    if (left() <= 0) return t.diagnostic(`${kept} bytes after ${took}, ${runs} runs`)
  }
}
