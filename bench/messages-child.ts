/** One side of bench/messages.ts: `node messages-child.ts '<settings as JSON>'`; says what it saw as JSON lines. */
import { randomBytes } from '#crypto'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { handleMessageStreams, openMessageStream } from '../src/messaging/link-stream.ts'
import { openMessageStore } from '../src/messaging/message-store.node.ts'
import { openMessenger } from '../src/messaging/messenger.ts'
import { sessionChannels } from '../src/messaging/session-channel.ts'
import { openHost } from '../src/net/host.node.ts'
import { ScopeGate } from '../src/net/scope-gate.ts'
import { pooledRandom } from '../src/platform/random-pool.ts'
import { openThreadedVerifier } from '../src/platform/verify-threads.node.ts'
import { ed25519Layer } from '../src/session/layers.ts'
import { openSessions } from '../src/session/sessions.ts'
import { NETWORK, note, peerSeedOf, seedOf, selfOf } from '../test/kits/messaging.ts'
import { heapAsInProgram } from './heap.ts'

export interface MessagesChildSettings {
  readonly folder: string
  readonly name: string
  readonly inbox?: 'durable' | 'volatile'
  readonly threads: boolean
  /** Messages that are sent or awaited, and before them those that are not counted. */
  readonly count: number
  readonly warm: number
  readonly bytes: number
  /** Messages a second; 0: as fast as it goes. */
  readonly rate: number
  readonly to?: { readonly id: string; readonly peerId: string; readonly address: string }
}

heapAsInProgram()
const settings = JSON.parse(process.argv[2] ?? '{}') as MessagesChildSettings
const { folder, name, to, count, warm, rate } = settings
const say = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
/** µs of processor time for each message since `from`: of all threads, and of the one that runs JavaScript. */
type Usage = { readonly all: NodeJS.CpuUsage; readonly main: NodeJS.CpuUsage }
const usage = (): Usage => ({ all: process.cpuUsage(), main: process.threadCpuUsage() })
const sum = (u: NodeJS.CpuUsage): number => u.user + u.system
const costs = (from: Usage): Record<string, number> => ({
  cpuMicros: sum(process.cpuUsage(from.all)) / count,
  mainMicros: sum(process.threadCpuUsage(from.main)) / count
})

await using stack = new AsyncDisposableStack()
const self = await selfOf(name)
const gate = new ScopeGate()
const hostDeps = { clock: systemClock, log: silentLogger, gate, peerPrivateKey: peerSeedOf(name) }
const host = stack.use(await openHost(hostDeps, { listen: to ? [] : ['/ip4/127.0.0.1/tcp/0'] }))
const random = pooledRandom(randomBytes)
const authentication = settings.threads ? { ...ed25519Layer(self), verifier: openThreadedVerifier } : ed25519Layer(self)
const sessions = stack.use(openSessions({ clock: systemClock, random, self, network: NETWORK, authentication }))
const storeDeps = { storageKey: seedOf(`${name} storage`) }
const store = stack.use(openMessageStore(`${folder}/${name}/messages.db`, storeDeps, settings.inbox ? { inbox: settings.inbox } : {}))
if (to) gate.allow(to.address, 'user')
const messenger = stack.use(
  await openMessenger({
    ...{ clock: systemClock, random, log: silentLogger, store, self, channels: sessionChannels(sessions) },
    opener: { open: (_, signal) => openMessageStream(host.streams, to?.peerId ?? '', to ? [to.address] : [], signal) }
  })
)
stack.use(handleMessageStreams(host.streams, link => messenger.accept(link)))
say({ ready: true, id: self.entityId, peerId: host.peerId, address: host.addresses()[0] ?? '' })
await (to ? send(to.id) : receive())
// The last acknowledgements are still on their way.
if (!to) await new Promise(resolve => process.once('SIGTERM', resolve))

async function receive(): Promise<void> {
  const over = Promise.withResolvers<void>()
  const late: number[] = []
  let got = 0
  let began = 0
  let from = usage()
  messenger.events.on('message:received', ({ message }) => {
    if (++got === warm) {
      began = performance.now()
      from = usage()
    } else if (got > warm) {
      if (rate > 0)
        late.push(performance.timeOrigin + performance.now() - Number((message.body['content'] as { data: { at: number } }).data.at))
      if (got === warm + count) over.resolve()
    }
  })
  await over.promise
  const seconds = (performance.now() - began) / 1000
  late.sort((a, b) => a - b)
  const at = (p: number): number | undefined => late[Math.min(late.length - 1, Math.floor(p * late.length))]
  say({ seconds, perSecond: count / seconds, p50: at(0.5), p99: at(0.99), ...costs(from) })
}

async function send(id: string): Promise<void> {
  const text = 'x'.repeat(settings.bytes)
  let delivered = 0
  let wake = (): void => {}
  messenger.events.on('message:changed', ({ message }) => {
    if (message.state !== 'delivered') return
    delivered++
    wake()
  })
  const body = (): ReturnType<typeof note> => {
    const at = performance.timeOrigin + performance.now()
    return { ...note(text), content: { type: 'discussion', data: { text, at } } }
  }
  const total = warm + count
  let from = usage()
  const begun = performance.now()
  for (let sent = 0; sent < total; sent++) {
    if (sent === warm) from = usage()
    if (rate > 0) {
      const due = begun + (sent * 1000) / rate
      while (performance.now() < due) await new Promise(resolve => setTimeout(resolve, Math.max(0, due - performance.now() - 0.5)))
    } else while (sent - delivered >= 2000) await new Promise<void>(resolve => (wake = resolve))
    messenger.send({ to: id, type: 'agent_message', body: body() }).catch((error: unknown) => say({ error: String(error) }))
  }
  while (delivered < total) await new Promise<void>(resolve => (wake = resolve))
  say({ delivered, ...costs(from), stats: messenger.stats() })
}
