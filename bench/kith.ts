/** Kith as users run it: `share`, `get`, `up` and `chain up` as processes of their own, from the sources or from the bundle. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { DownloadView, ShareView } from '../src/node/types.ts'
import { type Json, measure, Running, root, type Sample } from './kit.ts'

/** What is measured: set by `choose`. */
export let program: string = join(root, 'src', 'cli', 'main.ts')

/** Takes the sources, or builds the bundle that `npm pack` ships and takes a copy of it, which nothing else rebuilds meanwhile. */
export function choose(what: string, work: string): void {
  if (what === 'src') return
  if (what !== 'bundle') throw new Error(`--program is bundle or src, not ${what}`)
  execFileSync(process.execPath, ['build.ts'], { cwd: root, stdio: 'ignore' })
  const copy = join(work, 'kith')
  cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true })
  for (const name of ['node_modules', 'contracts', 'package.json']) symlinkSync(join(root, name), join(copy, name))
  program = join(copy, 'dist', 'main.js')
}

/** Where a process runs: on loopback, or in a network namespace. */
export interface Place {
  readonly namespace?: string
  readonly address: string
}
const HERE: Place = { address: '127.0.0.1' }

const nodeArgs = ({ address }: Place): readonly string[] => ['--port', '0', '--listen', address, '--no-lan']

/** A program and its arguments as they are started in `place`. */
export const inPlace = ({ namespace }: Place, command: readonly string[]): readonly [string, ...string[]] =>
  (namespace === undefined ? command : ['ip', 'netns', 'exec', namespace, ...command]) as [string, ...string[]]

/** Starts `kith …args --json` in a home of its own. */
export function startKith(home: string, args: readonly string[], place: Place = HERE): Running {
  mkdirSync(home, { recursive: true })
  const [command, ...rest] = inPlace(place, [process.execPath, program, ...args, '--json'])
  return new Running(command, rest, { KITH_HOME: home, NO_COLOR: '1' })
}

export interface Seeder {
  readonly process: Running
  readonly share: ShareView
  /** multiaddr for --bootstrap. */
  readonly address: string
}

/** Shares a file and waits until it is served. */
export async function startSeeder(home: string, file: string, args: readonly string[], place: Place = HERE): Promise<Seeder> {
  const running = startKith(home, ['share', file, ...nodeArgs(place), ...args], place)
  try {
    const ready = await running.line('ready')
    return { process: running, share: ready as unknown as ShareView, address: String((ready['addresses'] as string[])[0]) }
  } catch (error) {
    await running[Symbol.asyncDispose]()
    throw error
  }
}

/** A node that only runs. */
export async function startNode(home: string, args: readonly string[] = []): Promise<Running> {
  const running = startKith(home, ['up', ...nodeArgs(HERE), '--api-port', '0', ...args])
  await running.line('ready')
  return running
}

export interface GetOptions {
  readonly home: string
  readonly address: string
  /** Emptied before. */
  readonly out: string
  readonly args?: readonly string[]
  readonly servers: readonly Running[]
  readonly place?: Place
}

/** Fetches once, in a process that starts and ends, and refuses to count a run that is not right. */
export async function getOnce(options: GetOptions): Promise<Sample & { readonly view: DownloadView }> {
  rmSync(options.out, { recursive: true, force: true })
  mkdirSync(options.out, { recursive: true })
  let view: DownloadView | undefined
  const { place = HERE } = options
  const sample = await measure(
    options.servers,
    () => startKith(options.home, ['get', options.address, '-o', options.out, ...nodeArgs(place), ...(options.args ?? [])], place),
    last => {
      view = viewOf(last)
      return view ? ((view.finishedAt ?? 0) - view.startedAt) / 1000 : undefined
    }
  )
  rmSync(options.out, { recursive: true, force: true })
  if (view?.state !== 'done') throw new Error(`kith get ended as ${view?.state}: ${view?.message}`)
  return { ...sample, view }
}

function viewOf(line: Json): DownloadView | undefined {
  const view = (line['download'] ?? line) as Partial<DownloadView>
  return typeof view.verifiedBytes === 'number' ? (view as DownloadView) : undefined
}

/** A wallet in a home. @returns its address */
export async function makeWallet(home: string): Promise<string> {
  await using running = startKith(home, ['wallet', 'create'])
  return String((await running.result())['address'])
}

/** The local chain with one funded wallet. */
export async function startChain(home: string, funded: string, coin: string): Promise<{ readonly process: Running; readonly rpc: string }> {
  const running = startKith(home, ['chain', 'up', '--port', '0', '--fund', funded, '--amount', coin])
  return { process: running, rpc: String((await running.line('ready'))['rpc']) }
}
