/** Real processes for the demo: each a `kith` command of its own with a home of its own, speaking JSON lines. */
import { type ChildProcess, spawn } from 'node:child_process'
import { getCompileCacheDir } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { KithError } from '../base/errors.ts'

export type JsonLine = Record<string, unknown>

export class DemoProcess implements AsyncDisposable {
  readonly name: string
  readonly child: ChildProcess
  readonly lines: JsonLine[] = []
  readonly #onLine = new Set<(line: JsonLine) => void>()
  readonly #ended: Promise<number | null>
  #stderr = ''

  constructor(name: string, child: ChildProcess) {
    this.name = name
    this.child = child
    const { promise, resolve } = Promise.withResolvers<number | null>()
    this.#ended = promise
    child.on('close', code => resolve(code))
    child.on('error', () => resolve(null))
    child.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-2000)
    })
    createInterface({ input: child.stdout! }).on('line', text => {
      const line = parse(text)
      if (!line) return
      this.lines.push(line)
      for (const listener of this.#onLine) listener(line)
    })
  }

  /** Resolves with the exit code; null when it was killed. */
  get ended(): Promise<number | null> {
    return this.#ended
  }

  onLine(listener: (line: JsonLine) => void): void {
    this.#onLine.add(listener)
  }

  /** The first line that fits, now or later. @throws DEMO_STEP when the process ends before */
  async line(fits: (line: JsonLine) => boolean): Promise<JsonLine> {
    const found = this.lines.find(fits)
    if (found) return found
    const next = new Promise<JsonLine>(resolve => this.onLine(line => fits(line) && resolve(line)))
    const ended = this.#ended.then(() => {
      const late = this.lines.find(fits)
      if (late) return late
      throw new KithError('DEMO_STEP', `${this.name} ended early: ${this.#stderr.trim().split('\n').at(-1) ?? ''}`)
    })
    return await Promise.race([next, ended])
  }

  /** Waits for the end. @throws DEMO_STEP unless the exit code is 0 */
  async result(): Promise<JsonLine> {
    const code = await this.#ended
    if (code !== 0)
      throw new KithError('DEMO_STEP', `${this.name} failed (exit ${code}): ${this.#stderr.trim().split('\n').slice(-2).join(' ')}`)
    return this.lines.at(-1) ?? {}
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM')
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5_000)
    await this.#ended
    clearTimeout(timer)
  }
}

/** Starts `kith …args --json` with the home given. It ends when this process does, however that ends (bin/kith.mjs sees to it). */
export function startKith(name: string, home: string, args: readonly string[]): DemoProcess {
  const up = import.meta.url.endsWith('.ts') ? ['..', '..'] : ['..']
  const bin = join(import.meta.dirname, ...up, 'bin', 'kith.mjs')
  // Homes that are new have no compiled code yet: lend them ours.
  const cache = getCompileCacheDir()
  const lent = cache === undefined ? {} : { NODE_COMPILE_CACHE: dirname(cache) }
  const env = { ...process.env, ...lent, KITH_HOME: home, NO_COLOR: '1', KITH_LAUNCHED: '1' }
  const child = spawn(process.execPath, [bin, ...args, '--json'], { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  child.channel?.unref()
  return new DemoProcess(name, child)
}

/** Starts another program; it says nothing we read. */
export function startProgram(name: string, command: string, args: readonly string[]): DemoProcess {
  return new DemoProcess(name, spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }))
}

function parse(text: string): JsonLine | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as JsonLine) : undefined
  } catch {
    return undefined
  }
}
