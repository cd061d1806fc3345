/**
 * One messenger in a process of its own, over libp2p on loopback: `node messaging-child.ts '<settings as JSON>'`. Prints JSON lines. It ends
 * itself at a failpoint, and goes on where it was killed when it is started again with the same folder.
 */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomBytes } from '#crypto'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { FailpointName, PlantedBug } from '../../src/messaging/failpoints.ts'
import { handleMessageStreams, openMessageStream } from '../../src/messaging/link-stream.ts'
import { openMessageStore } from '../../src/messaging/message-store.node.ts'
import { openMessenger } from '../../src/messaging/messenger.ts'
import { sessionChannels } from '../../src/messaging/session-channel.ts'
import { openHost } from '../../src/net/host.node.ts'
import { ScopeGate } from '../../src/net/scope-gate.ts'
import { pooledRandom } from '../../src/platform/random-pool.ts'
import { openSessions } from '../../src/session/sessions.ts'
import { NETWORK, note, peerSeedOf, seedOf, selfOf } from './messaging.ts'
import { linesOf, undone } from './messaging-pair.ts'

export interface ChildSettings {
  readonly folder: string
  readonly name: string
  /** multiaddr to listen on. */
  readonly listen: string
  /** Peer to send to, and where it listens. */
  readonly to?: { readonly id: string; readonly peerId: string; readonly address: string }
  /** Messages to send, each with an id of its own; those that were sent before are not sent again. */
  readonly ids?: readonly string[]
  readonly failpoint?: { readonly name: FailpointName; readonly n: number }
  readonly plantedBug?: PlantedBug
  /** Bytes of text in each message. */
  readonly size?: number
}

const settings = JSON.parse(process.argv[2] ?? '{}') as ChildSettings
const say = (line: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const { folder, name, to } = settings
const database = join(folder, name, 'messages.db')

const pending = undone(database)

let reached = 0
const failpoint = (at: FailpointName): void => {
  if (at === settings.failpoint?.name && ++reached === settings.failpoint.n) process.kill(process.pid, 'SIGKILL')
}

await using stack = new AsyncDisposableStack()
const self = await selfOf(name)
const gate = new ScopeGate()
const host = stack.use(
  await openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey: peerSeedOf(name) }, { listen: [settings.listen] })
)
const random = pooledRandom(randomBytes)
const sessions = stack.use(openSessions({ clock: systemClock, random, self, network: NETWORK }))
const store = stack.use(openMessageStore(database, { storageKey: seedOf(`${name} storage`) }))
if (to) gate.allow(to.address, 'user')
const messenger = stack.use(
  await openMessenger({
    ...{ clock: systemClock, random, log: silentLogger, store, self, channels: sessionChannels(sessions), failpoint },
    opener: { open: (_, signal) => openMessageStream(host.streams, to?.peerId ?? '', to ? [to.address] : [], signal) },
    ...(settings.plantedBug && { plantedBug: settings.plantedBug })
  })
)
stack.use(handleMessageStreams(host.streams, link => messenger.accept(link)))

// What the handler has done: one line for each message. It can tell a repetition by the id.
const effects = join(folder, `${name}.effects`)
const known = new Set(linesOf(effects))
messenger.handle('agent_message', async message => {
  const again = known.has(message.id)
  // After a crash between the handler and its mark it has to run again; at no other time.
  if (again && !pending.has(message.id.replaceAll('-', ''))) appendFileSync(effects, `again ${message.id}\n`)
  if (!again) appendFileSync(effects, `${message.id}\n`)
  known.add(message.id)
})
say({ ready: true, id: self.entityId, peerId: host.peerId, addresses: host.addresses() })

process.once('SIGTERM', () => void stack.disposeAsync().then(() => process.exit(0)))
if (to && settings.ids) {
  const text = 'x'.repeat(settings.size ?? 100)
  messenger.events.on('message:changed', ({ message }) => {
    if (message.state === 'failed') say({ failed: message.id, code: message.reason?.code })
  })
  const accepted = settings.ids.map(async id => {
    await messenger.send({ to: to.id, type: 'agent_message', body: note(text), id })
    appendFileSync(join(folder, `${name}.accepted`), `${id}\n`)
  })
  await Promise.all(accepted)
  say({ accepted: accepted.length })
  const left = (): number => settings.ids!.filter(id => messenger.sent(id)?.state !== 'delivered').length
  for (; left() > 0; ) await new Promise(resolve => setTimeout(resolve, 20))
  say({ delivered: true, stats: messenger.stats() })
}
await new Promise(() => setInterval(() => {}, 2 ** 30))
