/**
 * Being a relay for others: libp2p's circuit relay with numbers for everything. It sees who talks to whom and how much, and ciphertext.
 *
 * The library copies from one end to the other through a queue without bound: a sender and a silent reader could fill our memory. Here the
 * sender is paused instead. relay-server.test.ts fails when an update changes what is used.
 */
import type { CircuitRelayServerComponents, CircuitRelayService } from '@libp2p/circuit-relay-v2'
import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { parseAddress, rateKeyOf } from './address-scope.ts'
import {
  HANDSHAKE_TIMEOUT_MS,
  MAX_INBOUND_STREAMS,
  MAX_RELAY_CIRCUITS,
  MAX_RELAY_CIRCUITS_PER_PEER,
  MAX_RELAY_RESERVATIONS,
  MAX_RELAY_RESERVATIONS_PER_IP,
  RELAY_BUFFER_BYTES,
  RELAY_CIRCUIT_BYTES,
  RELAY_CIRCUIT_MS,
  RELAY_RESERVATION_MS
} from './limits.ts'
import { componentsToldTo } from './told-addresses.ts'

export interface RelayServerOptions {
  /** Peers that may hold a slot. */
  readonly maxReservations?: number
  /** Connections through this relay at a time. */
  readonly maxCircuits?: number
  /** Bytes that one of them may carry, both ways together. */
  readonly circuitBytes?: number
  /** How long one may last. */
  readonly circuitMs?: number
}
export const relayServerDefaults: Required<RelayServerOptions> = {
  maxReservations: MAX_RELAY_RESERVATIONS,
  maxCircuits: MAX_RELAY_CIRCUITS,
  circuitBytes: RELAY_CIRCUIT_BYTES,
  circuitMs: RELAY_CIRCUIT_MS
}

/** What is used of the library's service. */
interface ServerInside extends CircuitRelayService {
  readonly components: CircuitRelayServerComponents
  onHop(stream: Stream, connection: Connection): Promise<void>
  stopHop(...args: readonly unknown[]): Promise<Stream | undefined>
}

export class RelayServer {
  readonly #options: Required<RelayServerOptions>
  /** Open circuits by PeerId of who dialled. */
  readonly #circuits = new Map<string, number>()
  #total = 0
  #service: CircuitRelayService | undefined

  constructor(options: RelayServerOptions) {
    this.#options = { ...relayServerDefaults, ...options }
  }

  /** Connections that go through this relay now. */
  get circuits(): number {
    return this.#total
  }
  /** Peers that hold a slot. */
  get reservations(): number {
    return this.#service?.reservations.size ?? 0
  }

  /** Factory of the service for libp2p. */
  async service(): Promise<(components: CircuitRelayServerComponents) => CircuitRelayService> {
    const { circuitRelayServer } = await import('@libp2p/circuit-relay-v2')
    const { maxReservations, circuitBytes, circuitMs } = this.#options
    const factory = circuitRelayServer({
      hopTimeout: HANDSHAKE_TIMEOUT_MS,
      maxInboundHopStreams: MAX_INBOUND_STREAMS,
      maxOutboundStopStreams: this.#options.maxCircuits,
      reservations: {
        maxReservations,
        reservationTtl: RELAY_RESERVATION_MS,
        defaultDurationLimit: circuitMs,
        defaultDataLimit: BigInt(circuitBytes)
      }
    })
    return components => {
      const service = factory(components) as ServerInside
      this.#service = service
      this.#guard(service)
      return service
    }
  }

  /** Whether a peer may not have a slot: its address has enough of them. @param connections live ones of that peer */
  refusesReservation(peer: PeerId, connections: readonly Pick<Connection, 'remoteAddr'>[]): boolean {
    const keys = new Set(connections.map(c => keyOf(c.remoteAddr.toString())))
    let held = 0
    for (const [holder, { addr }] of this.#service?.reservations ?? []) if (!holder.equals(peer) && keys.has(keyOf(addr.toString()))) held++
    return held >= MAX_RELAY_RESERVATIONS_PER_IP
  }

  /** Whether a peer may not open one more circuit. */
  refusesCircuit(source: PeerId): boolean {
    return this.#total >= this.#options.maxCircuits || (this.#circuits.get(source.toString()) ?? 0) >= MAX_RELAY_CIRCUITS_PER_PEER
  }

  #guard(service: ServerInside): void {
    const { onHop } = Object.getPrototypeOf(service) as ServerInside
    if (!onHop || !service.stopHop || !service.components) throw new Error('the relay service has changed: its memory cannot be bounded')
    service.onHop = (stream, connection) => {
      // The service as this request sees it: with a `stopHop` that knows the stream it will be joined with, and addresses that may be told.
      const view = Object.create(service, {
        components: { value: componentsToldTo(service.components, connection) },
        stopHop: {
          value: async (...args: readonly unknown[]) => {
            const other = await service.stopHop(...args)
            if (other) this.#join(connection.remotePeer.toString(), stream, other)
            return other
          }
        }
      }) as ServerInside
      return onHop.call(view, stream, connection)
    }
  }

  #join(source: string, one: Stream, other: Stream): void {
    this.#total++
    this.#circuits.set(source, (this.#circuits.get(source) ?? 0) + 1)
    throttle(one, other)
    throttle(other, one)
    let open = true
    const onClose = (): void => {
      if (!open) return
      open = false
      this.#total--
      const left = this.#circuits.get(source)! - 1
      if (left === 0) this.#circuits.delete(source)
      else this.#circuits.set(source, left)
    }
    one.addEventListener('close', onClose, { once: true })
    other.addEventListener('close', onClose, { once: true })
  }
}

const keyOf = (address: string): string => rateKeyOf(parseAddress(address)?.host ?? '')

/** Pauses `from` while more than RELAY_BUFFER_BYTES of it were not yet given to `to`. */
function throttle(from: Stream, to: Stream): void {
  let held = 0
  let counting = false
  const listen = from.addEventListener.bind(from)
  // Whoever listens first is given what waits: so we begin with the library, not before it.
  from.addEventListener = ((...args: Parameters<typeof listen>) => {
    listen(...args)
    if (args[0] !== 'message' || counting) return
    counting = true
    listen('message', event => {
      held += event.data.byteLength
      if (held > RELAY_BUFFER_BYTES && from.status === 'open') from.pause()
    })
  }) as typeof from.addEventListener
  const send = to.send.bind(to)
  to.send = data => {
    held -= data.byteLength
    const more = send(data)
    // After the library has waited for `to`, if it had to.
    if (held <= RELAY_BUFFER_BYTES / 2 && from.status === 'open' && from.readStatus === 'paused') queueMicrotask(() => resume(from))
    return more
  }
}

function resume(stream: Stream): void {
  if (stream.status === 'open' && stream.readStatus === 'paused') stream.resume()
}
