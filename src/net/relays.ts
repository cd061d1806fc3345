/**
 * The way in through others: reserves a slot at each relay that the configuration names, so that peers who cannot reach this host directly
 * can dial `RELAY/p2p-circuit/p2p/US`, and keeps it while the relay comes and goes. What goes through a relay is encrypted between the two
 * ends as any connection is.
 *
 * libp2p's transport lets any peer make us announce addresses of its choice, by posing as our relay, and never tries a relay again that
 * went away. Both are dealt with here; relays.test.ts fails when an update changes what is used.
 */
import type { CircuitRelayTransportComponents } from '@libp2p/circuit-relay-v2'
import type { Connection, Listener, Stream, Transport } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { parseAddress } from './address-scope.ts'
import { MAX_ADDRESSES_PER_RELAY, MAX_RELAYS, RELAY_RETRY_MAX_MS, RELAY_RETRY_MS, RELAY_TIMEOUT_MS } from './limits.ts'
import type { ScopeGate } from './scope-gate.ts'

export interface RelaysDeps {
  readonly clock: Pick<Clock, 'sleep'>
  readonly log: Logger
  readonly gate: ScopeGate
}

/** What is used of the library's transport. */
interface TransportInside extends Transport {
  onStop(stream: Stream, connection: Connection): Promise<void>
  readonly reservationStore: EventTarget & { readonly reservations: Iterable<readonly [{ toString(): string }, unknown]> }
}

export class Relays implements AsyncDisposable {
  /** Resolves when every relay was tried once. */
  readonly firstRound: Promise<void>
  readonly #deps: RelaysDeps
  /** Addresses by PeerId of the relay. */
  readonly #addresses: ReadonlyMap<string, string>
  readonly #closing = new AbortController()
  readonly #onTried = new Map<string, () => void>()
  #transport: TransportInside | undefined
  #components: CircuitRelayTransportComponents | undefined
  #listeners = new Map<string, Listener>()
  #created: Listener | undefined
  #tasks: Promise<unknown> = Promise.resolve()

  /** @throws BAD_ADDRESS */
  constructor(deps: RelaysDeps, addresses: readonly string[]) {
    this.#deps = deps
    this.#addresses = new Map(addresses.map(address => [relayOf(address), address]))
    if (this.#addresses.size > MAX_RELAYS) throw new KithError('BAD_ADDRESS', 'too many relays', { count: this.#addresses.size })
    for (const address of addresses) deps.gate.allow(address, 'user')
    const tried = [...this.#addresses.keys()].map(relay => new Promise<void>(resolve => this.#onTried.set(relay, resolve)))
    this.firstRound = Promise.all(tried).then(() => {})
  }

  /** The transport for relayed connections, to be given to libp2p; a host without relays of its own loads it when it first dials through one. */
  async transport(): Promise<(components: CircuitRelayTransportComponents) => Transport> {
    if (this.#addresses.size === 0) return lazyDialler()
    const { circuitRelayTransport } = await import('@libp2p/circuit-relay-v2')
    const factory = circuitRelayTransport({ reservationCompletionTimeout: RELAY_TIMEOUT_MS })
    return components => {
      const transport = factory(components) as TransportInside
      if (!transport.onStop || !transport.reservationStore) throw new Error('the relay transport has changed: it cannot be guarded')
      const { onStop } = transport
      // A relay that we did not choose has nothing to bring us; the library would reserve a slot there and announce what it says.
      transport.onStop = async (stream, connection) => {
        if (this.#addresses.has(connection.remotePeer.toString())) return onStop.call(transport, stream, connection)
        stream.abort(new Error('not a relay of ours'))
      }
      const create = transport.createListener.bind(transport)
      transport.createListener = options => {
        this.#created = create(options)
        return this.#created
      }
      this.#transport = transport
      this.#components = components
      return transport
    }
  }

  /** Which of our addresses are announced: the direct ones, and those at relays that we chose and others may be told of. */
  announced(addresses: Multiaddr[]): Multiaddr[] {
    const counts = new Map<string, number>()
    return addresses.filter(address => {
      const text = address.toString()
      const relay = parseAddress(text)?.relay
      if (relay === undefined) return !text.includes('/p2p-circuit')
      const count = (counts.get(relay) ?? 0) + 1
      counts.set(relay, count)
      return this.#addresses.has(relay) && this.#deps.gate.permits(text) && count <= MAX_ADDRESSES_PER_RELAY
    })
  }

  /** Begins to reserve slots; libp2p has started. */
  start(): void {
    this.#tasks = Promise.allSettled([...this.#addresses].map(([relay, address]) => this.#keep(relay, address)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new KithError('HOST_CLOSED', 'the host has been closed'))
    for (const tried of this.#onTried.values()) tried()
    await this.#tasks
  }

  /** Ends only when closing. */
  async #keep(relay: string, address: string): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#closing
    for (let retryMs = RELAY_RETRY_MS; !signal.aborted; ) {
      try {
        await this.#reserve(relay, address)
        log.debug('slot reserved', { relay })
        retryMs = RELAY_RETRY_MS
        this.#onTried.get(relay)?.()
        await this.#lost(relay)
        log.debug('slot lost', { relay })
      } catch (cause) {
        if (!signal.aborted) log.debug('no slot at the relay', { relay, cause })
        this.#onTried.get(relay)?.()
        await clock.sleep(retryMs, signal).catch(() => {})
        retryMs = Math.min(2 * retryMs, RELAY_RETRY_MAX_MS)
      }
    }
  }

  async #reserve(relay: string, address: string): Promise<void> {
    const { multiaddr } = await import('@multiformats/multiaddr')
    const circuit = multiaddr(`${address}/p2p-circuit`)
    const known = this.#listeners.get(relay)
    if (known) await known.listen(circuit)
    else {
      this.#created = undefined
      // The transport makes the listener before this returns; it is used again when the relay comes back.
      const listening = this.#components!.transportManager.listen([circuit])
      if (this.#created) this.#listeners.set(relay, this.#created)
      await listening
    }
    if (!this.#hasSlot(relay)) throw new KithError('PEER_UNREACHABLE', 'the relay gave no slot', { relay })
  }

  #hasSlot(relay: string): boolean {
    for (const [peer] of this.#transport!.reservationStore.reservations) if (peer.toString() === relay) return true
    return false
  }

  /** Resolves when the slot at this relay is gone; rejects when closing. */
  #lost(relay: string): Promise<void> {
    const { signal } = this.#closing
    const listening = new AbortController()
    return new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (!this.#hasSlot(relay)) resolve()
      }
      this.#transport!.reservationStore.addEventListener('relay:removed', look, { signal: listening.signal })
      signal.addEventListener('abort', () => reject(signal.reason), { signal: listening.signal })
      look()
      if (signal.aborted) reject(signal.reason)
    }).finally(() => listening.abort('settled'))
  }
}

/** A transport that only dials, made of the library's when it is first needed. */
async function lazyDialler(): Promise<(components: CircuitRelayTransportComponents) => Transport> {
  const { transportSymbol } = await import('@libp2p/interface')
  return components => {
    let real: Promise<Transport> | undefined
    const load = async (): Promise<Transport> => (await import('@libp2p/circuit-relay-v2')).circuitRelayTransport()(components)
    const dialler: Record<PropertyKey, unknown> & Partial<Transport> = {
      [transportSymbol]: true,
      [Symbol.toStringTag]: 'relay dialler',
      listenFilter: () => [],
      dialFilter: addresses => addresses.filter(a => parseAddress(a.toString())?.relay !== undefined),
      createListener: () => {
        throw new KithError('BAD_ADDRESS', 'this host has no relays to listen at')
      },
      async dial(address, options) {
        real ??= load()
        return (await real).dial(address, options)
      }
    }
    return dialler as unknown as Transport
  }
}

/** PeerId of the relay that a configured address names. @throws BAD_ADDRESS */
function relayOf(address: string): string {
  const parsed = parseAddress(address)
  if (parsed?.peerId === undefined || parsed.relay !== undefined) {
    const hint = 'it looks like /ip4/192.0.2.1/tcp/4801/p2p/12D3KooW…'
    throw new KithError('BAD_ADDRESS', 'not the address of a relay', { address }, { hint })
  }
  return parsed.peerId
}
