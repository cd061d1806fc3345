/** G4: a small file, from a command that starts cold to the verified file, where starting is most of it. */
import { join } from 'node:path'
import { getOnce, startSeeder } from './kith.ts'
import { type Context, fixtureOf, type Goal, type Race, type Variant } from './race.ts'
import { hasLibtorrent, leechLibtorrent, seedLibtorrent } from './torrent-peers.ts'

const MIB = 64

export async function g4(context: Context): Promise<Race> {
  const { work, stack, skip } = context
  const mib = Math.min(MIB, context.mib)
  const file = await fixtureOf(context, mib)
  const seeder = await startSeeder(join(work, 'g4-seeder'), file.path, ['--protocol', 'http', '--protocol', 'bittorrent'])
  stack.use(seeder.process)
  const get = { home: join(work, 'g4-get'), address: seeder.share.link, out: join(work, 'g4-out'), servers: [seeder.process] }
  const ours = 'kith get, from start to exit'
  const variants: Variant[] = [{ name: ours, run: () => getOnce({ ...get, args: ['--protocol', 'http'] }) }]
  const goals: Goal[] = [{ text: 'at most 0.4 s', ours, seconds: 0.4 }]
  if (await hasLibtorrent()) {
    const torrent = seeder.share.plainTorrentPath!
    const seed = await seedLibtorrent(torrent, file.folder)
    stack.use(seed.process)
    const name = 'libtorrent TCP, from start to exit'
    variants.push({ name, run: () => leechLibtorrent([seed], torrent, join(work, 'g4-lt-out')) })
    goals.push({ text: "at most 1.2 × libtorrent's time", ours, theirs: name, ratio: 1.2 })
  } else skip('libtorrent is not installed (Debian: python3-libtorrent)')
  return { title: 'a small file from a cold start', mib, goals, variants }
}
