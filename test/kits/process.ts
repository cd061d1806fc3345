/** Commands as processes: their output as it comes, JSON lines, signals and exit codes, each with a deadline. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'

/** For starting and ending, on a machine that is busy with other tests. */
const DEADLINE_MS = 60_000
/** Compiled code, shared by all processes of a test file, or of `npm test`: they start in half the time. */
const CODE = process.env['NODE_COMPILE_CACHE'] ?? mkdtempSync(join(tmpdir(), 'kith-cli-code-'))
if (CODE !== process.env['NODE_COMPILE_CACHE']) after(() => rmSync(CODE, { recursive: true, force: true }))

export type Json = Record<string, unknown>

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
  /** stdout as JSON lines. */
  readonly lines: Json[]
  readonly last: Json
}

export class Process {
  readonly child: ChildProcess
  out = ''
  err = ''
  readonly #ended: Promise<Ended>
  #changed: () => void = () => {}

  /** @param node the program that runs `program`, when it is not this Node */
  constructor(program: string, home: string, args: readonly string[], input?: string, env: Record<string, string> = {}, node?: string) {
    // The folder of the user's own cache must not be written by tests either.
    const own = { PATH: process.env['PATH'] ?? '', HOME: home, KITH_HOME: home, TERM: 'xterm', NODE_COMPILE_CACHE: CODE, ...env }
    this.child = spawn(node ?? process.execPath, [program, ...args], { env: own, cwd: home, stdio: ['pipe', 'pipe', 'pipe'] })
    this.child.stdout?.setEncoding('utf8').on('data', part => this.#add('out', part))
    this.child.stderr?.setEncoding('utf8').on('data', part => this.#add('err', part))
    if (input !== undefined) this.child.stdin?.end(input)
    this.#ended = new Promise(resolve => {
      this.child.on('close', code => {
        this.#changed()
        const lines = this.out.split('\n').flatMap(parse)
        resolve({ code, out: this.out, err: this.err, lines, last: lines.at(-1) ?? {} })
      })
    })
  }

  /** Resolves with the first JSON line that has `key`. */
  line(key: string): Promise<Json> {
    return this.find(`a line with ${key}`, l => key in l)
  }
  /** Resolves with the first JSON line, of those that came and those to come, that `wanted` takes. */
  async find(what: string, wanted: (line: Json) => boolean): Promise<Json> {
    for (;;) {
      const found = this.#complete().find(wanted)
      if (found) return found
      await this.#wait(what)
    }
  }
  /** The last complete JSON line so far that `wanted` takes. */
  latest(wanted: (line: Json) => boolean): Json | undefined {
    return this.#complete().findLast(wanted)
  }
  async ended(): Promise<Ended> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), DEADLINE_MS)
    const end = await this.#ended
    clearTimeout(timer)
    assert.notEqual(this.child.signalCode, 'SIGKILL', `did not end in time: ${this.child.spawnargs.join(' ')}\n${this.out}\n${this.err}`)
    return end
  }
  /** Its end, however long that takes; undefined when it had to be killed after `ms`. */
  async over(ms: number): Promise<Ended | undefined> {
    if (ms === Number.POSITIVE_INFINITY) return this.#ended
    const timer = setTimeout(() => this.child.kill('SIGKILL'), Math.max(0, ms))
    const end = await this.#ended
    clearTimeout(timer)
    return this.child.signalCode === 'SIGKILL' ? undefined : end
  }
  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
  /** SIGKILL; resolves when the process is gone and its output was read. */
  async destroy(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.#ended
  }

  #read = 0
  readonly #lines: Json[] = []
  /** Every JSON line that has ended, parsed once. */
  #complete(): readonly Json[] {
    const end = this.out.lastIndexOf('\n') + 1
    if (end > this.#read) this.#lines.push(...this.out.slice(this.#read, end).split('\n').flatMap(parse))
    this.#read = Math.max(this.#read, end)
    return this.#lines
  }

  #add(where: 'out' | 'err', part: string): void {
    this[where] += part
    this.#changed()
  }
  async #wait(what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const told = (): Error => new Error(`no ${what} from: ${this.child.spawnargs.slice(2).join(' ')}\n${this.out}\n${this.err}`)
    const timer = setTimeout(() => reject(told()), DEADLINE_MS)
    this.#changed = () => (this.child.exitCode === null ? resolve() : reject(told()))
    await promise.finally(() => clearTimeout(timer))
  }
}

const parse = (line: string): Json[] => {
  try {
    return [JSON.parse(line)]
  } catch {
    return []
  }
}

/** A folder that is removed when the test ends. */
export function newHome(t: TestContext): string {
  const home = mkdtempSync(join(tmpdir(), 'kith-cli-'))
  t.after(() => rmSync(home, { recursive: true, force: true }))
  return home
}
