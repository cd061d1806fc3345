/** Two network namespaces joined by a link that misbehaves (test/rigs/bad-link.py). Needs root and /dev/net/tun. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { within } from './transfer-doubles.ts'

const RIG = join(import.meta.dirname, '../rigs/bad-link.py')

/** One direction of a link. Absent: no limit, or never. */
export interface Way {
  /** A bottleneck with a buffer of one round trip. */
  readonly rateKbit?: number
  readonly delayMs?: number
  readonly jitterMs?: number
  /** Shares of packets, 0 to 1. */
  readonly loss?: number
  readonly duplicate?: number
  /** One bit of a damaged packet is wrong. */
  readonly corrupt?: number
  readonly reorder?: number
  /** Mean length of the fades in which packets are lost; 0: each on its own. */
  readonly burstMs?: number
}

export interface BadLink extends AsyncDisposable {
  /** The namespaces at its ends, and their addresses. */
  readonly ends: readonly [LinkEnd, LinkEnd]
}
export interface LinkEnd {
  /** Path of its network namespace. */
  readonly namespace: string
  readonly address: string
}

/** Why no link can be made here, in one line; undefined: it can. */
export function noBadLink(): string | undefined {
  if (!existsSync('/usr/bin/python3') || spawnSync('ip', ['-V']).status !== 0) return 'needs Debian packages iproute2 and python3'
  if (!existsSync('/dev/net/tun')) return 'needs /dev/net/tun'
  return spawnSync('unshare', ['-n', 'true']).status === 0 ? undefined : 'needs network namespaces (run as root)'
}

const ADDRESSES = ['10.99.0.1', '10.99.0.2'] as const

/** @param forth what happens to packets from the first end to the second */
export async function openBadLink(seed: number, forth: Way, back: Way): Promise<BadLink> {
  await using stack = new AsyncDisposableStack()
  const args = [RIG, ...ADDRESSES, JSON.stringify({ seed, forth, back })]
  const child = spawn('/usr/bin/python3', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  stack.defer(() => ended(child))
  const [line] = await within(30_000, 'the link', once(child.stdout, 'data'))
  const [a, b] = JSON.parse(String(line)) as [string, string]
  const ends = [end(a, ADDRESSES[0]), end(b, ADDRESSES[1])] as const
  const owned = stack.move()
  return { ends, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const end = (namespace: string, address: string): LinkEnd => ({ namespace, address })

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.stdin?.end()
  await within(10_000, 'the end of the link', exit).catch(() => child.kill('SIGKILL'))
}
