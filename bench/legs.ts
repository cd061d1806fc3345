/** One protocol alone, from one seeder: BitTorrent beside other programs, WebRTC between two Node processes, ed2k between two of ours. */
import { join } from 'node:path'
import { canLoad } from './kit.ts'
import { getOnce, startSeeder } from './kith.ts'
import { type Context, fixtureOf, type Goal, type Race, type Variant } from './race.ts'
import { hasLibtorrent, leechLibtorrent, leechWebtorrent, seedLibtorrent, seedWebtorrent } from './torrent-peers.ts'

/** WebRTC and ed2k are slower: a smaller file says as much. */
const SLOW_MIB = 256
const WEBTORRENT = 'webtorrent 3.0.21 (TCP)'

export async function bittorrent(context: Context): Promise<Race> {
  const { work, stack, skip, mib } = context
  const file = await fixtureOf(context, mib)
  const seeder = await startSeeder(join(work, 'bt-seeder'), file.path, ['--protocol', 'bittorrent'])
  stack.use(seeder.process)
  const { link, plainMagnet, plainTorrentPath } = seeder.share
  const torrent = plainTorrentPath! // v1 only: libtorrent would check a hybrid twice
  const get = { home: join(work, 'bt-get'), out: join(work, 'bt-out') }
  const fromKith = 'kith from kith'
  const only = ['--protocol', 'bittorrent']
  const variants: Variant[] = [{ name: fromKith, run: () => getOnce({ ...get, address: link, servers: [seeder.process], args: only }) }]
  const goals: Goal[] = []
  if (await hasLibtorrent()) {
    const seed = await seedLibtorrent(torrent, file.folder)
    stack.use(seed.process)
    const args = ['--peer', `127.0.0.1:${seed.port}`, ...only]
    const name = 'libtorrent (TCP) from libtorrent'
    variants.push(
      { name: 'kith from libtorrent', run: () => getOnce({ ...get, address: plainMagnet!, servers: [seed.process], args }) },
      { name, run: () => leechLibtorrent([seed], torrent, join(work, 'lt-out')) }
    )
    goals.push({ text: "at least libtorrent's rate, each from its own seeder", ours: fromKith, theirs: name, share: 100 })
  } else skip('libtorrent is not installed (Debian: python3-libtorrent)')
  if (await canLoad('webtorrent')) {
    const seed = await seedWebtorrent(torrent, file.folder)
    stack.use(seed.process)
    const name = `${WEBTORRENT} from webtorrent`
    variants.push({ name, run: () => leechWebtorrent(seed, torrent, join(work, 'wt-out')) })
    goals.push({ text: 'at least 2 × faster than webtorrent', ours: fromKith, theirs: name, ratio: 0.5 })
  } else skip('webtorrent is not installed (npm ci)')
  return { title: 'BitTorrent from one seeder, pieces checked', mib, goals, variants }
}

export async function webrtc(context: Context): Promise<Race> {
  if (!(await canLoad('node-datachannel'))) context.skip('node-datachannel is not installed (npm ci)')
  return leg(context, 'webtorrent', 'WebRTC from Node to Node', { text: 'at least 70 MB/s', rate: 70 })
}

export const ed2k = (context: Context): Promise<Race> =>
  leg(context, 'ed2k', 'ed2k from one of ours to another', { text: 'at least 150 MB/s', rate: 150 })

export const stream = (context: Context): Promise<Race> => leg(context, 'kith', 'a stream over libp2p', undefined)

async function leg(context: Context, protocol: string, title: string, goal: Omit<Goal, 'ours'> | undefined): Promise<Race> {
  const { work, stack } = context
  const mib = Math.min(SLOW_MIB, context.mib)
  const file = await fixtureOf(context, mib)
  const seeder = await startSeeder(join(work, `${protocol}-seeder`), file.path, ['--protocol', protocol])
  stack.use(seeder.process)
  const get = { home: join(work, `${protocol}-get`), address: seeder.share.link, out: join(work, `${protocol}-out`) }
  const ours = `kith from kith over ${protocol}`
  const variants = [{ name: ours, run: () => getOnce({ ...get, servers: [seeder.process], args: ['--protocol', protocol] }) }]
  return { title: `${title}, verified`, mib, goals: goal ? [{ ...goal, ours }] : [], variants }
}
