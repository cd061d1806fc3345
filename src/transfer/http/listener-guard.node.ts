/**
 * The places for connections that all HTTP listeners of a node share: in all, from one address (an IPv6 /64 counts as one), and for TLS
 * how many handshakes an address may begin in a second, since each costs a signature (threats HT4, CO16).
 */
import type { Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { ConnectionLimiter } from '../../net/connection-limiter.ts'
import { HANDSHAKES_PER_SECOND, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS } from './limits.ts'

export interface ListenerLimits {
  /** Open connections in all. */
  readonly maxConnections?: number
  readonly maxConnectionsPerAddress?: number
  /** TLS handshakes from one address in a second; this machine is exempt. */
  readonly handshakesPerSecond?: number
}
export const listenerLimitDefaults: Required<ListenerLimits> = {
  maxConnections: MAX_CONNECTIONS,
  maxConnectionsPerAddress: MAX_CONNECTIONS_PER_ADDRESS,
  handshakesPerSecond: HANDSHAKES_PER_SECOND
}

const UNLIMITED = 1e9

export class ListenerGuard {
  readonly #maxConnections: number
  readonly #places: ConnectionLimiter
  readonly #handshakes: ConnectionLimiter
  readonly #open = new Set<Socket>()

  constructor(deps: { readonly clock: Pick<Clock, 'monotonic' | 'sleep'> }, limits: ListenerLimits = {}) {
    const { maxConnections, maxConnectionsPerAddress: perIp, handshakesPerSecond } = { ...listenerLimitDefaults, ...limits }
    this.#maxConnections = maxConnections
    this.#places = new ConnectionLimiter(deps, { perIp, loopback: perIp, perSecond: UNLIMITED })
    this.#handshakes = new ConnectionLimiter(deps, { perIp: UNLIMITED, loopback: UNLIMITED, perSecond: handshakesPerSecond })
  }

  /** Connections that are open now. */
  get size(): number {
    return this.#open.size
  }

  /** Takes a place until the socket closes. @returns whether there was one; else refuse, and close it */
  admit(socket: Socket, tls: boolean): 'in' | 'full' {
    const address = socket.remoteAddress ?? ''
    if (this.#open.size >= this.#maxConnections) return 'full'
    if (tls) {
      const counted = this.#handshakes.admit(address)
      if (!counted) return 'full'
      counted()
    }
    const leave = this.#places.admit(address)
    if (!leave) return 'full'
    this.#open.add(socket)
    socket.once('close', () => {
      this.#open.delete(socket)
      leave()
    })
    return 'in'
  }
}
