/** The jobs that are raced: what runs side by side in each, and which ratio is the goal. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { formatLink, parseLink } from '../src/wire/link.ts'
import { isInstalled, makeFile, type Sample } from './kit.ts'
import { getOnce, makeWallet, startChain, startSeeder } from './kith.ts'
import * as peers from './peers.ts'

export interface Variant {
  readonly name: string
  run(): Promise<Sample>
}

export interface Goal {
  readonly text: string
  /** Medians of wall seconds: ours over theirs. */
  readonly ours: string
  readonly theirs: string
  /** The ratio must not be above this. */
  readonly atMost: number
}

export interface Race {
  readonly title: string
  readonly goals: readonly Goal[]
  readonly variants: readonly Variant[]
}

export interface Context {
  readonly work: string
  readonly mib: number
  readonly stack: AsyncDisposableStack
  readonly skip: (what: string) => void
}

const KITH = 'kith'

interface Fixture {
  readonly folder: string
  readonly path: string
  readonly sha256: string
}
const fixtures = new Map<string, Promise<Fixture>>()

/** The file of this run, made once. */
export function fixtureOf({ work, mib }: Context): Promise<Fixture> {
  const known = fixtures.get(work)
  if (known) return known
  const folder = join(work, 'files')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'bench.bin')
  const made = makeFile(path, mib).then(sha256 => ({ folder, path, sha256 }))
  fixtures.set(work, made)
  return made
}

/** One seeder, one downloader, HTTP. */
export async function http1(context: Context): Promise<Race> {
  const { work, stack, skip } = context
  const file = await fixtureOf(context)
  const seeder = await startSeeder(join(work, 'http1-seeder'), file.path, ['--protocol', 'http'])
  stack.use(seeder.process)
  const get = { home: join(work, 'http1-get'), address: seeder.share.link, out: join(work, 'http1-out'), servers: [seeder.process] }
  const variants: Variant[] = [{ name: KITH, run: () => getOnce(get) }]
  const goals: Goal[] = []
  if (isInstalled('nginx') && isInstalled('curl') && isInstalled('openssl')) {
    const mirror = await peers.startNginx(work, file.folder, 'bench.bin')
    stack.use(mirror.process)
    variants.push({ name: 'nginx + curl + openssl sha256', run: () => peers.curlAndHash(mirror, join(work, 'curl.bin'), file.sha256) })
    goals.push({ text: 'at most 1.0 × nginx + curl + sha256 (aim 0.85)', ours: KITH, theirs: 'nginx + curl + openssl sha256', atMost: 1 })
  } else skip('nginx, curl or openssl is not installed (Debian: nginx-light, curl, openssl)')
  return { title: 'one HTTP seeder, every chunk and the whole file verified', goals, variants }
}

const PRICES = ['0.001', '0.002', '0.003']

/** Three paid seeders, one downloader, HTTP, settled on the local chain. */
export async function http3(context: Context): Promise<Race> {
  const { work, stack, skip, mib } = context
  const file = await fixtureOf(context)
  const home = join(work, 'http3-get')
  const buyer = await makeWallet(home)
  const chain = await startChain(join(work, 'http3-chain'), buyer, '1000')
  stack.use(chain.process)
  const seeders = []
  for (const [i, price] of PRICES.entries()) {
    const seederHome = join(work, `http3-seeder-${i}`)
    await makeWallet(seederHome)
    const bootstrap = seeders[0] ? ['--bootstrap', seeders[0].address] : []
    const paid = ['--price', price, '--credit', `${mib}M`, '--chain-rpc', chain.rpc]
    const seeder = await startSeeder(seederHome, file.path, ['--protocol', 'http', ...paid, ...bootstrap])
    stack.use(seeder.process)
    seeders.push(seeder)
  }
  const address = formatLink({ ...parseLink(seeders[0]!.share.link), via: seeders.map(s => s.address) })
  const args = ['--chain-rpc', chain.rpc, '--max-cost', '100', '--bootstrap', seeders[0]!.address]
  const servers = seeders.map(s => s.process)
  const ours: Variant = {
    name: `${KITH}, paid and settled`,
    run: async () => {
      const sample = await getOnce({ home, address, out: join(work, 'http3-out'), servers, args })
      const { settlement, sources } = sample.view
      if (settlement?.state !== 'confirmed') throw new Error(`the settlement is ${settlement?.state}: ${settlement?.reason}`)
      const brought = sources.filter(s => s.bytes > 0).length
      if (brought < 3) throw new Error(`only ${brought} seeders brought anything`)
      return sample
    }
  }
  const variants = [ours]
  const goals: Goal[] = []
  if (isInstalled('nginx') && isInstalled('aria2c')) {
    const mirrors = await Promise.all(PRICES.map(() => peers.startNginx(work, file.folder, 'bench.bin')))
    for (const m of mirrors) stack.use(m.process)
    const name = 'aria2 HTTP, 3 mirrors, --checksum'
    variants.push({ name, run: () => peers.aria2(mirrors, join(work, 'aria2-out'), file.sha256) })
    goals.push({ text: 'at least 2 × faster than aria2 with 3 mirrors', ours: ours.name, theirs: name, atMost: 0.5 })
  } else skip('nginx or aria2 is not installed (Debian: nginx-light, aria2)')
  return { title: 'three HTTP seeders, verified, paid and settled in one transaction', goals, variants }
}

/** BitTorrent from one seeder: ours, libtorrent's and webtorrent's. */
export async function bittorrent(context: Context): Promise<Race> {
  const { work, stack, skip } = context
  const file = await fixtureOf(context)
  const seeder = await startSeeder(join(work, 'bt-seeder'), file.path, ['--protocol', 'bittorrent'])
  stack.use(seeder.process)
  const { link, torrentPath, infoHash } = seeder.share
  const home = join(work, 'bt-get')
  const variants: Variant[] = [
    {
      name: `${KITH} from kith`,
      run: () => getOnce({ home, address: link, out: join(work, 'bt-out'), servers: [seeder.process], args: ['--protocol', 'bittorrent'] })
    }
  ]
  const goals: Goal[] = []
  const webtorrent = await import('webtorrent' as string).then(
    () => true,
    () => false
  )
  const wt = 'webtorrent 3.0.21 (TCP) from webtorrent'
  if (webtorrent) {
    const seed = await peers.seedWebtorrent(torrentPath!, file.folder)
    stack.use(seed.process)
    variants.push({ name: wt, run: () => peers.leechWebtorrent(seed, torrentPath!, join(work, 'wt-out')) })
    goals.push({ text: 'at least 1.5 × faster than webtorrent (own seeder)', ours: `${KITH} from kith`, theirs: wt, atMost: 1 / 1.5 })
  } else skip('webtorrent is not installed (npm ci)')
  if (!(await peers.hasLibtorrent())) {
    skip('libtorrent is not installed (Debian: python3-libtorrent)')
    return { title: TITLE, goals, variants }
  }
  const seed = await peers.seedLibtorrent(torrentPath!, file.folder)
  stack.use(seed.process)
  const magnet = `magnet:?xt=urn:btih:${infoHash}&dn=bench.bin`
  const args = ['--peer', `127.0.0.1:${seed.port}`]
  const fromLibtorrent = `${KITH} from libtorrent`
  variants.push(
    { name: fromLibtorrent, run: () => getOnce({ home, address: magnet, out: join(work, 'bt-out'), servers: [seed.process], args }) },
    { name: 'libtorrent (TCP) from libtorrent', run: () => peers.leechLibtorrent(seed, torrentPath!, join(work, 'lt-out')) }
  )
  if (webtorrent) {
    const name = 'webtorrent 3.0.21 (TCP) from libtorrent'
    variants.push({ name, run: () => peers.leechWebtorrent(seed, torrentPath!, join(work, 'wt-out')) })
    goals.push({ text: 'at least 1.5 × faster than webtorrent (from libtorrent)', ours: fromLibtorrent, theirs: name, atMost: 1 / 1.5 })
  }
  return { title: TITLE, goals, variants }
}
const TITLE = 'BitTorrent from one seeder, pieces checked'
