/**
 * One of three processes of the flood (flood.ts), over libp2p on loopback: `node flood-peer.ts ROLE FOLDER [ID PEERID ADDRESS SECONDS]`. Prints JSON lines.
 * `receiver` has the guard, the scores and the pool that a node has; `honest` sends messages as fast as they are acknowledged; `attacker` makes
 * a session and sends junk, again and again.
 */
import { randomBytes } from '#crypto'
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import type { Guard } from '../src/messaging/guard.ts'
import { openLinkPool } from '../src/messaging/link-pool.ts'
import { handleMessageStreams, openMessageStream } from '../src/messaging/link-stream.ts'
import { openMessageStore } from '../src/messaging/message-store.node.ts'
import { type OpenMessenger, openMessenger } from '../src/messaging/messenger.ts'
import { PeerGuard } from '../src/messaging/peer-guard.ts'
import { sessionChannels } from '../src/messaging/session-channel.ts'
import { openHost } from '../src/net/host.node.ts'
import { ScopeGate } from '../src/net/scope-gate.ts'
import { pooledRandom } from '../src/platform/random-pool.ts'
import { openThreadedVerifier } from '../src/platform/verify-threads.node.ts'
import { ed25519Layer } from '../src/session/layers.ts'
import { openSessions } from '../src/session/sessions.ts'
import { openPeerBook } from '../src/trust/peer-book.node.ts'
import { NETWORK, note, peerSeedOf, seedOf, selfOf } from '../test/kits/messaging.ts'
import { heapAsInProgram } from './heap.ts'

heapAsInProgram()
const [role = '', folder = '', to = '', peerId = '', address = '', seconds = '0'] = process.argv.slice(2)
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const JUNK_PER_SECOND = 50_000
const UNDER_WAY = 1000

await using stack = new AsyncDisposableStack()
const gate = new ScopeGate()
if (address) gate.allow(address, 'user')
const [self, clock, log] = [await selfOf(role), systemClock, silentLogger]
const host = stack.use(await openHost({ clock, log, gate, peerPrivateKey: peerSeedOf(role) }, { listen: ['/ip4/127.0.0.1/tcp/0'] }))
// As in a node.
const authentication = { ...ed25519Layer(self), verifier: openThreadedVerifier }
const random = pooledRandom(randomBytes)
const sessions = stack.use(openSessions({ clock, random, self, network: NETWORK, authentication }))
const channels = sessionChannels(sessions)
const dial = (): ReturnType<typeof openMessageStream> => openMessageStream(host.streams, peerId, [address], AbortSignal.timeout(5000))

function openMessages(guard?: Guard): Promise<OpenMessenger> {
  const store = stack.use(openMessageStore(`${folder}/${role}/messages.db`, { storageKey: seedOf(role) }))
  return openMessenger({ clock, log, random, store, self, channels, opener: { open: dial }, ...(guard && { guard }) })
}

async function receive(): Promise<void> {
  const book = stack.use(openPeerBook({ clock, log }, `${folder}/${role}/peers.db`))
  let [bad, firstBadAt, bannedAt] = [0, 0, 0]
  const onBanned = (): void => void (bannedAt ||= performance.now())
  // Strangers bring little onto a disk; who sends thousands of messages a second was verified.
  const { entityId: honest } = await selfOf('honest')
  const inner = new PeerGuard({ clock, scores: book.scores, isTrusted: id => id === honest, onBanned })
  const guard: Guard = {
    admit: (from, type, bytes) => inner.admit(from, type, bytes),
    report(from, code) {
      bad++
      firstBadAt ||= performance.now()
      inner.report(from, code)
    }
  }
  const messenger = stack.use(await openMessages(guard))
  const pool = stack.use(openLinkPool({ clock, guard, random: Math.random, isActive: () => true }, { open: dial }))
  stack.use(
    handleMessageStreams(host.streams, async link => {
      const taken = await pool.admit(link)
      if (taken) await messenger.accept(taken)
    })
  )
  messenger.handle('agent_message', async () => {})
  say({ id: self.entityId, peerId: host.peerId, address: host.addresses()[0] })
  for (;;) {
    say({ rss: process.memoryUsage.rss() / 2 ** 20, bad, offAfter: bannedAt ? (bannedAt - firstBadAt) / 1000 : -1 })
    await pause(200)
  }
}

async function sendHonestly(): Promise<void> {
  const messenger = stack.use(await openMessages())
  let [waiting, delivered] = [0, 0]
  let took: number[] = []
  let wake = (): void => {}
  messenger.events.on('message:changed', ({ message }) => {
    if (message.state !== 'delivered') return
    waiting--
    delivered++
    took.push(message.changedAt - message.createdAt)
    wake()
  })
  const body = note('x'.repeat(900))
  const tell = setInterval(() => {
    say({ delivered, p99: took.sort((a, b) => a - b)[Math.floor(took.length * 0.99)] ?? 0 })
    took = []
  }, 1000)
  stack.defer(() => clearInterval(tell))
  for (const until = performance.now() + Number(seconds) * 1000; performance.now() < until; ) {
    if (waiting >= UNDER_WAY) await new Promise<void>(resolve => (wake = resolve))
    waiting++
    void messenger.send({ to, type: 'agent_message', body })
    if (waiting % 50 === 0) await new Promise(setImmediate)
  }
}

async function attack(): Promise<void> {
  const junk = new TextEncoder().encode(`{"msg_type":"agent_message","payload":"${'x'.repeat(500)}"}`)
  const end = performance.now() + Number(seconds) * 1000
  let [sent, links, refused] = [0, 0, 0]
  while (performance.now() < end) {
    try {
      await using link = await dial()
      await channels.connect(link, to, AbortSignal.timeout(2000))
      links++
      for (const since = performance.now(); !link.closed.aborted && performance.now() < end; sent++) {
        await link.send(junk)
        const ahead = sent - ((performance.now() - since) * JUNK_PER_SECOND) / 1000
        if (ahead > 500) await pause(10)
      }
    } catch {
      refused++
      await pause(1)
    }
  }
  say({ sent, links, refused })
}

const roles: Record<string, () => Promise<void>> = { receiver: receive, honest: sendHonestly, attacker: attack }
await roles[role]?.()
