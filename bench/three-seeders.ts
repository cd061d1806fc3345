/** G1: one file from three seeders over three protocols, verified, paid and settled, beside programs that fetch from three of their kind. */
import { join } from 'node:path'
import { formatLink, parseLink } from '../src/wire/link.ts'
import { openTestTracker } from '../test/interop/bt-tracker.ts'
import { isInstalled, type Running, until } from './kit.ts'
import { getOnce, makeWallet, type Seeder, startChain, startSeeder } from './kith.ts'
import { aria2, startNginx } from './peers.ts'
import { type Context, type Fixture, fixtureOf, type Goal, type Race, type Variant } from './race.ts'
import { hasLibtorrent, leechAria2, leechLibtorrent, seedAria2, seedLibtorrent } from './torrent-peers.ts'

const PROTOCOLS = ['http', 'bittorrent', 'https']
const PRICES = ['0.001', '0.002', '0.003']
const OURS = 'kith, paid and settled'

export async function g1(context: Context): Promise<Race> {
  const { work, stack, skip, mib } = context
  const file = await fixtureOf(context, mib)
  const { ours, seeders } = await kith(context, file)
  const { plainTorrentPath, plainMagnet } = seeders.map(s => s.share).find(s => s.plainTorrentPath !== undefined)!
  const torrent = plainTorrentPath!
  const variants = [ours]
  const goals: Goal[] = []
  if (isInstalled('aria2c')) {
    const name = 'aria2 BitTorrent, 3 aria2 seeders'
    variants.push({ name, run: await aria2Swarm(context, file, torrent, infoHashOf(plainMagnet!)) })
    goals.push({ text: 'at least 3.5 × faster than aria2 over BitTorrent (aim 4)', ours: OURS, theirs: name, ratio: 1 / 3.5 })
  } else skip('aria2 is not installed (Debian: aria2)')
  if (isInstalled('nginx') && isInstalled('aria2c')) {
    const mirrors = await Promise.all(PROTOCOLS.map(() => startNginx(work, file.folder, 'bench.bin')))
    for (const m of mirrors) stack.use(m.process)
    const name = 'aria2 HTTP, 3 mirrors, --checksum'
    variants.push({ name, run: () => aria2(mirrors, join(work, 'aria2-out'), file.sha256) })
    goals.push({ text: 'at least 2 × faster than aria2 with 3 mirrors', ours: OURS, theirs: name, ratio: 0.5 })
  } else skip('nginx is not installed (Debian: nginx-light)')
  if (await hasLibtorrent()) {
    const seeds = await Promise.all(PROTOCOLS.map(() => seedLibtorrent(torrent, file.folder)))
    for (const s of seeds) stack.use(s.process)
    const name = 'libtorrent TCP, 3 libtorrent seeders'
    variants.push({ name, run: () => leechLibtorrent(seeds, torrent, join(work, 'lt-out')) })
    goals.push({ text: 'at least 2 × faster than libtorrent', ours: OURS, theirs: name, ratio: 0.5 })
  } else skip('libtorrent is not installed (Debian: python3-libtorrent)')
  return { title: 'three seeders over HTTP, BitTorrent and HTTPS: verified, paid, settled', mib, goals, variants }
}

/** Three paid seeders, each with another protocol and price. */
async function kith({ work, stack, mib }: Context, file: Fixture): Promise<{ ours: Variant; seeders: readonly Seeder[] }> {
  const home = join(work, 'g1-get')
  const chain = await startChain(join(work, 'g1-chain'), await makeWallet(home), '1000')
  stack.use(chain.process)
  const seeders: Seeder[] = []
  for (const [i, protocol] of PROTOCOLS.entries()) {
    const seederHome = join(work, `g1-${protocol}`)
    await makeWallet(seederHome)
    const paid = ['--price', PRICES[i]!, '--credit', `${mib}M`, '--chain-rpc', chain.rpc]
    const seeder = await startSeeder(seederHome, file.path, ['--protocol', protocol, ...paid])
    stack.use(seeder.process)
    seeders.push(seeder)
  }
  const address = formatLink({ ...parseLink(seeders[0]!.share.link), via: seeders.map(s => s.address) })
  const args = ['--chain-rpc', chain.rpc, '--max-cost', '100']
  const servers = seeders.map(s => s.process)
  const run: Variant['run'] = async () => {
    const sample = await getOnce({ home, address, out: join(work, 'g1-out'), servers, args })
    const { settlement, sources } = sample.view
    if (settlement?.state !== 'confirmed') throw new Error(`the settlement is ${settlement?.state}: ${settlement?.reason}`)
    const brought = new Set(sources.filter(s => s.bytes > 0).map(s => s.protocol))
    if (brought.size < PROTOCOLS.length) throw new Error(`only ${[...brought].join(' and ')} brought anything`)
    return sample
  }
  return { ours: { name: OURS, run }, seeders }
}

/** Seeders and a downloader of aria2, which meet at a tracker. */
async function aria2Swarm({ work, stack }: Context, file: Fixture, torrent: string, infoHash: string): Promise<Variant['run']> {
  const tracker = stack.use(await openTestTracker('127.0.0.1'))
  const seeds: Running[] = []
  for (const _ of PROTOCOLS) seeds.push(stack.use(await seedAria2(torrent, file.folder, tracker.url)))
  await until('aria2 has announced itself', () => tracker.peersOf(infoHash).length >= seeds.length)
  return () => leechAria2(seeds, torrent, join(work, 'aria2-bt-out'), tracker.url)
}

const infoHashOf = (magnet: string): string => /btih:([0-9a-f]{40})/.exec(magnet)![1]!
