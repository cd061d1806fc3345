/** What tests with amuled need: its packages, and two network namespaces in which addresses for documentation stand for public ones. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { within } from '../kits/transfer-doubles.ts'
import { inNamespace } from './amuled.ts'

const run = promisify(execFile)

export const LONG_MS = 60_000
/** Addresses in the first and in the second namespace. */
export const OURS = '203.0.113.1'
export const THEIRS = '203.0.113.2'

const NEEDED = [
  ['amuled', 'amule-daemon'],
  ['amulecmd', 'amule-utils'],
  ['gcc', 'gcc'],
  ['ip', 'iproute2']
] as const

function canMakeNamespaces(): boolean {
  const name = `kith${randomBytes(3).toString('hex')}t`
  return spawnSync('ip', ['netns', 'add', name]).status === 0 && spawnSync('ip', ['netns', 'del', name]).status === 0
}

/** False (after saying so) when something is missing; with KITH_REQUIRE_INTEROP=1 that is a failure. */
export function hasAll(t: TestContext, withNamespaces: boolean): boolean {
  const missing = NEEDED.find(([program]) => spawnSync('which', [program]).status !== 0)
  const why = missing
    ? `${missing[0]} is missing: install Debian package ${missing[1]}`
    : withNamespaces && !canMakeNamespaces()
      ? 'network namespaces cannot be made here: run as root'
      : undefined
  if (why === undefined) return true
  assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
  t.skip(why)
  return false
}

export async function tempFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-ed2k-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Two namespaces joined by a cable. */
export async function namespaces(stack: AsyncDisposableStack): Promise<readonly [string, string]> {
  const id = randomBytes(3).toString('hex')
  const names = [`kith${id}a`, `kith${id}b`] as const
  for (const name of names) {
    await run('ip', ['netns', 'add', name])
    stack.defer(async () => {
      await run('ip', ['netns', 'del', name])
    })
    await run('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  }
  await run('ip', ['link', 'add', 'e0', 'netns', names[0], 'type', 'veth', 'peer', 'name', 'e0', 'netns', names[1]])
  for (const [i, name] of names.entries()) {
    await run('ip', ['-n', name, 'addr', 'add', `${[OURS, THEIRS][i]}/24`, 'dev', 'e0'])
    await run('ip', ['-n', name, 'link', 'set', 'e0', 'up'])
  }
  return names
}

/** A script of ours in a namespace, which says lines of JSON and ends with its input. */
export class Helper implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #lines: AsyncIterator<string>

  constructor(namespace: string, script: string, args: readonly string[]) {
    const [command, ...all] = inNamespace(namespace, [process.execPath, join(import.meta.dirname, script), ...args])
    this.#child = spawn(command!, all, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#exited = once(this.#child, 'exit')
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
  }

  /** The next line. */
  async said<T>(): Promise<T> {
    const { value, done } = await within(LONG_MS, 'our helper', this.#lines.next())
    assert.ok(!done, 'our helper has ended')
    return JSON.parse(value)
  }
  /** Says a line, and hears the answer. */
  async ask<T>(line = ''): Promise<T> {
    this.#child.stdin!.write(`${line}\n`)
    return await this.said()
  }
  /** Ends it, and hears what it says then. */
  async end<T>(): Promise<T> {
    this.#child.stdin!.end()
    return await this.said()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end()
    await this.#exited
  }
}
