/**
 * Two network namespaces joined by a cable (veth) that can be pulled, and deafened in one direction. They have no names and are gone with
 * the two processes that hold them. Needs root and iproute2.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { LinkEnd } from './bad-link.ts'
import { within } from './transfer-doubles.ts'

export interface AskLink extends AsyncDisposable {
  readonly ends: readonly [LinkEnd, LinkEnd]
  /** Nothing passes, in either direction, and nobody is told. */
  pull(): void
  plug(): void
  /** Nothing of this end arrives at the other any more; the other way is as before. */
  mute(end: 0 | 1): void
  unmute(end: 0 | 1): void
  /** The end has this IPv4 address instead of its own from now on, as with another lease. */
  move(end: 0 | 1, address: string): void
}

/** Why none can be made here, in one line; undefined: it can. */
export function noAskLink(): string | undefined {
  if (spawnSync('ip', ['-V']).status !== 0) return 'needs Debian package iproute2'
  const made = spawnSync('unshare', ['-n', 'ip', 'link', 'add', 'name', 'ask0', 'type', 'veth', 'peer', 'name', 'ask1'])
  return made.status === 0 ? undefined : 'needs network namespaces with veth (run as root)'
}

const ADDRESSES = ['10.98.0.1', '10.98.0.2'] as const
/** For a network that has no IPv4. */
export const IPV6: readonly [string, string] = ['fd00:98::1', 'fd00:98::2']
/** A card that nobody has: what is sent to it is dropped by whoever gets it. */
const NOBODY = '02:00:00:00:00:99'
const DEVICE = 'ask0'

/** @param addresses of the two ends, in one network */
export async function openAskLink(addresses: readonly [string, string] = ADDRESSES): Promise<AskLink> {
  await using stack = new AsyncDisposableStack()
  const holders = [await openNamespace(stack), await openNamespace(stack)] as const
  const inside = (end: 0 | 1, ...args: string[]): void => {
    const { status, stderr } = spawnSync('nsenter', [`--net=${pathOf(holders[end])}`, 'ip', ...args])
    if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
  }
  inside(0, 'link', 'add', 'name', DEVICE, 'type', 'veth', 'peer', 'name', DEVICE, 'netns', String(holders[1].pid))
  for (const end of [0, 1] as const) {
    const isV6 = addresses[end].includes(':')
    inside(end, 'addr', 'add', `${addresses[end]}/${isV6 ? 64 : 24}`, 'dev', DEVICE, ...(isV6 ? ['nodad'] : []))
    inside(end, 'link', 'set', DEVICE, 'up')
    inside(end, 'link', 'set', 'lo', 'up')
  }
  const mute = (end: 0 | 1): void =>
    inside(end, 'neigh', 'replace', addresses[end === 0 ? 1 : 0], 'lladdr', NOBODY, 'dev', DEVICE, 'nud', 'permanent')
  const unmute = (end: 0 | 1): void => inside(end, 'neigh', 'del', addresses[end === 0 ? 1 : 0], 'dev', DEVICE)
  const owned = stack.move()
  return {
    ends: [
      { namespace: pathOf(holders[0]), address: addresses[0] },
      { namespace: pathOf(holders[1]), address: addresses[1] }
    ],
    pull: () => ([0, 1] as const).forEach(mute),
    plug: () => ([0, 1] as const).forEach(unmute),
    mute,
    unmute,
    move: (end, address) => {
      inside(end, 'addr', 'del', `${addresses[end]}/24`, 'dev', DEVICE)
      inside(end, 'addr', 'add', `${address}/24`, 'dev', DEVICE)
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

const pathOf = ({ pid }: ChildProcess): string => `/proc/${pid}/ns/net`

/** A process in a namespace of its own; it ends with its input. */
async function openNamespace(stack: AsyncDisposableStack): Promise<ChildProcess> {
  const holder = spawn('unshare', ['-n', 'sh', '-c', 'echo ready && exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
  const gone = once(holder, 'exit')
  stack.defer(async () => {
    holder.stdin.end()
    await gone
  })
  await within(10_000, 'a network namespace', once(holder.stdout, 'data'))
  return holder
}
