/**
 * One process of bench/ask.ts, over libp2p on loopback: `node ask-peer.ts '<settings as JSON>'`; says what it saw as JSON lines. `worker`
 * serves a skill that gives back what it gets; `asker` asks for it, one task after the other; `holder` takes whoever comes and tells its
 * memory; `crowd` is many peers, each with a host and a session of its own, who hold a link and say nothing.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { randomBytes } from '#crypto'
import { openTaskStore } from '../src/agents/task-store.node.ts'
import { openTasks } from '../src/agents/tasks.ts'
import type { Tasks } from '../src/agents/types.ts'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { handleMessageStreams, openMessageStream } from '../src/messaging/link-stream.ts'
import { openMessageStore } from '../src/messaging/message-store.node.ts'
import { type OpenMessenger, openMessenger } from '../src/messaging/messenger.ts'
import { sessionChannels } from '../src/messaging/session-channel.ts'
import { openHost } from '../src/net/host.node.ts'
import type { Host } from '../src/net/host.ts'
import { MAX_CONNECTIONS } from '../src/net/limits.ts'
import { ScopeGate } from '../src/net/scope-gate.ts'
import { pooledRandom } from '../src/platform/random-pool.ts'
import { openThreadedVerifier } from '../src/platform/verify-threads.node.ts'
import { ed25519Layer } from '../src/session/layers.ts'
import { openSessions, type Sessions } from '../src/session/sessions.ts'
import type { SessionSelf } from '../src/session/types.ts'
import { NETWORK, peerSeedOf, seedOf, selfOf } from '../test/kits/messaging.ts'
import { heapAsInProgram } from './heap.ts'

export interface AskPeerSettings {
  readonly role: 'worker' | 'asker' | 'holder' | 'crowd'
  readonly folder: string
  /** Tasks that are measured, or peers of the crowd. */
  readonly count?: number
  readonly warm?: number
  /** The crowd's peers have numbers from here on. */
  readonly from?: number
  readonly to?: { readonly id: string; readonly peerId: string; readonly address: string }
}

heapAsInProgram()
const { role, folder, count = 0, warm = 0, from = 0, to } = JSON.parse(process.argv[2] ?? '{}') as AskPeerSettings
const say = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const [clock, log, random] = [systemClock, silentLogger, pooledRandom(randomBytes)]
const SKILL = 'echo'
const INPUT = { text: 'x'.repeat(1024) }
/** Links that a holder greets at once from one address. */
const AT_ONCE = 4

await using stack = new AsyncDisposableStack()
const roles = { worker, asker, holder, crowd }
await roles[role]()
if (role !== 'asker') await new Promise(resolve => process.once('SIGTERM', resolve))

async function openPeer(name: string): Promise<{ readonly self: SessionSelf; readonly host: Host; readonly sessions: Sessions }> {
  const gate = new ScopeGate()
  if (to) gate.allow(to.address, 'user')
  const hostDeps = { clock, log, gate, peerPrivateKey: peerSeedOf(name) }
  const host = stack.use(await openHost(hostDeps, { listen: to ? [] : ['/ip4/127.0.0.1/tcp/0'], loopback: MAX_CONNECTIONS }))
  const self = await selfOf(name)
  const authentication = { ...ed25519Layer(self), verifier: openThreadedVerifier }
  const sessions = stack.use(openSessions({ clock, random, self, network: NETWORK, authentication }))
  return { self, host, sessions }
}

function dial(host: Host): ReturnType<typeof openMessageStream> {
  return openMessageStream(host.streams, to?.peerId ?? '', to ? [to.address] : [], AbortSignal.timeout(10_000))
}

async function openMessages(name: string): Promise<{ readonly self: SessionSelf; readonly messenger: OpenMessenger }> {
  const { self, host, sessions } = await openPeer(name)
  const store = stack.use(openMessageStore(`${folder}/${name}/messages.db`, { storageKey: seedOf(`${name} storage`) }))
  const channels = sessionChannels(sessions)
  const messenger = stack.use(await openMessenger({ clock, random, log, store, self, channels, opener: { open: () => dial(host) } }))
  stack.use(handleMessageStreams(host.streams, link => messenger.accept(link)))
  if (!to) say({ id: self.entityId, peerId: host.peerId, address: host.addresses()[0] })
  return { self, messenger }
}

async function openTaskPeer(name: string): Promise<Tasks> {
  const { self, messenger } = await openMessages(name)
  const store = stack.use(openTaskStore(`${folder}/${name}`, { storageKey: seedOf(`${name} tasks`) }))
  const sign = (bytes: Uint8Array): Promise<Uint8Array> => self.signBytes(bytes)
  return stack.use(await openTasks({ messenger, store, clock, random, log, sign, mayDelegate: () => true }))
}

async function worker(): Promise<void> {
  const tasks = await openTaskPeer('worker')
  stack.use(await tasks.serveSkill({ name: SKILL, run: async ({ input }) => input }))
}

/** From `delegate` until the task is seen as finished, on disk on both sides. */
async function asker(): Promise<void> {
  const tasks = await openTaskPeer('asker')
  const took: number[] = []
  for (let i = 0; i < warm + count; i++) {
    const begun = performance.now()
    const { id } = await tasks.delegate({ to: to!.id, skill: SKILL, input: INPUT })
    const { state } = await tasks.wait(id)
    if (state !== 'COMPLETED') throw new Error(`a task is ${state}`)
    if (i >= warm) took.push(performance.now() - begun)
  }
  took.sort((a, b) => a - b)
  const at = (p: number): number | undefined => took[Math.min(took.length - 1, Math.floor(p * took.length))]
  say({ p50: at(0.5), p99: at(0.99) })
}

/** Without what could be collected: that is not held. */
function rssKib(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (how: object) => void
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  return process.memoryUsage.rss() / 1024
}

/** SIGUSR2 asks for the figures. */
async function holder(): Promise<void> {
  const { messenger } = await openMessages('holder')
  process.on('SIGUSR2', () => {
    const held = messenger.stats().filter(s => s.connected).length
    say({ held, rssKib: rssKib() })
  })
}

async function crowd(): Promise<void> {
  let next = from
  let held = 0
  const join = async (): Promise<void> => {
    for (let n = next++; n < from + count; n = next++) {
      const { host, sessions } = await openPeer(`crowd ${n}`)
      const link = stack.use(await dial(host))
      await sessionChannels(sessions).connect(link, to!.id, AbortSignal.timeout(10_000))
      held++
      if (held === 1) say({ rssOfFirst: rssKib() })
      void hold(link)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, join))
  say({ all: held, rssKib: rssKib() })
}

async function hold(link: Awaited<ReturnType<typeof dial>>): Promise<void> {
  while (await link.next().catch(() => undefined)) {
    // What the holder says, a heartbeat at most, is read and left.
  }
}
