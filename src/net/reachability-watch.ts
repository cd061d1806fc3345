/**
 * Keeps the facts that reachability.ts decides on, for one host. libp2p announces a public address of the machine only after somebody
 * verified it, so that a server nobody knows would never be known: here such an address counts until peers say otherwise.
 */
import type { AutoNATv2Components } from '@libp2p/autonat-v2'
import type { Logger } from '../base/log.ts'
import { parseAddress, scopeOfAddress } from './address-scope.ts'
import { AUTONAT_TIMEOUT_MS, MAX_INBOUND_DIALBACKS, MAX_OUTBOUND_DIALBACKS } from './limits.ts'
import { decideReachability, type Reachability } from './reachability.ts'

export interface ReachabilityOptions {
  /** Overrides what is found out. */
  readonly reachability?: 'public' | 'private' | undefined
  /** Ask peers to dial back, and do the same for them (AutoNAT v2 under Kith's prefix). */
  readonly autonat?: boolean
}

/** libp2p's parts that are used here. */
export interface WatchedComponents extends AutoNATv2Components {
  readonly transportManager: { getAddrs(): readonly { toString(): string }[] }
}
type AddressManager = AutoNATv2Components['addressManager']
type Multiaddr = Parameters<AddressManager['confirmObservedAddr']>[0]

export class ReachabilityWatch {
  readonly #log: Logger
  readonly #options: ReachabilityOptions
  readonly #verified = new Set<string>()
  readonly #refuted = new Set<string>()
  #components: WatchedComponents | undefined
  #started = false
  #state: Reachability = 'unknown'
  /** Called with each new state. */
  onChange: (state: Reachability) => void = () => {}

  constructor(log: Logger, options: ReachabilityOptions) {
    this.#log = log
    this.#options = options
  }

  get state(): Reachability {
    return this.#state
  }

  /** A libp2p service that is AutoNAT, if asked for; in any case it brings the parts this needs. */
  async service(): Promise<(components: WatchedComponents) => unknown> {
    const autonat = this.#options.autonat ? (await import('@libp2p/autonat-v2')).autoNATv2 : undefined
    const factory = autonat?.({
      protocolPrefix: 'kith',
      timeout: AUTONAT_TIMEOUT_MS,
      maxInboundStreams: MAX_INBOUND_DIALBACKS,
      maxOutboundStreams: MAX_OUTBOUND_DIALBACKS
    })
    return components => {
      this.#components = components
      return factory?.(this.#viewOf(components)) ?? {}
    }
  }

  /** libp2p listens now. */
  start(): void {
    this.#started = true
    this.update()
  }

  /** Looks at the addresses again, which have changed. */
  update(): void {
    if (!this.#components || !this.#started) return
    const { addressManager, transportManager } = this.#components
    const own = transportManager.getAddrs() as readonly Multiaddr[]
    for (const address of own) {
      const text = address.toString()
      if (scopeOfAddress(text) !== 'public' || this.#options.reachability === 'private') continue
      if (!this.#verified.has(text) && !this.#refuted.has(text)) addressManager.confirmObservedAddr(address, { type: 'transport', ttl: 0 })
    }
    const interfaces = own.flatMap(a => {
      const parsed = parseAddress(a.toString())
      return parsed && parsed.relay === undefined && !parsed.isName ? [parsed.host] : []
    })
    const autonat = this.#verified.size > 0 ? 'public' : this.#refuted.size > 0 ? 'private' : undefined
    const state = decideReachability({ interfaces, autonat, setting: this.#options.reachability })
    if (state === this.#state) return
    this.#state = state
    this.#log.debug('reachability changed', { state })
    this.onChange(state)
  }

  /** What AutoNAT sees of libp2p: its verdicts pass through us, and it does not walk the DHT to find peers to ask. */
  #viewOf({ registrar, connectionManager, logger, peerStore, addressManager }: WatchedComponents): AutoNATv2Components {
    const verdict = (address: Multiaddr, is: boolean): void => {
      const text = address.toString()
      const [add, remove] = is ? [this.#verified, this.#refuted] : [this.#refuted, this.#verified]
      add.add(text)
      remove.delete(text)
      if (add.size > MAX_OUTBOUND_DIALBACKS) add.delete(add.values().next().value!)
      queueMicrotask(() => this.update())
    }
    const seen: Pick<AddressManager, 'getAddressesWithMetadata' | 'confirmObservedAddr' | 'removeObservedAddr'> = {
      getAddressesWithMetadata: () => addressManager.getAddressesWithMetadata(),
      confirmObservedAddr: (address, options) => {
        addressManager.confirmObservedAddr(address, options)
        verdict(address, true)
      },
      removeObservedAddr: address => {
        addressManager.removeObservedAddr(address)
        verdict(address, false)
      }
    }
    const randomWalk: AutoNATv2Components['randomWalk'] = { async *walk() {} }
    return { registrar, connectionManager, logger, peerStore, addressManager: seen as AddressManager, randomWalk }
  }
}
