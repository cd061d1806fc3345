/** G2 and G3: one file from one seeder, in the clear and encrypted, beside what careful people do by hand. */
import { join } from 'node:path'
import { isInstalled } from './kit.ts'
import { getOnce, startSeeder } from './kith.ts'
import { curlAndHash, rsync, startNginx, startRsync } from './peers.ts'
import { type Context, type Fixture, fixtureOf, type Goal, type Race, type Variant } from './race.ts'

/** One of our seeders with homes of its own, and a downloader. */
async function ours({ work, stack }: Context, file: Fixture, key: string, name: string, args: readonly string[]): Promise<Variant> {
  const seeder = await startSeeder(join(work, `${key}-seeder`), file.path, args)
  stack.use(seeder.process)
  const get = { home: join(work, `${key}-get`), address: seeder.share.link, out: join(work, `${key}-out`), servers: [seeder.process] }
  return { name, run: () => getOnce(get) }
}

const hasCurl = (): boolean => isInstalled('nginx') && isInstalled('curl') && isInstalled('openssl')
const NO_CURL = 'nginx, curl or openssl is not installed (Debian: nginx-light, curl, openssl)'

export async function g2(context: Context): Promise<Race> {
  const { work, stack, skip, mib } = context
  const file = await fixtureOf(context, mib)
  const kith = await ours(context, file, 'g2', 'kith over HTTP, verified', ['--protocol', 'http'])
  const variants = [kith]
  const goals: Goal[] = []
  if (isInstalled('rsync')) {
    const daemon = await startRsync(work, file.folder, 'bench.bin')
    stack.use(daemon.process)
    const name = 'rsync from its daemon'
    variants.push({ name, run: () => rsync(daemon, join(work, 'rsync-out')) })
    goals.push({ text: "at most 1.7 × rsync's time", ours: kith.name, theirs: name, ratio: 1.7 })
  } else skip('rsync is not installed (Debian: rsync)')
  if (hasCurl()) {
    const mirror = await startNginx(work, file.folder, 'bench.bin')
    stack.use(mirror.process)
    const name = 'nginx + curl + openssl sha256'
    variants.push({ name, run: () => curlAndHash(mirror, join(work, 'curl.bin'), file.sha256) })
    goals.push({ text: 'at most 0.9 × nginx + curl + sha256 (aim 0.75)', ours: kith.name, theirs: name, ratio: 0.9 })
  } else skip(NO_CURL)
  return { title: 'one seeder, every chunk and the whole file verified', mib, goals, variants }
}

export async function g3(context: Context): Promise<Race> {
  const { work, stack, skip, mib } = context
  const file = await fixtureOf(context, mib)
  const kith = await ours(context, file, 'g3', 'kith over HTTPS, verified', ['--protocol', 'https'])
  const sealed = await ours(context, file, 'g3e', 'kith --encrypt over HTTP: ciphertext verified, then decrypted', [
    ...['--protocol', 'http', '--encrypt']
  ])
  const variants = [kith, sealed]
  const goals: Goal[] = []
  if (hasCurl()) {
    const mirror = await startNginx(work, file.folder, 'bench.bin', { tls: true })
    stack.use(mirror.process)
    const name = 'nginx HTTPS + curl + openssl sha256'
    variants.push({ name, run: () => curlAndHash(mirror, join(work, 'curl-tls.bin'), file.sha256) })
    goals.push({ text: 'at most 1.05 × nginx HTTPS + curl + sha256', ours: kith.name, theirs: name, ratio: 1.05 })
  } else skip(NO_CURL)
  return { title: 'one seeder, encrypted and verified', mib, goals, variants }
}
