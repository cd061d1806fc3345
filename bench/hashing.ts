/** Hashing a file to be shared, from the page cache: beside openssl, and beside what the digests cost by themselves in the same run. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Figure } from './figures.ts'
import { isInstalled, median, Running, root } from './kit.ts'
import { type Context, fixtureOf } from './race.ts'

const CORES = 2
/** The goal: of the rate at which two cores could make the digests if nothing else cost anything. */
const SHARE_OF_IDEAL = 85

interface Wants {
  readonly sha1: boolean
  readonly v2: boolean
  readonly ed2k: boolean
}
const CORE: Wants = { sha1: false, v2: false, ed2k: false }
const ALL: Wants = { sha1: true, v2: true, ed2k: true }

interface Run {
  /** MB/s of the file. */
  readonly rate: number
  /** MB/s until SHA-256 was told. */
  readonly coreRate: number
}

async function hashOnce(path: string, mb: number, wants: Wants): Promise<Run> {
  const code = `import { hashFile } from ${JSON.stringify(join(root, 'src/transfer/hash-file.node.ts'))}
const began = performance.now(); let core = 0
await hashFile(${JSON.stringify(path)}, ${JSON.stringify(wants)}, { onCore: () => { core = performance.now() - began } })
console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000, core: core / 1000 }))`
  await using node = new Running(process.execPath, ['--input-type=module', '-e', code])
  const { seconds, core } = await node.result()
  return { rate: mb / Number(seconds), coreRate: mb / Number(core) }
}

type Costs = Readonly<Record<'whole' | 'chunks' | 'sha1' | 'v2' | 'md4' | 'aich', number>>

/** ns per byte of each digest, measured on all cores at once. */
async function costs(): Promise<Costs> {
  const one = async (): Promise<Costs> => {
    await using node = new Running(process.execPath, [join(root, 'bench/digest-cost.ts')])
    return (await node.result()) as unknown as Costs
  }
  const all = await Promise.all(Array.from({ length: CORES }, one))
  const mean = (key: keyof Costs): number => all.reduce((n, c) => n + c[key], 0) / all.length
  return Object.fromEntries(Object.keys(all[0]!).map(key => [key, mean(key as keyof Costs)])) as Costs
}

/** MB/s of a file if so many ns per byte were all that it cost, divided evenly. */
const ideal = (...ns: readonly number[]): number => (CORES * 1000) / ns.reduce((a, b) => a + b, 0)

async function openssl(path: string, mb: number): Promise<number> {
  const began = performance.now()
  await promisify(execFile)('openssl', ['dgst', '-sha256', path])
  return mb / ((performance.now() - began) / 1000)
}

export async function hashing(context: Context, runs: number): Promise<Figure[]> {
  const { path } = await fixtureOf(context, context.mib)
  const mb = (context.mib * 2 ** 20) / 1e6
  const seen = { core: [] as number[], pieces: [] as number[], all: [] as number[], link: [] as number[], openssl: [] as number[] }
  const bare = { core: [] as number[], all: [] as number[] }
  for (let i = 0; i < runs; i++) {
    seen.core.push((await hashOnce(path, mb, CORE)).rate)
    seen.pieces.push((await hashOnce(path, mb, { ...CORE, sha1: true })).rate)
    const { whole, chunks, sha1, v2, md4, aich } = await costs()
    bare.core.push(ideal(whole, chunks))
    bare.all.push(ideal(whole, chunks, sha1, v2, md4, aich))
    const { rate, coreRate } = await hashOnce(path, mb, ALL)
    seen.all.push(rate)
    seen.link.push(coreRate)
    if (isInstalled('openssl')) seen.openssl.push(await openssl(path, mb))
  }
  const share = (ours: readonly number[], theirs: readonly number[]): number => (100 * median(ours)) / median(theirs)
  return [
    { name: 'SHA-256 of the whole and of every chunk (share over HTTP)', value: median(seen.core), unit: 'MB/s' },
    { name: 'the two digests by themselves, two cores', value: median(bare.core), unit: 'MB/s' },
    { name: 'the first of the second', value: share(seen.core, bare.core), unit: '%' },
    { name: 'with SHA-1 of every piece', value: median(seen.pieces), unit: 'MB/s' },
    { name: 'all: with SHA-1, BEP 52, MD4 and AICH (share over every protocol)', value: median(seen.all), unit: 'MB/s' },
    { name: 'the six digests by themselves, two cores', value: median(bare.all), unit: 'MB/s' },
    { name: 'the first of the second', value: share(seen.all, bare.all), unit: '%', atLeast: SHARE_OF_IDEAL },
    { name: 'all, until the link can be shown', value: median(seen.link), unit: 'MB/s' },
    ...(seen.openssl.length > 0
      ? [{ name: 'openssl dgst -sha256: the whole only, one core', value: median(seen.openssl), unit: 'MB/s' }]
      : [])
  ]
}
