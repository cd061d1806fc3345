/** Who takes part in the demo: a file, wallets, a local chain, four seeders and perhaps aria2, each a real process. */
import { randomFillSync } from 'node:crypto'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { systemClock } from '../base/clock.ts'
import type { ShareView } from '../node/types.ts'
import { type DemoProcess, startKith, startProgram } from './demo-process.ts'
import { formatBytes, formatRate } from './format.ts'

export interface DemoOptions {
  /** Bytes of the file. */
  readonly size: number
  readonly fullSpeed: boolean
  readonly json: boolean
  readonly signal: AbortSignal
}

export type Say = (text: string) => void

interface Role {
  readonly name: string
  readonly protocol: string
  /** Coin per MB; undefined: free. */
  readonly price: string | undefined
}

export interface Seeder extends Role {
  readonly wallet: string | undefined
  readonly process: DemoProcess
  readonly peerId: string
}

export interface Stage extends AsyncDisposable {
  readonly folder: string
  readonly file: string
  readonly rpc: string
  readonly seeders: readonly Seeder[]
  readonly share: ShareView
  /** Address of the one node that the downloader knows. */
  readonly bootstrap: string
  readonly ariaPort: number | undefined
}

export const MAX_COST = '100'
/** Options of every node of the demo: any free ports, nothing beyond this machine. */
export const NODE: readonly string[] = ['--port', '0', '--listen', '127.0.0.1', '--no-lan']
/** Whose process is killed half-way. */
export const KILLED = 'Ben'
/** Bytes per second of each seeder; less for a small file, so that everybody has a turn. */
const uploadLimit = (size: number): number => Math.round(Math.min(8_000_000, Math.max(1_000_000, size / 16)))
const limitText = ({ fullSpeed, size }: DemoOptions): string => (fullSpeed ? '' : `, at most ${formatRate(uploadLimit(size))}`)

/** Who seeds, over what, for how much. The first introduces the others to the network. */
const rolesFor = (hasWebRtc: boolean): readonly Role[] => [
  { name: 'Ada', protocol: 'bittorrent', price: undefined },
  { name: KILLED, protocol: 'http', price: '0.001' },
  { name: 'Cleo', protocol: hasWebRtc ? 'webtorrent' : 'https', price: '0.002' },
  { name: 'Dan', protocol: 'ed2k', price: undefined }
]

/** Starts everybody. Disposing ends them all and removes their folder. @throws DEMO_STEP */
export async function setUp(options: DemoOptions, say: Say): Promise<Stage> {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-demo-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  say(`Making a file of ${formatBytes(options.size)} and wallets for everybody …`)
  const file = join(folder, 'film.bin')
  makeFile(file, options.size)
  const hasWebRtc = await canLoad('node-datachannel')
  if (!hasWebRtc) say('WebTorrent is off here: node-datachannel is not installed for this machine. Cleo takes https instead.')
  const roles = rolesFor(hasWebRtc)
  const payees = roles.map(r => (r.price === undefined ? undefined : createWallet(stack, folder, r.name)))
  const [buyer, ...wallets] = await Promise.all([createWallet(stack, folder, 'downloader'), ...payees])
  options.signal.throwIfAborted()
  const chainArgs = ['chain', 'up', '--port', '0', '--fund', buyer, '--amount', MAX_COST]
  const chain = stack.use(startKith('local chain', join(folder, 'chain'), chainArgs))
  const rpc = String((await chain.line(l => l['ready'] === true))['rpc'])
  say(`Local chain 98765 at ${rpc}; the downloader has ${MAX_COST} coin.`)

  const open = (role: Role, wallet: string | undefined, bootstrap?: string): Promise<Opened> => {
    const process = stack.use(startKith(role.name, join(folder, role.name), shareArgs(file, role, options, rpc, bootstrap)))
    return ready({ ...role, wallet, process }, options, say)
  }
  const { seeder: first, share, bootstrap } = await open(roles[0]!, wallets[0])
  options.signal.throwIfAborted()
  const others = await Promise.all(roles.slice(1).map((role, i) => open(role, wallets[i + 1], bootstrap)))
  const seeders = [first, ...others.map(o => o.seeder)]
  const ariaPort = await startAria2(stack, file, share, options, say)
  const owned = stack.move()
  return { folder, file, rpc, seeders, share, bootstrap, ariaPort, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

interface Opened {
  readonly seeder: Seeder
  readonly share: ShareView
  readonly bootstrap: string
}

/** Waits until a seeder has hashed the file and listens. */
async function ready(seeder: Omit<Seeder, 'peerId'>, options: DemoOptions, say: Say): Promise<Opened> {
  const line = await seeder.process.line(l => l['ready'] === true)
  const { name, protocol, price } = seeder
  say(`${name} seeds over ${protocol}, ${price === undefined ? 'free' : `${price} coin per MB`}${limitText(options)}.`)
  const { peerId, addresses } = line as { readonly peerId: string; readonly addresses: readonly string[] }
  return { seeder: { ...seeder, peerId }, share: line as unknown as ShareView, bootstrap: addresses[0]! }
}

/** @returns the address. The stack ends what still runs when another step fails, before the folder goes. */
async function createWallet(stack: AsyncDisposableStack, folder: string, name: string): Promise<string> {
  const process = stack.use(startKith(`wallet of ${name}`, join(folder, name), ['wallet', 'create']))
  return String((await process.result())['address'])
}

function shareArgs(file: string, role: Role, options: DemoOptions, rpc: string, bootstrap: string | undefined): string[] {
  const price = role.price === undefined ? [] : ['--price', role.price, '--credit', String(options.size)]
  const limit = options.fullSpeed ? [] : ['--upload-limit', String(uploadLimit(options.size))]
  const known = bootstrap === undefined ? [] : ['--bootstrap', bootstrap]
  return ['share', file, ...NODE, '--protocol', role.protocol, '--chain-rpc', rpc, ...price, ...limit, ...known]
}

/** Whether a package with native code is there and loads, found out in a process of its own. */
async function canLoad(name: string): Promise<boolean> {
  try {
    const { href } = pathToFileURL(createRequire(import.meta.url).resolve(name))
    const code = `import(${JSON.stringify(href)}).then(() => process.exit(0), () => process.exit(1))`
    await using child = startProgram(name, process.execPath, ['--input-type=module', '--eval', code])
    return (await child.ended) === 0
  } catch {
    return false // not installed at all
  }
}

/** aria2 as a seeder that knows nothing of Kith; only where it is installed. @returns the port it listens at */
async function startAria2(
  stack: AsyncDisposableStack,
  file: string,
  share: ShareView,
  options: DemoOptions,
  say: Say
): Promise<number | undefined> {
  const torrent = share.plainTorrentPath // it cannot read a hybrid
  const installed = (process.env['PATH'] ?? '').split(delimiter).some(d => existsSync(join(d, 'aria2c')))
  if (!installed || torrent === undefined) return undefined
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
  const limit = options.fullSpeed ? [] : [`--max-overall-upload-limit=${uploadLimit(options.size)}`]
  stack.use(startProgram('aria2', 'aria2c', [...quiet, ...seeding, ...limit, torrent]))
  if (!(await listens(port, options.signal))) return undefined
  say(`aria2, which knows nothing of Kith, seeds the same file over bittorrent${limitText(options)}.`)
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

function makeFile(path: string, size: number): void {
  const fd = openSync(path, 'w')
  const block = new Uint8Array(1024 * 1024)
  for (let at = 0; at < size; at += block.length) writeSync(fd, randomFillSync(block), 0, Math.min(block.length, size - at))
  closeSync(fd)
}
