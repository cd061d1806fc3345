/** Peers with identities on a network where only named pairs reach each other, and everything that passes is written down. */
import { randomBytes } from 'node:crypto'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { KithError } from '../../src/base/errors.ts'
import { Emitter } from '../../src/base/events.ts'
import { silentLogger } from '../../src/base/log.ts'
import { openPeerRegistry, type PeerRegistry } from '../../src/discovery/peer-registry.ts'
import type { Announcement, RegistrySelf } from '../../src/discovery/peer-registry-types.ts'
import { issuePeerChain } from '../../src/identity/certificates.ts'
import { didOfKey, peerIdOfKey, peerIdToText } from '../../src/identity/peer-id.ts'
import { signBody } from '../../src/identity/signing.ts'
import { openRouting, type Routing } from '../../src/messaging/routing.ts'
import type { RoutingDeps } from '../../src/messaging/routing-types.ts'
import type { HostEvents } from '../../src/net/host.ts'
import type { Rpc } from '../../src/net/rpc.ts'
import { MemoryNetwork } from '../../src/net/rpc-memory.ts'
import { ed25519PublicKey, ed25519Sign } from '../../src/platform/crypto.node.ts'
import { MemoryPrekeys, type PrekeyStore, rotatePrekeys } from '../../src/session/prekeys.ts'
import { eventually } from './transfer-doubles.ts'

/** A new identity, as node/ joins it from its parts. */
export interface Someone extends RegistrySelf {
  readonly peerSeed: Uint8Array
  readonly seed: Uint8Array
  readonly key: Uint8Array
}
export async function someone(): Promise<Someone> {
  const [seed, peerSeed] = [randomBytes(32), randomBytes(32)]
  const key = await ed25519PublicKey(seed)
  const peer = peerIdOfKey(await ed25519PublicKey(peerSeed))
  return {
    seed,
    peerSeed,
    key,
    entityId: didOfKey(key),
    peerId: peerIdToText(peer),
    certificate: await issuePeerChain(seed, peer, 1),
    sign: (domain, body) => signBody(seed, domain, body, key)
  }
}

/** The prekey that somebody publishes. */
export async function prekeyOf(self: Someone, store: PrekeyStore, clock: Pick<Clock, 'now'> = systemClock): Promise<Uint8Array> {
  const { entityId, key: publicKey, certificate } = self
  const signing = { entityId, publicKey, certificate, signBytes: (b: Uint8Array) => ed25519Sign(self.seed, b) }
  return (await rotatePrekeys({ clock, random: randomBytes, self: signing }, store)).signed
}

export class ReachNetwork {
  readonly clock: Clock
  readonly #memory: MemoryNetwork
  readonly #edges = new Set<string>()
  readonly #links = new Map<string, ReachLinks>()
  /** Every request's bytes. */
  readonly frames: { readonly from: string; readonly to: string; readonly method: string; readonly body: Uint8Array }[] = []

  constructor(clock: Clock = systemClock) {
    this.clock = clock
    this.#memory = new MemoryNetwork(clock)
  }

  join(peerId: string): { rpc: Rpc; network: ReachLinks } {
    const rpc = this.#memory.join(peerId, '127.0.0.1')
    const network = new ReachLinks()
    this.#links.set(peerId, network)
    return {
      network,
      rpc: {
        handle: (method, options, handler) => rpc.handle(method, options, handler),
        addressOf: id => rpc.addressOf(id),
        request: async (target, method, body, options) => {
          if (!this.#edges.has(`${peerId} ${target.peerId}`)) throw new KithError('PEER_UNREACHABLE', 'no way', { peer: target.peerId })
          this.frames.push({ from: peerId, to: target.peerId, method, body: Uint8Array.from(body) })
          return rpc.request(target, method, body, options)
        }
      }
    }
  }

  connect(a: string, b: string): void {
    for (const [x, y] of [
      [a, b],
      [b, a]
    ] as const) {
      this.#edges.add(`${x} ${y}`)
      this.#links.get(x)?.set(y, true)
    }
  }

  /** They reach each other when they try, and nobody is told. */
  allow(a: string, b: string): void {
    this.#edges.add(`${a} ${b}`)
    this.#edges.add(`${b} ${a}`)
  }

  disconnect(a: string, b: string): void {
    for (const [x, y] of [
      [a, b],
      [b, a]
    ] as const) {
      this.#edges.delete(`${x} ${y}`)
      this.#links.get(x)?.set(y, false)
    }
  }
}

/** What a Host tells of its connections. */
export class ReachLinks {
  readonly events: Emitter<HostEvents> = new Emitter()
  readonly #peers = new Set<string>()
  peers(): { peerId: string }[] {
    return [...this.#peers].map(peerId => ({ peerId }))
  }
  set(peerId: string, on: boolean): void {
    if (on) this.#peers.add(peerId)
    else this.#peers.delete(peerId)
    if (on) this.events.emit('peer:connected', { peerId, address: undefined })
    else this.events.emit('peer:disconnected', { peerId })
  }
}

export interface ReachPeer extends AsyncDisposable {
  readonly self: Someone
  readonly rpc: Rpc
  readonly network: ReachLinks
  readonly registry: PeerRegistry
  readonly routing: Routing
  readonly prekeys: MemoryPrekeys
  /** Messages that arrived, as text. */
  readonly received: string[]
}

/** A peer with registry and routing. */
export async function openReachPeer(
  net: ReachNetwork,
  told: Announcement = {},
  change: Partial<RoutingDeps> = {},
  self?: Someone
): Promise<ReachPeer> {
  const me = self ?? (await someone())
  const { rpc, network } = net.join(me.peerId)
  const prekeys = new MemoryPrekeys()
  const received: string[] = []
  const base = { clock: net.clock, log: silentLogger, rpc, self: me }
  const registry = await openPeerRegistry({ ...base, network }, { prekey: await prekeyOf(me, prekeys, net.clock), ...told })
  const routing = openRouting({
    ...base,
    random: randomBytes,
    peers: registry,
    prekeys,
    receive: async message => void received.push(Buffer.from(message).toString()),
    mayRelay: () => (told.relaysFor ?? 'nobody') !== 'nobody',
    ...change
  })
  return {
    self: me,
    rpc,
    network,
    registry,
    routing,
    prekeys,
    received,
    async [Symbol.asyncDispose]() {
      await routing[Symbol.asyncDispose]()
      await registry[Symbol.asyncDispose]()
    }
  }
}

/** Connects two peers and waits until both know each other's record. */
export async function meet(net: ReachNetwork, a: ReachPeer, b: ReachPeer): Promise<void> {
  net.connect(a.self.peerId, b.self.peerId)
  await eventually('both know each other', () => !!a.registry.known(b.self.entityId) && !!b.registry.known(a.self.entityId))
}
