/** `kith get`: fetches one file from every source that has it. */
import { resolve } from 'node:path'
import { Option } from 'commander'
import type { NodeClient } from '../../api/node-client.ts'
import { systemClock } from '../../base/clock.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { DownloadView, GetRequest } from '../../node/types.ts'
import { parseCoin } from '../../wire/wei.ts'
import { addressOf, collect, protocolsOf } from '../arguments.ts'
import type { Context, Register } from '../context.ts'
import { exitCodeOf, exitCodes } from '../exit-codes.ts'
import { clean, formatBytes, formatDuration, formatRate, formatWei, parseSize } from '../format.ts'
import { renderDownload, summaryLine } from '../progress.ts'
import { showSeeding } from '../seeding-screen.ts'
import { openSession, readyOf, type Session } from '../session.ts'
import { passphraseOf, readStdinLine } from '../terminal-input.ts'

interface GetOptions {
  readonly output: string
  readonly maxCost?: string
  readonly seed?: boolean
  readonly protocol?: readonly string[]
  readonly protocols?: string
  readonly prefer?: string
  readonly limit?: string
  readonly sequential?: boolean
  readonly passphrase?: boolean
  readonly passphraseFile?: string
  readonly peer?: readonly string[]
  readonly tracker?: readonly string[]
}

const EXAMPLES = `
Examples:
  kith get 'kith:…' -o ~/Downloads
  kith get 'magnet:?xt=urn:btih:…' --max-cost 0.05
  kith get ./file.torrent --seed
  kith get 'ed2k://|file|…|/' --limit 2M
  kith get https://example.org/file.iso
  echo 'kith:…#key' | kith get -          a link with a secret stays out of the process list
Ctrl-C keeps what has arrived: the same command goes on from there. Press it twice to leave at once.`

export const register: Register = (program, act) => {
  program
    .command('get')
    .description('fetch a file from everybody who has it; resumes what an earlier run began')
    .argument('<address>', "link, file id, CID, magnet, .torrent file, ed2k link or http(s) URL; '-' reads it from stdin")
    .option('-o, --output <folder>', 'folder to put the file in', '.')
    .option('--max-cost <coin>', 'most this download may cost; 0: free sources only')
    .option('--seed', 'go on seeding afterwards')
    .addOption(new Option('--protocol <name>', 'fetch over this protocol only (repeatable)').argParser(collect))
    .option('--protocols <names>', 'the same as a list: http,bittorrent')
    .option('--prefer <name>', 'try this protocol first where a seeder offers several')
    .option('--limit <rate>', 'bytes per second, for example 2M')
    .option('--sequential', 'in order from the front, to watch while it comes')
    .option('--passphrase', 'ask for the passphrase of an encrypted file')
    .option('--passphrase-file <file>', 'read it from the first line of a file of mode 0600')
    .addOption(new Option('--peer <host:port>', 'ask this peer of a BitTorrent or ed2k link as well (repeatable)').argParser(collect))
    .addOption(new Option('--tracker <url>', 'ask this BitTorrent tracker as well (repeatable); none by default').argParser(collect))
    .addHelpText('after', EXAMPLES)
    .action(act(get))
}

async function get(context: Context, address: string, options: GetOptions): Promise<number> {
  const request = await requestOf(address, options, context.lifetime.signal)
  await using session = await openSession(context, { fetches: true })
  const { client } = session
  const started = await client.get(request, context.lifetime.signal)
  const last = await follow(context, client, started)
  const result = describeResult(last)
  if (last.state === 'done') {
    if (options.seed && session.own) return await seed(context, session, last)
    context.output.result(last, () => result)
    return exitCodes.ok
  }
  if (last.state === 'cancelled' || last.error === undefined) {
    context.output.result(last, () => result)
    return context.lifetime.exitCode || exitCodes.failed
  }
  const { code, message, hint } = last.error
  context.output.error(new KithError(code, message, {}, hint === undefined ? {} : { hint }))
  return exitCodeOf(code)
}

async function requestOf(address: string, options: GetOptions, signal: AbortSignal): Promise<GetRequest> {
  const text = address === '-' ? await readStdinLine() : address
  return {
    address: addressOf(text),
    folder: resolve(options.output),
    ...(options.maxCost === undefined ? {} : { maxCostWei: parseCoin(options.maxCost).toString() }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...protocolsOf(options),
    ...(options.prefer === undefined ? {} : { prefer: options.prefer }),
    ...(options.limit === undefined ? {} : { limit: parseSize(options.limit) }),
    ...(options.sequential === undefined ? {} : { sequential: options.sequential }),
    ...(await passphraseOf(options, 'Passphrase of the file', signal)),
    ...(options.peer === undefined ? {} : { peers: options.peer }),
    ...(options.tracker === undefined ? {} : { trackers: options.tracker })
  }
}

const isOver = (view: DownloadView): boolean => view.state === 'done' || view.state === 'failed' || view.state === 'cancelled'

/** Shows a download until it is over. The first signal cancels it politely: what has arrived is kept. */
async function follow(context: Context, client: NodeClient, started: DownloadView): Promise<DownloadView> {
  const stop = new AbortController()
  const cancel = async (): Promise<void> => {
    try {
      await client.cancel(started.id, AbortSignal.timeout(2_000))
    } catch (error) {
      if (!hasCode(error, 'UNKNOWN_DOWNLOAD')) context.output.note(`kith: ${clean((error as Error).message)}`)
    }
    stop.abort()
  }
  let cancelled: Promise<void> | undefined
  const onSignal = (): void => {
    cancelled = cancel()
  }
  using screen = context.output.screen()
  let view = started
  let noted = Number.NEGATIVE_INFINITY
  let said = ''
  context.lifetime.signal.addEventListener('abort', onSignal, { once: true })
  try {
    if (context.lifetime.signal.aborted) onSignal()
    for await (const event of await client.events({ download: started.id }, stop.signal)) {
      if (event.type !== 'download:changed') continue
      view = event.download
      context.output.event(event)
      screen?.draw(() => renderDownload(view, screen.columns, context.output.palette), isOver(view))
      const isNews = view.state !== 'fetching' && view.message !== said
      if (!screen && (isNews || systemClock.monotonic() - noted >= NOTE_MS)) {
        noted = systemClock.monotonic()
        said = view.message
        context.output.note(`${clean(view.name ?? 'kith get', 60)}: ${summaryLine(view)}`)
      }
      if (isOver(view)) return view
    }
  } finally {
    context.lifetime.signal.removeEventListener('abort', onSignal)
    await cancelled
    stop.abort()
  }
  // The stream ended first: the node stopped, or found us too slow.
  view = await client.download(started.id)
  if (isOver(view)) return view
  if (context.lifetime.signal.aborted) return { ...view, state: 'cancelled', message: 'stopped' }
  return await follow(context, client, view)
}

/** Between lines where there is no terminal. */
const NOTE_MS = 3_000

async function seed(context: Context, session: Session, view: DownloadView): Promise<number> {
  const share = (await session.client.shares()).find(s => s.fileId === view.fileId)
  const ready = { ...(await readyOf(session)), ...(share ? { link: share.link } : {}), download: view }
  context.output.result(ready, () => [...describeResult(view), 'Seeding. Press Ctrl-C to stop.'])
  {
    await using _ = showSeeding(context, session.client)
    await context.lifetime.ended()
  }
  const shared = (await session.client.shares()).filter(s => s.fileId === view.fileId)
  const torrents = (await session.client.torrents()).filter(t => t.path === view.path)
  const uploadedBytes = [...shared, ...torrents].reduce((n, s) => n + s.uploadedBytes, 0)
  context.output.result({ stopped: true, uploadedBytes }, () => [`Stopped after sending ${formatBytes(uploadedBytes)}.`])
  return exitCodes.ok
}

const MATCHES: Readonly<Record<string, string>> = { true: 'matches: ', false: 'DOES NOT MATCH: ', undefined: '' }

/** Its hash is that of what was shared: the file here is another one, and sha256sum will say so. */
const isEncrypted = ({ address }: DownloadView): boolean => /^kith:[^#]*[?&]enc=/i.test(address)

/** What came from whom, and what it cost. */
export function describeResult(view: DownloadView): string[] {
  if (view.state !== 'done') {
    return [
      `${clean(view.name ?? 'the file')}: ${view.state}, ${formatBytes(view.verifiedBytes)} verified and kept. Run the same command to go on.`
    ]
  }
  const seconds = Math.max(0.001, ((view.finishedAt ?? view.startedAt) - view.startedAt) / 1000)
  const fetched = view.verifiedBytes - view.resumedBytes
  const resumed = view.resumedBytes > 0 ? `, ${formatBytes(view.resumedBytes)} were here already` : ''
  const lines = [
    clean(view.path ?? view.name ?? '', 4096),
    fetched <= 0
      ? `  ${formatBytes(view.size ?? 0)}, all of it here already: nothing was fetched`
      : `  ${formatBytes(view.size ?? fetched)} in ${formatDuration(seconds)}, ${formatRate(fetched / seconds)}${resumed}`,
    `  SHA-256 ${isEncrypted(view) ? 'of the ciphertext ' : ''}${MATCHES[String(view.sha256Matches)]}${view.fileId ?? 'unknown'}`
  ]
  for (const s of view.sources.filter(x => x.bytes > 0)) {
    lines.push(
      `  ${clean(s.protocol, 12)} ${clean(s.peer, 40)}: ${formatBytes(s.bytes)} in ${s.chunks} chunks${s.owedWei === '0' ? '' : `, ${formatWei(s.owedWei)}`}`
    )
  }
  const { settlement } = view
  if (settlement && settlement.state !== 'nothing-owed') {
    const to = `${settlement.payees.length} payee${settlement.payees.length === 1 ? '' : 's'}`
    lines.push(
      `  payment ${settlement.state}: ${formatWei(settlement.totalWei)} to ${to}${settlement.tx ? `, ${clean(settlement.tx, 80)}` : ''}`
    )
    if (settlement.reason !== undefined) lines.push(`  ${clean(settlement.reason)}`)
  }
  return lines
}
