/**
 * What every benchmark here needs: processes whose CPU time and memory are read from /proc, warmed memory, a file of random bytes,
 * medians. Linux only, as the figures are.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash, randomFillSync } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

export const root: string = join(import.meta.dirname, '..')
const TICKS_PER_SECOND = 100
const SAMPLE_MS = 50

/** One run of one thing that is measured. Absent values are shown as a dash. */
export interface Sample {
  /** From spawning the downloader to its exit. */
  readonly seconds: number
  /** The same without the start and end of the process, where the program tells. */
  readonly innerSeconds?: number
  readonly cpuDown?: number
  readonly cpuUp?: number
  /** Highest resident MiB. */
  readonly rssDown?: number
  readonly rssUp?: number
}

export type Json = Record<string, unknown>

const running = new Set<Running>()

/** Ends every process at once: for a benchmark that is interrupted. */
export function killAll(): void {
  for (const r of running) r.child.kill('SIGKILL')
}

/** A process with its lines of output; ended by disposal. */
export class Running implements AsyncDisposable {
  readonly child: ChildProcess
  readonly lines: string[] = []
  /** Highest figures seen so far: CPU seconds (with waited-for children), resident MiB. */
  cpu = 0
  peakMib = 0
  readonly #ended: Promise<number | null>
  readonly #timer: NodeJS.Timeout
  #wake: () => void = () => {}
  #stderr = ''

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stderr!.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-2000)
    })
    createInterface({ input: this.child.stdout! }).on('line', line => {
      this.lines.push(line)
      this.#wake()
    })
    this.#ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', code => resolve(code))
    })
    this.#ended
      .catch(() => {})
      .finally(() => {
        clearInterval(this.#timer)
        running.delete(this)
        this.#wake()
      })
    this.#timer = setInterval(() => this.look(), SAMPLE_MS)
    running.add(this)
  }

  get pid(): number {
    return this.child.pid ?? -1
  }

  /** Reads CPU and memory now. */
  look(): void {
    this.cpu = cpuSeconds(this.pid) ?? this.cpu
    this.peakMib = Math.max(this.peakMib, memoryOf(this.pid)?.peakMib ?? 0)
  }

  /** From now on only what is used from now on counts as the peak. */
  forgetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, '5')
    this.peakMib = 0
  }

  /** The first JSON line that has `key`. */
  async line(key: string): Promise<Json> {
    let seen = 0
    for (;;) {
      for (; seen < this.lines.length; seen++) {
        const value = parse(this.lines[seen]!)
        if (value && key in value) return value
      }
      if (this.child.exitCode !== null || this.child.signalCode !== null) throw new Error(`ended early: ${this.#stderr}`)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  /** Waits for the end. @returns the last JSON line. Fails unless the exit code is 0. */
  async result(): Promise<Json> {
    const code = await this.#ended
    if (code !== 0) throw new Error(`${this.child.spawnfile} ended with ${code}: ${this.#stderr}`)
    return parse(this.lines.at(-1) ?? '') ?? {}
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM')
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 8_000)
    await this.#ended.catch(() => {})
    clearTimeout(timer)
  }
}

function parse(line: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? (value as Json) : undefined
  } catch {
    return undefined
  }
}

/** User and system CPU seconds of a process and the children it has waited for; undefined when it is gone. */
export function cpuSeconds(pid: number): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return fields.slice(11, 15).reduce((n, f) => n + Number(f), 0) / TICKS_PER_SECOND
  } catch {
    return undefined
  }
}

export interface Memory {
  readonly nowMib: number
  readonly peakMib: number
}

/** Resident memory now and at its highest; undefined when the process is gone. */
export function memoryOf(pid: number): Memory | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8')
    const mib = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(text)?.[1] ?? Number.NaN) / 1024
    const peakMib = mib('VmHWM')
    return Number.isNaN(peakMib) ? undefined : { nowMib: mib('VmRSS'), peakMib }
  } catch {
    return undefined
  }
}

/** Takes and frees memory in a process of its own: the first touch of a page is slow on a virtual machine, and must not be in the clock. */
export async function warm(): Promise<void> {
  await promisify(execFile)(process.execPath, ['-e', 'for (let i = 0; i < 27; i++) globalThis["x" + i] = Buffer.alloc(1e8, 1)'])
}

/** Writes `mib` MiB of random bytes. @returns their SHA-256 in hex */
export async function makeFile(path: string, mib: number): Promise<string> {
  const hash = createHash('sha256')
  const block = new Uint8Array(2 ** 20)
  await using out = await open(path, 'w')
  for (let i = 0; i < mib; i++) {
    hash.update(randomFillSync(block))
    await out.write(block)
  }
  return hash.digest('hex')
}

/** Waits for something that other programs do. */
export async function until(what: string, is: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  for (const deadline = performance.now() + withinMs; performance.now() < deadline; ) {
    if (await is()) return
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  throw new Error(`waited in vain: ${what}`)
}

/** Whether a program is in the PATH (or at an absolute path). */
export const isInstalled = (program: string): boolean =>
  program.startsWith('/')
    ? existsSync(program)
    : `${process.env['PATH']}:/usr/sbin`.split(delimiter).some(d => existsSync(join(d, program)))

/** Whether a package of node_modules is there and its native part can be loaded. */
export const canLoad = (name: string): Promise<boolean> =>
  promisify(execFile)(process.execPath, ['--input-type=module', '-e', `await import('${name}'); process.exit()`], { cwd: root }).then(
    () => true,
    () => false
  )

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Runs `work` and measures one downloader process and what its servers used meanwhile. */
export async function measure(
  servers: readonly Running[],
  start: () => Running,
  inner: (last: Json) => number | undefined = () => undefined
): Promise<Sample> {
  for (const s of servers) s.forgetPeak()
  const before = servers.map(s => cpuSeconds(s.pid) ?? 0)
  const begun = performance.now()
  await using down = start()
  const last = await down.result()
  const seconds = (performance.now() - begun) / 1000
  for (const s of servers) s.look()
  const cpuUp = servers.reduce((n, s, i) => n + (cpuSeconds(s.pid) ?? 0) - before[i]!, 0)
  const innerSeconds = inner(last)
  return {
    seconds,
    ...(innerSeconds === undefined ? {} : { innerSeconds }),
    cpuDown: down.cpu,
    cpuUp,
    rssDown: down.peakMib,
    rssUp: Math.max(0, ...servers.map(s => s.peakMib))
  }
}
