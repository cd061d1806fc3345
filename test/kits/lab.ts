/**
 * A folder with several homes, and real `kith` processes in them, on loopback only and with free ports. When the test ends whatever is
 * left of it is killed and removed.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { readApiFile } from '../../src/api/api-file.node.ts'
import { createApiClient } from '../../src/api/client.ts'
import type { NodeClient } from '../../src/api/node-client.ts'
import type { DownloadView, NodeEvent, ShareView } from '../../src/node/types.ts'
import { type Ended, type Json, Process } from './process.ts'
import { seededBytes } from './transfer-doubles.ts'

const SOURCE = join(import.meta.dirname, '../../src/cli/main.ts')
/** The command: as it is published, when test/run.ts has built that, else from source. */
export const KITH: string = process.env['TEST_KITH_MAIN'] ?? SOURCE
/** Options of every command that opens a node. */
export const LOCAL: readonly string[] = ['--json', '--port', '0', '--no-lan', '--listen', '127.0.0.1']

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
export const sha256OfFile = (path: string): string => sha256Of(readFileSync(path))

/** What `up` and `share` print when they are ready. */
export type Ready = Partial<ShareView> & { readonly api: string; readonly peerId: string; readonly addresses: readonly string[] }

export class Lab {
  readonly folder: string
  readonly #processes: Process[] = []

  constructor(t: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), 'kith-lab-'))
    t.after(async () => {
      await Promise.all(this.#processes.map(p => p.destroy()))
      rmSync(this.folder, { recursive: true, force: true })
    })
  }

  /** A new folder. */
  dir(...names: string[]): string {
    const path = join(this.folder, ...names)
    mkdirSync(path, { recursive: true })
    return path
  }
  /** A file whose content depends only on `seed`. */
  file(name: string, bytes: number, seed = 1): string {
    const path = join(this.folder, name)
    writeFileSync(path, seededBytes(bytes, seed))
    return path
  }

  /** `kith ARGS` in a home of this lab, with the options of LOCAL. */
  kith(home: string, ...args: string[]): Process {
    return this.start(home, [...args, ...LOCAL])
  }
  /** The same for a client of a node that runs: without options for a node of its own. */
  client(home: string, ...args: string[]): Promise<Ended> {
    return this.start(home, [...args, '--json']).ended()
  }
  /** @param namespace path of a network namespace; undefined: that of the test itself */
  start(home: string, args: readonly string[], input?: string, env: Record<string, string> = {}, namespace?: string): Process {
    // What is preloaded looks for files of the source.
    const program = 'NODE_OPTIONS' in env ? SOURCE : KITH
    const p = namespace
      ? new Process(`--net=${namespace}`, this.dir(home), [process.execPath, program, ...args], input, env, 'nsenter')
      : new Process(program, this.dir(home), args, input, env)
    this.#processes.push(p)
    return p
  }
  /** Starts a command that stays, and waits for its ready line. */
  async ready(home: string, ...args: string[]): Promise<{ readonly process: Process; readonly ready: Ready }> {
    const process = this.kith(home, ...args)
    return { process, ready: (await process.line('ready')) as unknown as Ready }
  }
  /** The API of the node that runs in a home. */
  api(home: string): NodeClient {
    const file = readApiFile(join(this.folder, home, 'state'))
    if (!file) throw new Error(`no node runs in ${home}`)
    return createApiClient({ fetch }, file)
  }
}

export const errorCode = (e: Ended): unknown => (e.last['error'] as Json | undefined)?.['code']
/** The download in a line of `get --json`. */
export const downloadIn = (line: Json | undefined): DownloadView | undefined =>
  (line?.['type'] === 'download:changed' ? line['download'] : undefined) as DownloadView | undefined

/** Follows a download through the API until `wanted` takes it. The caller's test timeout is the deadline. */
export async function followDownload(api: NodeClient, id: string, wanted: (view: DownloadView) => boolean): Promise<DownloadView> {
  const stop = new AbortController()
  try {
    for await (const event of (await api.events({ download: id }, stop.signal)) as AsyncIterable<NodeEvent>) {
      if (event.type === 'download:changed' && wanted(event.download)) return event.download
    }
  } finally {
    stop.abort()
  }
  throw new Error('the events ended early')
}
export const isOver = (d: DownloadView): boolean => d.finishedAt !== undefined
