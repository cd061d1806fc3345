/**
 * Places for inbound connections: while their handshake runs, and as open connections. When there are too many the oldest of the network
 * that has most makes room, so that one operator with many addresses cannot keep others out (threats CO16, HS3, T8).
 */
import type { Connection, MultiaddrConnection } from '@libp2p/interface'
import { mostCrowded } from '../base/crowding.ts'
import { networkOf, parseAddress, rateKeyOf, scopeOfIp } from './address-scope.ts'
import { MAX_PENDING_CONNECTIONS } from './limits.ts'

export interface InboundPlacesDeps {
  /** Every open connection. */
  readonly connections: () => readonly Connection[]
  /** Open connections in all. */
  readonly maxConnections: number
  readonly maxPending?: number
}

export class InboundPlaces {
  readonly #deps: InboundPlacesDeps
  /** Whose handshake runs, oldest first. */
  readonly #pending = new Map<MultiaddrConnection, string>()

  constructor(deps: InboundPlacesDeps) {
    this.#deps = deps
  }

  /** @returns whether there is a place; another connection may have been closed for it */
  take(connection: MultiaddrConnection): boolean {
    const network = networkOfPeer(connection)
    if (!this.#hasRoomFor(network)) return false
    if (this.#pending.size >= (this.#deps.maxPending ?? MAX_PENDING_CONNECTIONS)) {
      const [oldest] = mostCrowded(this.#pending, ([, n]) => n)!.oldest
      this.#pending.delete(oldest)
      oldest.abort(new Error('others wait for their handshake'))
    }
    this.#pending.set(connection, network)
    connection.addEventListener('close', () => this.#pending.delete(connection), { once: true })
    return true
  }

  /** The handshake is over. */
  upgraded(connection: MultiaddrConnection): void {
    this.#pending.delete(connection)
  }

  #hasRoomFor(network: string): boolean {
    const open = this.#deps.connections().filter(c => c.status === 'open')
    if (open.length < this.#deps.maxConnections) return true
    const inbound = open.filter(c => c.direction === 'inbound').sort((a, b) => a.timeline.open - b.timeline.open)
    const crowd = mostCrowded(inbound, networkOfPeer)
    // Whoever comes from where most are displaces nobody: then connections would only change places.
    if (!crowd || crowd.size <= 1 + inbound.filter(c => networkOfPeer(c) === network).length) return false
    const theirs = inbound.filter(c => networkOfPeer(c) === networkOfPeer(crowd.oldest))
    const victim = theirs.find(c => c.streams.length === 0) ?? crowd.oldest
    victim.abort(new Error('another network has no connection yet'))
    return true
  }
}

/** The network of a public address, else the address; what comes through relays is one. */
function networkOfPeer({ remoteAddr }: Pick<Connection, 'remoteAddr'>): string {
  const from = parseAddress(remoteAddr.toString())
  if (!from || from.relay !== undefined) return 'relayed'
  return scopeOfIp(from.host) === 'public' ? networkOf(from.host) : rateKeyOf(from.host)
}
