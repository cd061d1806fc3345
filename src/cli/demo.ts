/**
 * The main job, shown: seeders in processes of their own offer one file over four protocols, a downloader finds them through the DHT and
 * fetches from all at once, one is killed half-way, the file's hash matches, and one transaction on a local chain pays everybody who
 * delivered for money. Every figure is measured or read back from the chain and the receipts on disk; a failed step ends with an
 * error that names it.
 */
import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { DownloadView } from '../node/types.ts'
import { formatLink, parseLink } from '../wire/link.ts'
import { balances, booksMatch, receiptsOf, risesSince } from './demo-books.ts'
import { Picture, summarise, tell } from './demo-picture.ts'
import { type JsonLine, startKith } from './demo-process.ts'
import { type DemoOptions, KILLED, MAX_COST, NODE, type Say, type Stage, setUp } from './demo-stage.ts'

/** @returns the exit code: 0 when everything held, 1 when the hash or a balance did not match. @throws DEMO_STEP */
export async function runDemo(options: DemoOptions): Promise<number> {
  const say: Say = text => void (options.json || process.stdout.write(`${text}\n`))
  const startMs = systemClock.monotonic()
  await using stage = await setUp(options, say)
  const before = await balances(stage)
  const { view, killed } = await download(stage, options, say)
  say('Checking: the hash of the file, the balances on the chain, the receipts on disk.')
  const { fileId } = stage.share
  const sha256Matches = (await sha256Of(view.path ?? '')) === fileId && (await sha256Of(stage.file)) === fileId
  const rises = await risesSince(before, stage)
  const receipts = await receiptsOf(stage)
  const balancesMatch = booksMatch(stage, view, rises, receipts)
  const ms = Math.round(systemClock.monotonic() - startMs)
  const summary = summarise(stage, view, { sha256Matches, killed, balancesMatch, receipts, ms })
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
  else tell(stage, view, summary, say)
  return sha256Matches && balancesMatch && killed !== undefined ? 0 : 1
}

/** Runs the download, draws it, and kills a seeder half-way. @returns how it ended, and the PeerId of the killed one */
async function download(stage: Stage, options: DemoOptions, say: Say): Promise<{ view: DownloadView; killed: string | undefined }> {
  const { fileId, root, size, name } = parseLink(stage.share.link)
  const link = formatLink({ fileId, root, size, name, via: [] }) // no addresses: the seeders must be found
  const out = join(stage.folder, 'out')
  mkdirSync(out)
  say('')
  say('The downloader knows only the link and one address of the network.')
  say('Credit is set to the whole file, so one settlement does.')
  const others = stage.ariaPort === undefined ? [] : ['--peer', `127.0.0.1:${stage.ariaPort}`]
  const money = ['--max-cost', MAX_COST, '--chain-rpc', stage.rpc]
  const args = ['get', link, ...others, '-o', out, ...money, ...NODE, '--bootstrap', stage.bootstrap]
  await using process_ = startKith('downloader', join(stage.folder, 'downloader'), args)
  const stop = (): void => void process_.child.kill('SIGTERM')
  options.signal.addEventListener('abort', stop, { once: true })
  const victim = stage.seeders.find(s => s.name === KILLED)!
  let killed: string | undefined
  using picture = new Picture(stage, say, options.json)
  process_.onLine(line => {
    const view = viewOf(line)
    if (!view) return
    picture.show(view, killed && victim.name)
    const part = view.verifiedBytes / (view.size ?? 1)
    if (killed === undefined && view.state === 'fetching' && part >= 0.5) {
      victim.process.child.kill('SIGKILL')
      killed = victim.peerId
      picture.killed(victim.name, part)
    }
  })
  const view = viewOf(await process_.result())
  if (view?.state !== 'done') throw new KithError('DEMO_STEP', `the download ended as ${String(view?.state)}: ${String(view?.message)}`)
  return { view, killed }
}

/** A download view in a line of `kith get --json`, whatever stands around it. */
function viewOf(line: JsonLine): DownloadView | undefined {
  const candidate = (line['download'] ?? line) as Partial<DownloadView>
  return typeof candidate.verifiedBytes === 'number' && Array.isArray(candidate.sources) ? (candidate as DownloadView) : undefined
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(block as Buffer)
  return hash.digest('hex')
}
