/** A running libp2p host as the rest of Kith uses it: request/response, who is connected, dialling, closing. */
import type { Connection, Libp2p, PeerId } from '@libp2p/interface'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import { parseAddress } from './address-scope.ts'
import { ConnectionChecks } from './connection-checks.ts'
import { ipOf, Libp2pRpc } from './libp2p-rpc.ts'
import { Libp2pStreams } from './libp2p-streams.ts'
import { MAX_ADDRESSES_PER_PEER } from './limits.ts'
import type { Reachability } from './reachability.ts'
import type { ReachabilityWatch } from './reachability-watch.ts'
import type { RefusedPeers } from './refused-peers.ts'
import type { Relays } from './relays.ts'
import type { PeerTarget, Rpc } from './rpc.ts'
import { RpcMethods } from './rpc-methods.ts'
import type { ScopeGate } from './scope-gate.ts'
import type { Streams } from './streams.ts'

/** libp2p's record of services by name. */
export type HostServices = Record<string, unknown>

export interface PeerConnection {
  /** PeerId text. */
  readonly peerId: string
  /** multiaddr of the other end. */
  readonly address: string
  readonly direction: 'inbound' | 'outbound'
  /** ms since 1970. */
  readonly since: number
}

export type HostEvents = {
  /** The first connection to a peer was authenticated. `address`: its IP, if direct. */
  readonly 'peer:connected': { readonly peerId: string; readonly address: string | undefined }
  /** The last connection to a peer ended. */
  readonly 'peer:disconnected': { readonly peerId: string }
  /** What `addresses()` answers has changed: a relay gave a slot, a port opened. */
  readonly 'addresses:changed': { readonly addresses: readonly string[] }
  readonly 'reachability:changed': { readonly reachability: Reachability }
}

export interface HostParts {
  readonly clock: Clock
  readonly log: Logger
  readonly gate: ScopeGate
  readonly refused: RefusedPeers
}

export class Host<S extends HostServices = HostServices> implements AsyncDisposable {
  readonly peerId: string
  readonly rpc: Rpc
  readonly streams: Streams
  readonly events: Emitter<HostEvents>
  /** What was given as `services`, running. */
  readonly services: S
  /** For libp2p services of other folders. Everything else goes through this class. */
  readonly libp2p: Libp2p<S>
  readonly #deps: HostParts
  readonly #rpc: Libp2pRpc
  readonly #streams: Libp2pStreams
  readonly #relays: Relays
  readonly #reachability: ReachabilityWatch
  readonly #open = new Set<string>()
  readonly #checks = new ConnectionChecks()
  #announced = ''
  #closed: Promise<void> | undefined

  constructor(deps: HostParts, libp2p: Libp2p<S>, relays: Relays, reachability: ReachabilityWatch) {
    this.#deps = deps
    this.#relays = relays
    this.#reachability = reachability
    reachability.onChange = state => this.events.emit('reachability:changed', { reachability: state })
    this.libp2p = libp2p
    this.services = libp2p.services
    this.peerId = libp2p.peerId.toString()
    this.events = new Emitter(cause => deps.log.warn('a listener threw', { cause }))
    const plain = libp2p as unknown as Libp2p
    const connect = (target: PeerTarget, signal: AbortSignal): Promise<Connection> => this.#connect(target, signal)
    this.#rpc = new Libp2pRpc({ libp2p: plain, log: deps.log, methods: new RpcMethods(deps), connect })
    this.rpc = this.#rpc
    this.#streams = new Libp2pStreams({ clock: deps.clock, libp2p: plain, log: deps.log, connect })
    this.streams = this.#streams
    libp2p.addEventListener('connection:open', event => this.#onOpen(event.detail))
    libp2p.addEventListener('peer:disconnect', event => this.#onPeerGone(event.detail))
    libp2p.addEventListener('self:peer:update', () => this.#onAddresses())
  }

  /** Resolves when every relay of the options was tried once: what answered is among `addresses()` then. */
  get relaysTried(): Promise<void> {
    return this.#relays.firstRound
  }

  /** Whether others can connect from outside this network, as far as is known; `reachability:changed` tells of news. */
  get reachability(): Reachability {
    return this.#reachability.state
  }

  /** multiaddrs at which others may reach this host, with /p2p/ at the end; through relays too. */
  addresses(): string[] {
    return this.libp2p.getMultiaddrs().map(a => a.toString())
  }

  /** Every open connection; a peer that is connected twice is listed twice. */
  peers(): PeerConnection[] {
    return this.libp2p
      .getConnections()
      .filter(c => c.status === 'open')
      .map(c => ({
        peerId: c.remotePeer.toString(),
        address: c.remoteAddr.toString(),
        direction: c.direction,
        since: c.timeline.open
      }))
  }

  /**
   * Connects to a multiaddr that ends in /p2p/PEERID. The gate must know it (`gate.allow`).
   * @returns the PeerId text @throws BAD_ADDRESS, FORBIDDEN_ADDRESS, PEER_UNREACHABLE
   */
  async dial(address: string, signal: AbortSignal): Promise<string> {
    const peerId = parseAddress(address)?.peerId
    if (peerId === undefined) {
      throw new KithError(
        'BAD_ADDRESS',
        'not a multiaddr with a PeerId',
        {},
        { hint: 'it looks like /ip4/192.0.2.1/tcp/4801/p2p/12D3KooW…' }
      )
    }
    if (!this.#deps.gate.permits(address)) throw new KithError('FORBIDDEN_ADDRESS', 'the address may not be dialled', { address })
    await this.#connect({ peerId, addresses: [address] }, signal)
    return peerId
  }

  /**
   * Has nothing to do with these peers from now on, over any protocol: connections to them are closed and none is made or taken. `isRefused`
   * is asked for each connection, so it may change its mind. @returns what ends it
   */
  refuse(isRefused: (peerId: string) => boolean): Disposable {
    this.#deps.refused.set(isRefused)
    for (const { peerId } of this.peers()) if (isRefused(peerId)) this.hangUp(peerId)
    return { [Symbol.dispose]: () => this.#deps.refused.set(undefined) }
  }

  /** Cuts every connection to a peer. */
  hangUp(peerId: string): void {
    for (const connection of this.libp2p.getConnections())
      if (connection.remotePeer.toString() === peerId) connection.abort(new Error('this peer is not wanted'))
  }

  /** This machine has lost an address: connections that went by it would be silent for minutes. */
  addressesLost(): void {
    this.#onAddresses()
    for (const connection of this.libp2p.getConnections()) this.#checks.check(connection)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#checks[Symbol.dispose]()
    await Promise.all([this.#rpc[Symbol.asyncDispose](), this.#streams[Symbol.asyncDispose]()])
    await Promise.all([this.#relays[Symbol.asyncDispose](), this.libp2p.stop()])
  }

  async #connect(target: PeerTarget, signal: AbortSignal): Promise<Connection> {
    if (this.#deps.refused.has(target.peerId)) throw new KithError('PEER_UNREACHABLE', 'the peer is refused', { peer: target.peerId })
    const open = this.libp2p.getConnections().filter(c => c.status === 'open' && c.remotePeer.toString() === target.peerId)
    const best = open.find(c => c.direct) ?? open[0]
    if (best) return best
    if (target.peerId === this.peerId) throw new KithError('PEER_UNREACHABLE', 'that is this node itself', { peer: target.peerId })
    const { peerIdFromString } = await import('@libp2p/peer-id')
    const peer = parseOr(() => peerIdFromString(target.peerId))
    if (!peer) throw new KithError('PEER_UNREACHABLE', 'not a PeerId', { peer: target.peerId })
    const given = await this.#dialable(target)
    const first = given.length > 0 ? this.libp2p.dial(given, { signal }) : Promise.reject(new Error('no permitted address was given'))
    try {
      // What libp2p knows about the peer from elsewhere comes second.
      return await first.catch(error => {
        if (signal.aborted) throw error
        return this.libp2p.dial(peer, { signal })
      })
    } catch (cause) {
      throw new KithError('PEER_UNREACHABLE', 'the peer cannot be reached', { peer: target.peerId }, { cause })
    }
  }

  /** The target's addresses that may be dialled and belong to its PeerId. */
  async #dialable({ peerId, addresses = [] }: PeerTarget): Promise<ReturnType<Libp2p['getMultiaddrs']>> {
    const { multiaddr } = await import('@multiformats/multiaddr')
    const wanted = addresses.slice(0, MAX_ADDRESSES_PER_PEER).filter(a => this.#deps.gate.permits(a))
    return wanted.flatMap(text => {
      const named = parseAddress(text)?.peerId
      if (named !== undefined && named !== peerId) return []
      const address = parseOr(() => multiaddr(named === undefined ? `${text}/p2p/${peerId}` : text))
      return address ? [address] : []
    })
  }

  #onOpen(connection: Connection): void {
    const peerId = connection.remotePeer.toString()
    const address = ipOf(connection)
    if (address !== undefined) this.#deps.gate.allowIp(address, 'connection')
    if (this.#open.has(peerId)) {
      // It may have moved: what went by its old address is silent from now on.
      for (const other of this.libp2p.getConnections(connection.remotePeer)) if (other !== connection) this.#checks.check(other)
      return
    }
    this.#open.add(peerId)
    this.events.emit('peer:connected', { peerId, address })
  }

  #onAddresses(): void {
    this.#reachability.update()
    const addresses = this.addresses()
    const text = addresses.toSorted().join()
    if (text === this.#announced) return
    this.#announced = text
    this.events.emit('addresses:changed', { addresses })
  }

  #onPeerGone(peer: PeerId): void {
    const peerId = peer.toString()
    if (this.#open.delete(peerId)) this.events.emit('peer:disconnected', { peerId })
  }
}

function parseOr<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
