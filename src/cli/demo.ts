/**
 * The main job, shown: seeders in processes of their own offer one file, a downloader finds them through the DHT and fetches from all at
 * once, one is killed half-way, the file's hash matches, and one transaction on a local chain pays everybody who delivered. Every
 * figure is measured or read back from the chain and the receipts on disk; a failed step ends with an error that names it.
 */
import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, createReadStream, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { DownloadView, ReceiptView, ShareView } from '../node/types.ts'
import { formatLink, parseLink } from '../wire/link.ts'
import { type DemoProcess, type JsonLine, startKith, startProgram } from './demo-process.ts'
import { formatBytes, formatRate, formatWei } from './format.ts'
import { LiveScreen } from './live-screen.ts'
import { colourPalette, plainPalette, renderDownload } from './progress.ts'

export interface DemoOptions {
  /** Bytes of the file. */
  readonly size: number
  readonly fullSpeed: boolean
  readonly json: boolean
  readonly signal: AbortSignal
}

const UPLOAD_LIMIT = '8M'
const MAX_COST = '100'
/** Who seeds, over what, for how much. The first introduces the others to the network; the second is killed. */
const SEEDERS = [
  { name: 'Ada', protocol: 'bittorrent', price: undefined },
  { name: 'Ben', protocol: 'http', price: '0.001' },
  { name: 'Cleo', protocol: 'http', price: '0.002' }
] as const
const KILLED = 1

interface Seeder {
  readonly name: string
  readonly protocol: string
  readonly price: string | undefined
  readonly wallet: string | undefined
  readonly process: DemoProcess
  readonly peerId: string
}

interface Stage extends AsyncDisposable {
  readonly folder: string
  readonly file: string
  readonly rpc: string
  readonly seeders: readonly Seeder[]
  readonly share: ShareView
  readonly bootstrap: string
  readonly ariaPort: number | undefined
}

/** @returns the exit code: 0 when everything held, 1 when the hash or a balance did not match */
export async function runDemo(options: DemoOptions): Promise<number> {
  const say = (text: string): void => void (options.json || process.stdout.write(`${text}\n`))
  const startMs = systemClock.monotonic()
  await using stage = await setUp(options, say)
  const before = await balances(stage)
  const { view, killed } = await download(stage, options, say)
  say('Checking: the hash of the file, the balances on the chain, the receipts on disk.')
  const sha256Matches = (await sha256Of(view.path ?? '')) === stage.share.fileId && (await sha256Of(stage.file)) === stage.share.fileId
  const rises = await risesOf(stage, before)
  const receipts = await receiptsOf(stage)
  const balancesMatch = checkBooks(stage, view, rises, receipts)
  const summary = summarise(stage, view, {
    sha256Matches,
    killed,
    balancesMatch,
    receipts,
    ms: Math.round(systemClock.monotonic() - startMs)
  })
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
  else tell(stage, view, summary, say)
  return sha256Matches && balancesMatch && killed !== undefined ? 0 : 1
}

/** Chain, wallets, file and seeders, each a real process. */
async function setUp(options: DemoOptions, say: (text: string) => void): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-demo-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const home = (name: string): string => join(folder, name)
  say(`Making a file of ${formatBytes(options.size)} and wallets for everybody …`)
  const file = join(folder, 'film.bin')
  makeFile(file, options.size)
  const walletOf = async (name: string): Promise<string> => {
    const made = await once(startKith(`wallet of ${name}`, home(name), ['wallet', 'create']))
    return String(made['address'])
  }
  const paid = SEEDERS.map(s => (s.price === undefined ? Promise.resolve(undefined) : walletOf(s.name)))
  const [buyer, ...wallets] = await Promise.all([walletOf('downloader'), ...paid])
  options.signal.throwIfAborted()
  const chain = stack.use(startKith('local chain', home('chain'), ['chain', 'up', '--port', '0', '--fund', buyer, '--amount', MAX_COST]))
  const { rpc } = await chain.line(l => l['ready'] === true)
  say(`Local chain 98765 at ${String(rpc)}; the downloader has ${MAX_COST} coin.`)
  const seeders: Seeder[] = []
  let share: ShareView | undefined
  let bootstrap = ''
  for (const [i, plan] of SEEDERS.entries()) {
    options.signal.throwIfAborted()
    const process = stack.use(startKith(plan.name, home(plan.name), shareArgs(file, plan, options, String(rpc), bootstrap)))
    const ready = await process.line(l => l['ready'] === true)
    if (i === 0) bootstrap = String((ready['addresses'] as string[])[0])
    share = i === 0 ? (ready as unknown as ShareView) : share
    seeders.push({ ...plan, wallet: wallets[i], process, peerId: String(ready['peerId']) })
    say(
      `${plan.name} seeds over ${plan.protocol}, ${plan.price === undefined ? 'free' : `${plan.price} coin per MB`}${options.fullSpeed ? '' : ', at most 8 MB/s'}.`
    )
  }
  const ariaPort = await startAria2(stack, file, share!, options, say)
  const owned = stack.move()
  return {
    folder,
    file,
    rpc: String(rpc),
    seeders,
    share: share!,
    bootstrap,
    ariaPort,
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

const NODE = ['--port', '0', '--listen', '127.0.0.1', '--no-lan']

function shareArgs(file: string, plan: (typeof SEEDERS)[number], options: DemoOptions, rpc: string, bootstrap: string): string[] {
  return [
    'share',
    file,
    ...NODE,
    '--protocol',
    plan.protocol,
    '--chain-rpc',
    rpc,
    ...(plan.price === undefined ? [] : ['--price', plan.price, '--credit', String(options.size)]),
    ...(options.fullSpeed ? [] : ['--upload-limit', UPLOAD_LIMIT]),
    ...(bootstrap === '' ? [] : ['--bootstrap', bootstrap])
  ]
}

/** Runs the download, draws it, and kills a seeder half-way. */
async function download(
  stage: Stage,
  options: DemoOptions,
  say: (text: string) => void
): Promise<{ view: DownloadView; killed: string | undefined }> {
  const { fileId, root, size, name } = parseLink(stage.share.link)
  const link = formatLink({ fileId, root, size, name, via: [] }) // no addresses: the seeders must be found
  const out = join(stage.folder, 'out')
  mkdirSync(out)
  say('')
  say(`The downloader knows only the link and one address of the network. Credit is set to the whole file, so one settlement does.`)
  const others = stage.ariaPort === undefined ? [] : ['--peer', `127.0.0.1:${stage.ariaPort}`]
  const args = [
    'get',
    link,
    ...others,
    '-o',
    out,
    '--max-cost',
    MAX_COST,
    ...NODE,
    '--bootstrap',
    stage.bootstrap,
    '--chain-rpc',
    stage.rpc
  ]
  await using process_ = startKith('downloader', join(stage.folder, 'downloader'), args)
  const stop = (): void => void process_.child.kill('SIGTERM')
  options.signal.addEventListener('abort', stop, { once: true })
  const victim = stage.seeders[KILLED]!
  let killed: string | undefined
  using screen = options.json || process.stderr.isTTY !== true ? undefined : new LiveScreen(process.stderr, systemClock)
  const palette = process.stderr.isTTY === true && process.stderr.hasColors() ? colourPalette : plainPalette
  let shown = 0
  process_.onLine(line => {
    const view = viewOf(line)
    if (!view) return
    const part = view.verifiedBytes / (view.size ?? 1)
    if (killed === undefined && view.state === 'fetching' && part >= 0.5) {
      victim.process.child.kill('SIGKILL')
      killed = victim.peerId
      if (!screen) say(`${victim.name} is killed (SIGKILL) at ${Math.floor(100 * part)} %.`)
    }
    const title = killed === undefined ? '' : `${victim.name} was killed (SIGKILL) half-way`
    screen?.draw(() => [...renderDownload(named(view, stage), screen.columns, palette), title], view.finishedAt !== undefined)
    if (!screen && 10 * part >= shown + 1) {
      shown = Math.floor(10 * part)
      say(
        `${String(10 * shown).padStart(3)} %  ${formatRate(view.rate)}  ${view.sources.map(s => `${nameOf(stage, s.peer)} ${formatBytes(s.bytes)}`).join(', ')}`
      )
    }
  })
  const result = await process_.result()
  const view = viewOf(result)
  if (view?.state !== 'done') throw new KithError('DEMO_STEP', `the download ended as ${String(view?.state)}: ${String(view?.message)}`)
  return { view, killed }
}

/** A download view in a line of `kith get --json`, whatever stands around it. */
function viewOf(line: JsonLine): DownloadView | undefined {
  const candidate = (line['download'] ?? line) as Partial<DownloadView>
  return typeof candidate.verifiedBytes === 'number' && Array.isArray(candidate.sources) ? (candidate as DownloadView) : undefined
}

const nameOf = (stage: Stage, peer: string): string =>
  stage.ariaPort !== undefined && peer.endsWith(`:${stage.ariaPort}`)
    ? 'aria2'
    : (stage.seeders.find(s => s.peerId.endsWith(peer.replace('…', '')))?.name ?? peer)
const named = (view: DownloadView, stage: Stage): DownloadView => ({
  ...view,
  sources: view.sources.map(s => ({ ...s, peer: nameOf(stage, s.peer) }))
})

interface Summary {
  readonly fileId: string
  readonly sha256Matches: boolean
  readonly bytes: number
  readonly ms: number
  readonly sources: readonly {
    readonly peer: string
    readonly protocol: string
    readonly chunks: number
    readonly bytes: number
    readonly paidWei: string
  }[]
  readonly killed: string | undefined
  readonly settlement: {
    readonly tx: string | undefined
    readonly payees: number
    readonly totalWei: string
    readonly gasUsed: string | undefined
  }
  readonly balancesMatch: boolean
}

interface Facts {
  readonly sha256Matches: boolean
  readonly killed: string | undefined
  readonly balancesMatch: boolean
  readonly receipts: readonly ReceiptView[]
  readonly ms: number
}

function summarise(stage: Stage, view: DownloadView, facts: Facts): Summary {
  const { sha256Matches, killed, balancesMatch, ms, receipts } = facts
  const paidTo = (seeder: string | undefined): string =>
    receipts
      .filter(r => r.counterparty === seeder)
      .reduce((n, r) => n + BigInt(r.amountWei), 0n)
      .toString()
  const s = view.settlement
  return {
    fileId: stage.share.fileId,
    sha256Matches,
    bytes: view.size ?? 0,
    ms,
    killed,
    balancesMatch,
    sources: view.sources.map(({ peer, protocol, chunks, bytes, seeder }) => ({
      peer: fullPeer(stage, peer),
      protocol,
      chunks,
      bytes,
      paidWei: paidTo(seeder)
    })),
    settlement: { tx: s?.tx, payees: s?.payees.length ?? 0, totalWei: s?.totalWei ?? '0', gasUsed: s?.gasUsed }
  }
}
const fullPeer = (stage: Stage, peer: string): string =>
  stage.seeders.find(s => s.peerId.endsWith(peer.replace('…', '')))?.peerId ?? nameOf(stage, peer)

function tell(stage: Stage, view: DownloadView, s: Summary, say: (text: string) => void): void {
  say('')
  for (const source of s.sources) {
    const seeder = stage.seeders.find(x => x.peerId === source.peer)
    const who = (seeder?.name ?? source.peer).padEnd(14)
    const price = seeder ? (seeder.price === undefined ? 'free' : `${seeder.price} coin/MB`) : 'another program'
    say(
      `  ${who} ${source.protocol.padEnd(11)} ${String(source.chunks).padStart(5)} chunks ${formatBytes(source.bytes).padStart(10)}  ${price.padEnd(15)} paid ${formatWei(source.paidWei)}${s.killed === source.peer ? '   (killed half-way)' : ''}`
    )
  }
  const seconds = ((view.finishedAt ?? 0) - view.startedAt) / 1000
  say('')
  say(
    `${s.sha256Matches ? '✔' : '✘'} SHA-256 of the ${formatBytes(s.bytes)} that arrived is ${s.sha256Matches ? 'right' : 'WRONG'} (fetched, checked and paid in ${seconds.toFixed(1)} s)`
  )
  say(
    `${s.settlement.tx ? '✔' : '✘'} one transaction paid ${s.settlement.payees} seeders ${formatWei(s.settlement.totalWei)}: ${s.settlement.tx ?? 'none'} (${s.settlement.gasUsed ?? '?'} gas)`
  )
  say(`${s.balancesMatch ? '✔' : '✘'} every balance on the chain rose by exactly what the signed receipts say`)
  say('')
  say('Next: share a file of your own with   npx kith share ./your-file')
}

/** Balance of every paid seeder's wallet on the chain, in wei. */
async function balances(stage: Stage): Promise<Map<string, bigint>> {
  const out = new Map<string, bigint>()
  for (const { wallet } of stage.seeders) if (wallet) out.set(wallet.toLowerCase(), await balanceOf(stage.rpc, wallet))
  return out
}

async function risesOf(stage: Stage, before: ReadonlyMap<string, bigint>): Promise<Map<string, bigint>> {
  const now = await balances(stage)
  return new Map([...now].map(([wallet, wei]) => [wallet, wei - (before.get(wallet) ?? 0n)]))
}

/** Asked of the chain itself, past all of Kith's own bookkeeping. */
async function balanceOf(rpc: string, wallet: string): Promise<bigint> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_getBalance', params: [wallet, 'latest'] })
  const answer = await fetch(rpc, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    signal: AbortSignal.timeout(10_000)
  })
  const { result } = (await answer.json()) as { result?: string }
  if (typeof result !== 'string') throw new KithError('DEMO_STEP', 'the chain does not tell a balance')
  return BigInt(result)
}

/** The receipts on the downloader's disk, read by another process after the download has ended. */
async function receiptsOf(stage: Stage): Promise<ReceiptView[]> {
  const listed = await once(
    startKith('receipts', join(stage.folder, 'downloader'), ['wallet', 'receipts', ...NODE, '--chain-rpc', stage.rpc])
  )
  const receipts = (listed['receipts'] ?? []) as ReceiptView[]
  return receipts.filter(r => r.role === 'payer' && r.fileId === stage.share.fileId)
}

/** Balances, receipts, settlement and delivered bytes must all tell the same story. */
function checkBooks(stage: Stage, view: DownloadView, rises: ReadonlyMap<string, bigint>, receipts: readonly ReceiptView[]): boolean {
  const paidSeeders = stage.seeders.filter(s => s.wallet !== undefined)
  const perWallet = paidSeeders.every(({ wallet }) => {
    const owed = receipts.filter(r => r.to.toLowerCase() === wallet!.toLowerCase()).reduce((n, r) => n + BigInt(r.amountWei), 0n)
    return rises.get(wallet!.toLowerCase()) === owed
  })
  const perReceipt = receipts.every(r => (BigInt(r.bytes) * BigInt(r.pricePerMb)) / 2n ** 20n === BigInt(r.amountWei))
  const bytes = receipts.reduce((n, r) => n + r.bytes, 0)
  const delivered = view.sources.filter(s => s.pricePerMb !== '0').reduce((n, s) => n + s.bytes, 0)
  const total = receipts.reduce((n, r) => n + BigInt(r.amountWei), 0n)
  return perWallet && perReceipt && bytes === delivered && total > 0n && total === BigInt(view.settlement?.totalWei ?? 0)
}

/** aria2 as a seeder that knows nothing of Kith; only where it is installed. @returns the port it listens at */
async function startAria2(
  stack: AsyncDisposableStack,
  file: string,
  share: ShareView,
  options: DemoOptions,
  say: (text: string) => void
): Promise<number | undefined> {
  const installed = (process.env['PATH'] ?? '').split(delimiter).some(d => existsSync(join(d, 'aria2c')))
  if (!installed || !share.torrentPath) return undefined
  const port = await freePort()
  const quiet = [
    '--no-conf',
    '--enable-dht=false',
    '--enable-dht6=false',
    '--bt-enable-lpd=false',
    '--enable-peer-exchange=false',
    '--console-log-level=error'
  ]
  const seeding = [
    `--stop-with-process=${process.pid}`,
    '--seed-ratio=0',
    '--check-integrity=true',
    `--listen-port=${port}`,
    `--dir=${dirname(file)}`,
    '--allow-overwrite=true'
  ]
  const limit = options.fullSpeed ? [] : [`--max-overall-upload-limit=${UPLOAD_LIMIT}`]
  stack.use(startProgram('aria2', 'aria2c', [...quiet, ...seeding, ...limit, share.torrentPath]))
  if (!(await listens(port, options.signal))) return undefined
  say(`aria2, which knows nothing of Kith, seeds the same file over bittorrent${options.fullSpeed ? '' : ', at most 8 MB/s'}.`)
  return port
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise<void>(resolve => server.close(() => resolve()))
  return port
}

/** Whether something listens at the port within ten seconds. */
async function listens(port: number, signal: AbortSignal): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    const connected = await new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (connected) return true
    await systemClock.sleep(100, signal)
  }
  return false
}

async function once(process: DemoProcess): Promise<JsonLine> {
  await using p = process
  return await p.result()
}

function makeFile(path: string, size: number): void {
  const fd = openSync(path, 'w')
  const block = new Uint8Array(1024 * 1024)
  for (let at = 0; at < size; at += block.length) writeSync(fd, randomFillSync(block), 0, Math.min(block.length, size - at))
  closeSync(fd)
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(block as Buffer)
  return hash.digest('hex')
}
