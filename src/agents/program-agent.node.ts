/**
 * Any program as an agent. It reads the task as one JSON document on stdin, writes its result on stdout (JSON, or else text), says how far it
 * is in lines on stderr that begin with `progress: 0.4 note`, and fails by an exit code that is not 0. No shell reads its arguments; the task
 * is never in them or in the environment; the program gets a folder of its own, which is removed; and all processes of its group end with it,
 * and with this process (leash.node.ts).
 * For users: docs/agents.md.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KithError } from '../base/errors.ts'
import { makePrivateFolder } from '../platform/files.node.ts'
import type { Json } from '../wire/strict-json.ts'
import { findProgram, RUN_PREFIX, spawnLeashed } from './leash.node.ts'
import { MAX_PROGRAM_OUTPUT_BYTES, PROGRAM_GRACE_MS, PROGRAM_TIMEOUT_MS } from './limits.ts'
import { outputOf, StderrReader } from './program-output.ts'
import type { SkillRun, TaskControl, TaskWork } from './types.ts'

export interface ProgramOptions {
  /** Default: the folder of the run. */
  readonly cwd?: string
  /** Default 10 minutes. */
  readonly timeoutMs?: number
  /** On stdout. Default 8 MiB. */
  readonly maxOutputBytes?: number
  /** Names of variables of this process that the program may see. Default: those in `defaultEnv`. */
  readonly env?: readonly string[]
  /** Where folders of runs are made. Default: the system's folder for temporary files. */
  readonly folder?: string
}

/** What a program needs to find others and to speak the user's language; no secrets live here. */
export const defaultEnv: readonly string[] = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ']

/**
 * A skill that starts `command` for each task.
 * @throws from the run: PROGRAM_MISSING, PROGRAM_FAILED, PROGRAM_TIMEOUT, PROGRAM_OUTPUT, or the signal's reason
 */
export function runProgram(command: readonly string[], options: ProgramOptions = {}): SkillRun {
  const [file, ...args] = command
  if (file === undefined || file === '') throw new KithError('BAD_TASK', 'a program is needed')
  const base = options.folder ?? tmpdir()
  return async (task, control) => {
    control.signal.throwIfAborted()
    makePrivateFolder(base)
    const folder = mkdtempSync(join(base, RUN_PREFIX))
    try {
      return await new Run(file, args, folder, options).result(task, control)
    } finally {
      await rm(folder, { recursive: true, force: true, maxRetries: 3 }).catch(() => rmSync(folder, { recursive: true, force: true }))
    }
  }
}

/** The document on stdin. */
export const taskDocument = (task: TaskWork): Json => ({
  task_id: task.id,
  skill: task.skill,
  from: task.from,
  description: task.description,
  input: task.input,
  ...(task.inputFile === undefined ? {} : { input_file: task.inputFile }),
  files: task.files.map(f => f.path),
  idempotency_key: task.idempotencyKey,
  attempt: task.attempt,
  deadline: new Date(task.deadline).toISOString()
})

class Run {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #maxBytes: number
  readonly #timeoutMs: number
  readonly #folder: string
  readonly #program: string
  readonly #out: Buffer[] = []
  #outBytes = 0
  /** Why we ended it. */
  #reason: unknown
  #killer: NodeJS.Timeout | undefined

  constructor(file: string, args: readonly string[], folder: string, options: ProgramOptions) {
    const allowed = (options.env ?? defaultEnv).flatMap(name =>
      process.env[name] === undefined ? [] : [[name, process.env[name]] as const]
    )
    const env = { ...Object.fromEntries(allowed), TMPDIR: folder }
    this.#program = file
    this.#folder = folder
    this.#maxBytes = options.maxOutputBytes ?? MAX_PROGRAM_OUTPUT_BYTES
    this.#timeoutMs = options.timeoutMs ?? PROGRAM_TIMEOUT_MS
    const cwd = options.cwd ?? folder
    const path = findProgram(file, cwd, (env as Record<string, string | undefined>)['PATH'])
    if (path === undefined) throw this.#missing()
    // A group of its own, so that what the program starts ends with it.
    this.#child = spawnLeashed(path, args, { cwd, env }) as ChildProcessWithoutNullStreams
  }

  async result(task: TaskWork, { signal, progress }: TaskControl): Promise<Json> {
    const child = this.#child
    const errors = new StderrReader(progress)
    child.stdout.on('data', (part: Buffer) => this.#take(part))
    child.stderr.on('data', (part: Buffer) => errors.push(part))
    // A program need not read its input: EPIPE is no failure.
    child.stdin.on('error', () => {})
    child.stdin.end(JSON.stringify(taskDocument(task)))
    const onAbort = (): void => this.#end(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(() => this.#end(new KithError('PROGRAM_TIMEOUT', 'the program took too long')), this.#timeoutMs)
    try {
      const { code, killed } = await this.#closed()
      if (this.#reason !== undefined) throw this.#reason
      if (code === 0) return outputOf(Buffer.concat(this.#out))
      const how = killed ? `ended by ${killed}` : `exit code ${code}`
      const tail = errors.tail()
      throw new KithError('PROGRAM_FAILED', tail ? `${how}: ${tail}` : how, { code: code ?? -1 })
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  #take(part: Buffer): void {
    this.#outBytes += part.length
    if (this.#outBytes <= this.#maxBytes) this.#out.push(part)
    else if (this.#reason === undefined) {
      this.#out.length = 0
      this.#end(new KithError('PROGRAM_OUTPUT', 'the program wrote more than it may', { maxBytes: this.#maxBytes }), 'SIGKILL')
    }
  }

  /** Asks the whole group to end, and makes it after a while. The first reason counts. */
  #end(reason: unknown, how: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#signal(how)
    this.#killer = setTimeout(() => this.#signal('SIGKILL'), PROGRAM_GRACE_MS)
  }
  #signal(name: 'SIGTERM' | 'SIGKILL'): void {
    const { pid } = this.#child
    if (pid === undefined) return
    try {
      process.kill(-pid, name)
    } catch {
      // all of the group is gone
    }
  }

  #missing(cause?: unknown): KithError {
    const data = { program: this.#program, folder: this.#folder }
    return new KithError('PROGRAM_MISSING', 'the program of the skill cannot be started', data, { cause })
  }

  /** Resolves when the program has ended and its output was read. @throws PROGRAM_MISSING */
  #closed(): Promise<{ readonly code: number | null; readonly killed: NodeJS.Signals | null }> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      child.once('error', cause => {
        clearTimeout(this.#killer)
        reject(this.#missing(cause))
      })
      child.once('exit', (code, killed) => {
        clearTimeout(this.#killer)
        this.#signal('SIGKILL') // what it left behind, which might hold its pipes open
        // One that left the group, too, is not waited for longer than this.
        const late = setTimeout(() => {
          child.stdout.destroy()
          child.stderr.destroy()
        }, LEFT_BEHIND_MS)
        child.once('close', () => {
          clearTimeout(late)
          resolve({ code, killed })
        })
      })
    })
  }
}

/** After the program has ended, its pipes may be held open by others for so long. */
const LEFT_BEHIND_MS = 1000
