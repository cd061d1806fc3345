/**
 * The peers of one download: those that trackers, the user or the link name and we dial, and those that connect to us. Each becomes
 * a source. Lost ones are dialled again, ever more rarely; disposal ends all of it.
 */
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { classOfAddress } from '../address-filter.ts'
import type { Grid } from '../grid.ts'
import type { Source } from '../protocol.ts'
import type { PeerHub } from './hub.node.ts'
import { KnownPeers } from './known-peers.ts'
import { MAX_DIALS, MAX_SWARM_CONNECTIONS, REDIAL_MS } from './limits.ts'
import { peerPriority } from './peer-priority.ts'
import type { PeerSession } from './session.node.ts'
import { PeerSource } from './source.node.ts'
import type { AddressTrust, CheckAddress } from './tracker.node.ts'
import { formatPeerAddress, type PeerAddress, parsePeerAddress } from './urls.ts'

export interface SwarmDeps {
  readonly hub: PeerHub
  readonly clock: Clock
  readonly log: Logger
  readonly checkAddress: CheckAddress
  /** Our address as others see it, when it is known: decides with theirs whom to prefer (BEP 40). */
  readonly ownAddress?: () => PeerAddress | undefined
  /** Takes ownership of each source. */
  onSource(source: Source): void
}

export interface SwarmTorrent {
  readonly infoHash: Uint8Array
  readonly grid: Grid
  /** Info dictionary for peers that ask for metadata. */
  readonly info: Uint8Array | undefined
  /** BEP 27. */
  readonly private: boolean
  /** The download that this is for, when other swarms or seeders serve it, too. */
  readonly download?: object | undefined
}

/** A peer that is to be dialled when there is a place. */
interface Waiting {
  readonly peer: PeerAddress
  readonly trust: AddressTrust
  go(): void
}

export class Swarm implements AsyncDisposable {
  readonly #deps: SwarmDeps
  readonly #torrent: SwarmTorrent
  readonly #stop = new AbortController()
  readonly #registration: Disposable
  readonly #known = new KnownPeers()
  readonly #tasks = new Set<Promise<void>>()
  readonly #sessions = new Set<PeerSession>()
  readonly #waiting: Waiting[] = []
  /** Who named the peers that we dialled. */
  readonly #trust = new WeakMap<PeerSession, AddressTrust>()
  #lanes = MAX_SWARM_CONNECTIONS

  constructor(deps: SwarmDeps, torrent: SwarmTorrent) {
    this.#deps = deps
    this.#torrent = torrent
    this.#registration = deps.hub.register({ ...torrent, onPeer: session => this.#take(session) })
  }

  /** Peers that are connected. */
  get connected(): number {
    return this.#sessions.size
  }

  /** Peers that this one names: only what is in the private network that the user pointed us to is trusted as it was (as with trackers). */
  addFrom(session: PeerSession, peers: Iterable<PeerAddress>): void {
    const host = parsePeerAddress(session.wire.address)?.host ?? ''
    const given = this.#trust.get(session) === 'given' && classOfAddress(host) !== 'public'
    this.add(peers, given ? 'given' : 'found')
  }

  /** Dials these peers unless they are known; beyond 1,000 the new ones are left out. */
  add(peers: Iterable<PeerAddress>, trust: AddressTrust): void {
    for (const peer of peers) {
      if (this.#stop.signal.aborted || !this.#known.take(peer, trust)) continue
      this.#track(this.#keepConnected(peer, trust))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#registration[Symbol.dispose]()
    for (const next of this.#waiting.splice(0)) next.go()
    await Promise.all([...this.#sessions].map(s => s[Symbol.asyncDispose]()))
    await Promise.all(this.#tasks)
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }

  async #keepConnected(peer: PeerAddress, trust: AddressTrust): Promise<void> {
    const { clock, log } = this.#deps
    const signal = this.#stop.signal
    for (let failures = 0; failures < MAX_DIALS && !signal.aborted; ) {
      await this.#lane(peer, trust)
      try {
        failures = (await this.#connect(peer, trust)) ? 0 : failures + 1
      } catch (error) {
        failures = ['FORBIDDEN_ADDRESS', 'URL_FORBIDDEN'].includes(codeOf(error)) ? MAX_DIALS : failures + 1
        log.debug('dialling a peer failed', { peer: formatPeerAddress(peer), error })
      } finally {
        this.#lanes++
        this.#takeBest()?.go()
      }
      await clock.sleep(REDIAL_MS * 2 ** failures, signal).catch(() => {})
    }
    if (!signal.aborted) this.#known.forget(peer, trust)
  }

  /** Resolves when the connection has ended. @returns whether it was of any use */
  async #connect(peer: PeerAddress, trust: AddressTrust): Promise<boolean> {
    const { hub, checkAddress } = this.#deps
    if (this.#stop.signal.aborted) return false
    const host = await checkAddress(peer.host, peer.port, trust)
    const session = await hub.dial({ host, port: peer.port }, this.#torrent, this.#stop.signal)
    this.#trust.set(session, trust)
    if (hub.twinsOf(session).length > 0) {
      await session[Symbol.asyncDispose]() // used already: as a seeder of an offer, or in another swarm
      return false
    }
    this.#take(session)
    await session.wire.ended
    return session.knowsPieces && session.wire.error?.code !== 'PEER_WIRE'
  }

  #take(session: PeerSession): void {
    if (this.#stop.signal.aborted) {
      this.#track(session[Symbol.asyncDispose]())
      return
    }
    this.#sessions.add(session)
    void session.wire.ended.then(() => this.#sessions.delete(session))
    const release = async (): Promise<void> => {
      if (session.wire.incoming && session.torrent.share) {
        session.reader = undefined // it may go on fetching from us
        session.wire.send({ kind: 'notInterested' })
      } else await session[Symbol.asyncDispose]()
    }
    const { clock, onSource } = this.#deps
    onSource(new PeerSource({ session, grid: this.#torrent.grid, clock, seeder: undefined, release }))
  }

  async #lane(peer: PeerAddress, trust: AddressTrust): Promise<void> {
    while (this.#lanes <= 0 && !this.#stop.signal.aborted) await new Promise<void>(go => this.#waiting.push({ peer, trust, go }))
    this.#lanes--
  }

  /** Whom the user named comes first, then whom BEP 40 prefers; where it cannot tell, who came first. */
  #takeBest(): Waiting | undefined {
    const own = this.#waiting.length > 1 ? this.#deps.ownAddress?.() : undefined
    const rank = ({ peer, trust }: Waiting): number => (trust === 'given' ? 2 ** 33 : 0) + (own ? peerPriority(own, peer) : 0)
    let best = 0
    for (let i = 1; i < this.#waiting.length; i++) if (rank(this.#waiting[i]!) > rank(this.#waiting[best]!)) best = i
    return this.#waiting.splice(best, 1)[0]
  }
}
