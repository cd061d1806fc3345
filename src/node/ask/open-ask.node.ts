/** Opens messaging: peer book, registry, sessions, messenger, hops and mailboxes, groups, tasks. Closed with the stack, in reverse order. */
import { join } from 'node:path'
import { randomBytes } from '#crypto'
import { type Presence, registerHandlers } from '../../agents/handlers.ts'
import type { Tasks } from '../../agents/types.ts'
import { systemClock } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import { openPeerRegistry, type PeerRegistry } from '../../discovery/peer-registry.ts'
import type { RecordMemory } from '../../discovery/peer-registry-types.ts'
import type { Identity } from '../../identity/identity.ts'
import type { Broadcasts } from '../../messaging/broadcast-types.ts'
import { openGroups } from '../../messaging/groups.ts'
import { openGroupStore } from '../../messaging/groups-store.node.ts'
import type { SealedCarrier } from '../../messaging/link.ts'
import { openLinkPool } from '../../messaging/link-pool.ts'
import { handleMessageStreams } from '../../messaging/link-stream.ts'
import { openMailbox } from '../../messaging/mailbox.ts'
import { openCollector } from '../../messaging/mailbox-collector.ts'
import { openMailboxStore } from '../../messaging/mailbox-store.node.ts'
import { openMessageStore } from '../../messaging/message-store.node.ts'
import { type OpenMessenger, openMessenger } from '../../messaging/messenger.ts'
import { NetworkMonitor } from '../../messaging/monitor.ts'
import { PeerGuard } from '../../messaging/peer-guard.ts'
import { openPrekeyRotation } from '../../messaging/prekey-rotation.ts'
import { openPrekeyStore } from '../../messaging/prekey-store.node.ts'
import { openRouting } from '../../messaging/routing.ts'
import { sessionChannels } from '../../messaging/session-channel.ts'
import type { PubSub } from '../../messaging/topics-types.ts'
import { newUuid } from '../../messaging/uuid.ts'
import { openThreadedVerifier } from '../../platform/verify-threads.node.ts'
import { ed25519Layer } from '../../session/layers.ts'
import { openSessions } from '../../session/sessions.ts'
import type { SessionSelf } from '../../session/types.ts'
import { openPeerBook } from '../../trust/peer-book.node.ts'
import type { NetworkState } from '../../wire/chaos-network-state.ts'
import { MESSAGE_TYPES } from '../../wire/message-types.ts'
import type { AskDeps, AskParts } from './ask-parts.node.ts'
import { answerDiscovery } from './discovery-answers.ts'
import { diskFailed } from './disk-failed.ts'
import { openMessageServer } from './message-server.node.ts'
import { openTaskDesk } from './open-tasks.node.ts'
import { ownEndpoints } from './own-endpoints.ts'
import { recordTeller } from './own-record.ts'
import { PeerDirectory } from './peer-directory.node.ts'
import { forASecond, isChosen, legacyPeers, refuseBanned } from './peer-standing.ts'

/** Nodes of another network get no session (threats HS10). */
const NETWORK = 'kith'
const PROTOCOL_VERSION = '1.1'

/** @throws STORE_CORRUPT and other STORE_ codes, HTTP_LISTEN */
export async function openAsk(stack: AsyncDisposableStack, deps: AskDeps): Promise<AskParts> {
  const { config, identity, host } = deps
  const log = deps.log.child('ask')
  const clock = systemClock
  const { data } = config.folders
  const self = selfOf(identity)
  const { entityId } = self
  const book = stack.use(openPeerBook({ clock, log }, join(data, 'peers.db')))
  const prekeys = stack.use(openPrekeyStore(join(data, 'prekeys.db')))
  const store = stack.use(
    openMessageStore(join(data, 'messages.db'), { storageKey: await identity.storageKey('messages') }, { onFailed: diskFailed(log) })
  )
  const mailbox = stack.use(openMailboxStore(join(data, 'mailbox.db')))
  const registry = await openRegistry(stack, deps, log, mailbox)
  const directory = new PeerDirectory({ host, gate: deps.gate, book, registry, self: entityId })
  const isTrusted = forASecond(id => book.peer(id)?.verified === true || book.grants(id).length > 0)
  const guard = new PeerGuard({ clock, scores: book.scores, isTrusted })
  const late: { messenger?: OpenMessenger; carrier?: SealedCarrier; tasks?: Tasks } = {}
  const isActive = (id: string): boolean =>
    late.tasks?.tasks({ peer: id }).some(t => t.finishedAt === undefined) === true || late.messenger?.isWaitingFor(id) === true
  refuseBanned(stack, host, book)
  const pool = stack.use(openLinkPool({ clock, random: fraction, guard, isActive }, directory))
  const allowsLegacy = (id: string): boolean => book.peer(id)?.allowsLegacy === true
  // While one thread reads frames, others check their signatures.
  const authentication = { ...ed25519Layer(self), verifier: openThreadedVerifier }
  const sessions = openSessions({ clock, random: randomBytes, self, network: NETWORK, allowsLegacy, authentication })
  const carrier: SealedCarrier = { carry: async (to, sealed, signal) => (await late.carrier?.carry(to, sealed, signal)) ?? false }
  const legacy = legacyPeers(book, id => late.messenger?.isConnected(id) === true)
  const messenger = stack.use(
    await openMessenger({
      clock,
      random: randomBytes,
      log,
      store,
      self,
      channels: sessionChannels(sessions),
      opener: pool,
      guard,
      carrier,
      legacy
    })
  )
  late.messenger = messenger
  const routing = openReach(stack, deps, { book, prekeys, registry, messenger, mailbox, log })
  late.carrier = routing
  messenger.events.on('peer:connected', e => book.observe(e.entityId, e.peerId === undefined ? {} : { peerId: e.peerId }))
  const stop = new AbortController()
  stack.defer(() => stop.abort())
  host.events.on(
    'peer:connected',
    ({ peerId }) => {
      const known = book.find(peerId)
      if (known) messenger.wake(known.entityId)
    },
    stop.signal
  )
  registry.events.on('peer:found', ({ peer, isProved }) => {
    // Anybody may name any PeerId in its record: one that others named must not stand for whoever says so.
    book.observe(peer.entityId, { capabilities: peer.capabilities, ...(isProved ? { peerId: peer.peerId } : {}) })
    messenger.wake(peer.entityId)
  })
  const accept = async (link: Parameters<OpenMessenger['accept']>[0]): Promise<void> => {
    const kept = await pool.admit(link)
    if (kept) await messenger.accept(kept)
  }
  const groups = stack.use(
    await openGroups({
      ...{ clock, log, random: randomBytes, messenger, sign: identity.sign.bind(identity) },
      store: stack.use(openGroupStore(join(data, 'groups.db'), { storageKey: await identity.storageKey('groups') }))
    })
  )
  const tasks = await openTaskDesk(stack, deps, { book, messenger, registry })
  late.tasks = tasks
  const tell = recordTeller({ book, registry, tasks })
  const presence = stack.use(openPresence(deps, { book, messenger, registry, tasks }))
  const monitor = stack.use(new NetworkMonitor({ clock, messenger, capabilities: () => book.peers(1000).map(p => p.capabilities) }))
  const rotation = stack.use(await openPrekeyRotation({ clock, log, random: randomBytes, self, store: prekeys, onChange: tell }))
  const announce = (): Promise<void> => tell(rotation.signed)
  await announce()
  stack.use(handleMessageStreams(host.streams, accept))
  const server = deps.staysUp ? await openMessageServer(stack, deps, { book, messenger, monitor, accept }) : undefined
  const broadcasts = await openTalk(stack, deps, { book, messenger, registry, monitor, self })
  return { book, messenger, registry, directory, groups, tasks, presence, monitor, broadcasts, server, announce }
}

const fraction = (): number => new DataView(randomBytes(4).buffer).getUint32(0) / 2 ** 32

const selfOf = (identity: Identity): SessionSelf => ({
  entityId: identity.instance.did,
  publicKey: identity.instance.key,
  certificate: identity.peerCertificate,
  signBytes: bytes => identity.signBytes(bytes)
})

async function openRegistry(
  stack: AsyncDisposableStack,
  { identity, host, finder }: AskDeps,
  log: Logger,
  memory: RecordMemory
): Promise<PeerRegistry> {
  const self = {
    entityId: identity.instance.did,
    peerId: identity.peerId,
    certificate: identity.peerCertificate,
    sign: identity.sign.bind(identity)
  }
  return stack.use(await openPeerRegistry({ clock: systemClock, log, rpc: host.rpc, self, network: host, finder, memory }))
}

/** What agents say to all (spec 003), in a node that stays up: topics over gossip, and logins of agents with keys of their own. */
async function openTalk(
  stack: AsyncDisposableStack,
  { host, log }: AskDeps,
  { messenger, registry, monitor, self }: Pick<AskParts, 'book' | 'messenger' | 'registry' | 'monitor'> & { readonly self: SessionSelf }
): Promise<Broadcasts | undefined> {
  const { pubsub } = host.services as { readonly pubsub?: PubSub }
  if (!pubsub) return undefined
  const [{ openTopics }, { openBroadcasts }, { openAgentLogin }] = await Promise.all([
    import('../../messaging/topics.ts'),
    import('../../messaging/broadcast.ts'),
    import('../../messaging/agent-login.ts')
  ])
  const clock = systemClock
  const onPeerGone = (listener: (peerId: string) => void): (() => void) =>
    host.events.on('peer:disconnected', ({ peerId }) => listener(peerId))
  const logins = stack.use(openAgentLogin({ streams: host.streams, peerId: host.peerId, onPeerGone, clock, log: log.child('login') }))
  const topics = stack.use(openTopics({ pubsub, self, clock, log: log.child('topics') }))
  const speaksFor = (agent: string, entity: string): boolean => {
    const peerId = registry.known(entity)?.peerId
    return peerId !== undefined && logins.agentsOf(peerId).includes(agent)
  }
  const readState = (): NetworkState => {
    const m = monitor.collect()
    return {
      nodeType: 'full_node',
      connectedPeers: m.connected_peers,
      agents: Object.values(m.agent_distribution).reduce((n, x) => n + x, 0),
      messageLatencyUs: Math.round((m.message_latency.p50_ms ?? 0) * 1000),
      bytesIn: m.bandwidth_usage.in_bytes,
      bytesOut: m.bandwidth_usage.out_bytes,
      agentDistribution: Object.entries(m.agent_distribution).map(([kind, count]) => ({ kind, count })),
      load: 0,
      height: 0,
      stateRoot: undefined
    }
  }
  return stack.use(openBroadcasts({ topics, messenger, self, clock, log: log.child('agents'), speaksFor, readState }))
}

type Reach = Pick<AskParts, 'book' | 'messenger' | 'registry'> & {
  readonly prekeys: ReturnType<typeof openPrekeyStore>
  readonly mailbox: ReturnType<typeof openMailboxStore>
  readonly log: Logger
}

/** Hops, and mailboxes: ours at others, and those of others here. */
function openReach(stack: AsyncDisposableStack, { identity, host }: AskDeps, reach: Reach): SealedCarrier {
  const { book, messenger, registry, prekeys, mailbox, log } = reach
  const rpc = host.rpc
  const clock = systemClock
  const mayKeep = (owner: string): boolean => book.allowed(owner, 'mailbox') !== undefined
  const isKnown = (peerId: string): boolean => {
    const peer = book.find(peerId)
    return peer !== undefined && isChosen(book, peer.entityId) && !book.scores.isBanned({ entityId: peer.entityId })
  }
  const deposits = stack.use(openMailbox({ clock, log, rpc, store: mailbox, mayKeep, isKnown }))
  const routing = stack.use(
    openRouting({
      ...{ clock, log, random: randomBytes, rpc, prekeys, deposits },
      self: { entityId: identity.instance.did, peerId: identity.peerId },
      peers: registry,
      receive: message => messenger.receive(message, { via: 'sealed' }),
      // Who hands it over may be a stranger; whoever is written to may have been granted it as well.
      mayRelay: ({ from, to }) =>
        book.grants('*').some(g => g.what === 'relay') || [from, to].some(id => id !== undefined && book.allowed(id, 'relay') !== undefined)
    })
  )
  const mailboxes = (): string[] => book.peers(1000).flatMap(p => (p.isMailbox ? p.peerIds : []))
  const known = { key: identity.instance.key, peers: () => book.peers(1000).flatMap(p => (isChosen(book, p.entityId) ? p.peerIds : [])) }
  const certificate = identity.peerCertificate
  stack.use(openCollector({ log, rpc, certificate, network: host, mailboxes, known, open: envelope => routing.open(envelope) }))
  return routing
}

function openPresence(
  { log, host }: AskDeps,
  { book, messenger, registry, tasks }: Pick<AskParts, 'book' | 'messenger' | 'registry' | 'tasks'>
): Presence {
  const startedAt = systemClock.monotonic()
  return registerHandlers({
    messenger,
    tasks,
    clock: systemClock,
    log: log.child('presence'),
    newId: newUuid,
    capabilities: from => ({
      protocolVersion: PROTOCOL_VERSION,
      supportedMsgTypes: Object.keys(MESSAGE_TYPES),
      cryptoFeatures: ['ed25519', 'x25519', 'aes-256-gcm', 'hkdf-sha256', 'hpke'],
      endpoints: ownEndpoints({ host, book }, from)
    }),
    status: () => {
      const skills = tasks.skills()
      const waiting = skills.reduce((n, s) => n + s.queued, 0)
      const running = skills.reduce((n, s) => n + s.running, 0)
      const room = skills.reduce((n, s) => n + s.concurrency, 0)
      const load = room === 0 ? 0 : Math.min(1, running / room)
      const uptimeSeconds = Math.floor((systemClock.monotonic() - startedAt) / 1000)
      return { state: load === 1 ? ('BUSY' as const) : ('READY' as const), load, uptimeSeconds, tasks: { waiting, running } }
    },
    discover: async (question, from) => answerDiscovery({ registry, isKnown: id => isChosen(book, id) }, question, from),
    onStatus: (from, status) => book.observe(from, { status: { ...status } }),
    onCapabilities: (from, c) => book.observe(from, { capabilities: c.skills.map(s => `task:${s.name}`) }),
    onWakeUp: from => messenger.wake(from)
  })
}
