/**
 * Who is dialled, and how many links there are: a circuit breaker for each peer, limits for each peer, in all and for each network, so that
 * one operator does not hold all our links (threats CO16, T8), and room made by ending what is idle.
 */
import { CircuitBreaker, type CircuitState } from '../base/circuit-breaker.ts'
import type { Clock } from '../base/clock.ts'
import { mostCrowded } from '../base/crowding.ts'
import { KithError } from '../base/errors.ts'
import { networkOf, scopeOfIp } from '../net/address-scope.ts'
import { originNetwork } from './delivery/origin-key.ts'
import type { Guard } from './guard.ts'
import * as limits from './limits.ts'
import type { LinkOpener, MessageLink } from './link.ts'
import { PooledLink } from './pooled-link.ts'
import type { EntityId } from './types.ts'

export interface LinkPoolDeps {
  readonly clock: Clock
  readonly random: () => number
  /** Looks at a link before its first frame; the guard that delivery has. */
  readonly guard: Guard
  /** Whether something waits or is under way with the peer: its links are not idle. */
  isActive(entityId: EntityId): boolean
}

export interface LinkPoolOptions {
  readonly maxLinks?: number
  readonly maxLinksPerPeer?: number
  readonly idleMs?: number
}
export const linkPoolDefaults: Required<LinkPoolOptions> = {
  maxLinks: limits.MAX_LINKS,
  maxLinksPerPeer: limits.MAX_LINKS_PER_PEER,
  idleMs: limits.LINK_IDLE_MS
}

/** For the statistics of a peer. */
export interface CircuitView {
  readonly state: CircuitState
  readonly retryAfterMs: number
}

/** Opens a pool; it ends idle links until it is disposed, and then all of them. */
export const openLinkPool = (deps: LinkPoolDeps, opener: LinkOpener, options: LinkPoolOptions = {}): LinkPool =>
  new LinkPool(deps, opener, options)

export class LinkPool implements LinkOpener, AsyncDisposable {
  readonly #deps: LinkPoolDeps
  readonly #opener: LinkOpener
  readonly #options: Required<LinkPoolOptions>
  readonly #links = new Set<PooledLink>()
  /** Tried longest ago first. */
  readonly #circuits = new Map<EntityId, CircuitBreaker>()
  readonly #stop = new AbortController()
  readonly #tending: Promise<void>
  #opening = 0

  constructor(deps: LinkPoolDeps, opener: LinkOpener, options: LinkPoolOptions = {}) {
    this.#deps = deps
    this.#opener = opener
    this.#options = { ...linkPoolDefaults, ...options }
    this.#tending = this.#tend()
  }

  get size(): number {
    return this.#links.size
  }

  circuit(to: EntityId): CircuitView {
    const circuit = this.#circuits.get(to)
    return { state: circuit?.state ?? 'closed', retryAfterMs: circuit?.retryAfterMs ?? 0 }
  }

  /** Opens a link. @throws PEER_UNREACHABLE, UNKNOWN_PEER, BANNED, CIRCUIT_OPEN (it failed too often, see `retryAfterMs`), TOO_MANY_LINKS */
  async open(to: EntityId, signal: AbortSignal): Promise<MessageLink> {
    if (this.#deps.guard.admit({ entityId: to, peerId: undefined, address: undefined }, undefined, 0) === 'BANNED') {
      throw new KithError('BANNED', 'the peer is banned', { to })
    }
    this.#checkRoom(to)
    const circuit = this.#circuitOf(to)
    const attempt = circuit.attempt()
    if (!attempt) {
      const retryAfterMs = Math.ceil(circuit.retryAfterMs)
      throw new KithError('CIRCUIT_OPEN', 'connecting failed too often', { to, retryAfterMs })
    }
    this.#opening++
    try {
      const link = await this.#opener.open(to, signal)
      attempt.succeeded()
      return await this.#keep(link, to)
    } catch (error) {
      if (signal.aborted || (error instanceof KithError && OUR_REASONS.has(error.code))) attempt.abandoned()
      else attempt.failed()
      throw error
    } finally {
      this.#opening--
    }
  }

  /** Takes in a link that somebody else opened, before anything is read from it; undefined: there is no place for it, and it is ended. */
  async admit(link: MessageLink): Promise<MessageLink | undefined> {
    const { peerId, address } = link
    try {
      const refused = this.#deps.guard.admit({ entityId: undefined, peerId, address }, undefined, 0)
      if (refused !== undefined) throw new KithError(refused, 'the link is not wanted')
      this.#checkRoom(undefined)
      return await this.#keep(link, undefined)
    } catch {
      await link[Symbol.asyncDispose]()
      return undefined
    }
  }

  /** The peer behind a link is known now. */
  identify(link: MessageLink, entityId: EntityId): void {
    if (link instanceof PooledLink) link.entityId = entityId
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#tending
    await Promise.all([...this.#links].map(l => l[Symbol.asyncDispose]()))
  }

  async #tend(): Promise<void> {
    const { clock } = this.#deps
    while (!this.#stop.signal.aborted) {
      await clock.sleep(limits.LINK_IDLE_CHECK_MS, this.#stop.signal).catch(() => {})
      const idle = [...this.#links].filter(l => this.#isIdle(l, this.#options.idleMs))
      await Promise.all(idle.map(l => l[Symbol.asyncDispose]()))
    }
  }

  async #keep(link: MessageLink, entityId: EntityId | undefined): Promise<MessageLink> {
    const network = operatorOf(link.address)
    const most = Math.max(limits.MIN_LINKS_PER_NETWORK, Math.floor(this.#options.maxLinks * limits.MAX_LINK_SHARE_PER_NETWORK))
    if (network !== undefined && [...this.#links].filter(l => operatorOf(l.address) === network).length >= most) {
      await link[Symbol.asyncDispose]()
      throw new KithError('TOO_MANY_LINKS', 'there are enough links to this network already', { network })
    }
    const pooled = new PooledLink(link, this.#deps.clock, entityId)
    this.#links.add(pooled)
    const leave = (): void => void this.#links.delete(pooled)
    if (link.closed.aborted) leave()
    else link.closed.addEventListener('abort', leave, { once: true })
    return pooled
  }

  #checkRoom(to: EntityId | undefined): void {
    const { maxLinks, maxLinksPerPeer } = this.#options
    if (to !== undefined && [...this.#links].filter(l => l.entityId === to).length >= maxLinksPerPeer) {
      throw new KithError('TOO_MANY_LINKS', 'there are enough links to this peer already', { to })
    }
    if (this.#links.size + this.#opening < maxLinks) return
    // Of the network that has most, so that who has many addresses takes no links from others.
    const idle = [...this.#links].filter(l => this.#isIdle(l, 0)).sort((a, b) => a.usedAt - b.usedAt)
    const victim = mostCrowded(idle, l => (l.openedByUs ? `peer ${l.entityId}` : originNetwork(l)))?.oldest
    if (!victim) throw new KithError('TOO_MANY_LINKS', `there are ${maxLinks} links already`, {}, { hint: 'try again later' })
    this.#links.delete(victim)
    void victim[Symbol.asyncDispose]()
  }

  #isIdle(link: PooledLink, forMs: number): boolean {
    return this.#deps.clock.monotonic() - link.usedAt >= forMs && !(link.entityId !== undefined && this.#deps.isActive(link.entityId))
  }

  #circuitOf(to: EntityId): CircuitBreaker {
    const circuit = this.#circuits.get(to) ?? new CircuitBreaker(this.#deps)
    this.#circuits.delete(to)
    this.#circuits.set(to, circuit)
    if (this.#circuits.size > limits.MAX_CIRCUITS) this.#circuits.delete(this.#circuits.keys().next().value!)
    return circuit
  }
}

/** Failures that say nothing about whether the peer can be reached. */
const OUR_REASONS: ReadonlySet<string> = new Set(['UNKNOWN_PEER', 'TOO_MANY_LINKS', 'BANNED', 'HOST_CLOSED', 'MESSENGER_CLOSED'])

/** The network of a public address. The own machine and the local network are not somebody else's. */
const operatorOf = (address: string | undefined): string | undefined =>
  address !== undefined && scopeOfIp(address) === 'public' ? networkOf(address) : undefined
