/**
 * Joins the network through the addresses that the configuration or `--bootstrap` gives: dials them at once, again with growing waits
 * while this node is alone, and rarely when it only misses some of them.
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { parseAddress } from '../net/address-scope.ts'
import type { Host } from '../net/host.ts'
import type { ScopeGate } from '../net/scope-gate.ts'
import { dnsaddrPeer, type LookupTxt, resolveDnsaddr } from './dnsaddr.ts'
import { BOOTSTRAP_DIAL_TIMEOUT_MS, BOOTSTRAP_IDLE_RETRY_MS, BOOTSTRAP_RETRY_MAX_MS, BOOTSTRAP_RETRY_MS, MAX_BOOTSTRAP } from './limits.ts'

export interface BootstrapDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly gate: ScopeGate
  readonly host: Pick<Host, 'dial' | 'peers' | 'peerId' | 'events'>
  /** IP addresses of a DNS name; without it libp2p resolves names itself, and the peer's IP address stays unknown. */
  readonly lookup?: (name: string) => Promise<readonly string[]>
  /** TXT records of a DNS name; without it /dnsaddr addresses are refused. */
  readonly lookupTxt?: LookupTxt
}

export class Bootstrap implements AsyncDisposable {
  /** Resolves after the first round of dials, successful or not. */
  readonly firstRound: Promise<void>
  readonly #deps: BootstrapDeps
  readonly #addresses: readonly string[]
  readonly #closing = new AbortController()
  readonly #task: Promise<void>

  constructor(deps: BootstrapDeps, addresses: readonly string[]) {
    this.#deps = deps
    this.#addresses = addresses
    const { promise, resolve } = Promise.withResolvers<void>()
    this.firstRound = promise
    this.#task = this.#run(resolve).finally(resolve)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#task
  }

  async #run(onRound: () => void): Promise<void> {
    const { clock } = this.#deps
    const signal = this.#closing.signal
    let retryMs = BOOTSTRAP_RETRY_MS
    while (!signal.aborted && this.#addresses.length > 0) {
      await Promise.allSettled(this.#missing().map(a => this.#dial(a)))
      onRound()
      const isAlone = this.#deps.host.peers().length === 0
      const waitMs = isAlone ? retryMs : BOOTSTRAP_IDLE_RETRY_MS
      retryMs = isAlone ? Math.min(retryMs * 2, BOOTSTRAP_RETRY_MAX_MS) : BOOTSTRAP_RETRY_MS
      const waking = new AbortController()
      // Losing the last peer does not wait for the rare round.
      this.#deps.host.events.on(
        'peer:disconnected',
        () => void (this.#deps.host.peers().length === 0 && !isAlone && waking.abort()),
        waking.signal
      )
      await clock.sleep(waitMs, AbortSignal.any([signal, waking.signal])).catch(() => {})
      waking.abort()
    }
  }

  #missing(): string[] {
    const connected = new Set(this.#deps.host.peers().map(p => p.peerId))
    return this.#addresses.filter(a => {
      const peer = peerOf(a)
      return peer !== undefined && peer !== this.#deps.host.peerId && !connected.has(peer)
    })
  }

  async #dial(address: string): Promise<void> {
    const { host, log } = this.#deps
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(BOOTSTRAP_DIAL_TIMEOUT_MS)])
    for (const candidate of await this.#resolve(address)) {
      try {
        await host.dial(candidate, signal)
        return
      } catch (cause) {
        log.debug('bootstrap peer not reached', { address: candidate, cause })
      }
    }
  }

  /** A name becomes its addresses, so that limits and sources know where the peer is; behind TLS the name is needed. */
  async #resolve(address: string): Promise<string[]> {
    const { gate, lookup, lookupTxt } = this.#deps
    // What strangers' records say opens nothing: only what the gate permits anyway is dialled.
    if (lookupTxt && dnsaddrPeer(address) !== undefined)
      return (await resolveDnsaddr(address, lookupTxt)).filter(a => a.includes('/tcp/') && gate.permits(a))
    const parsed = parseAddress(address)
    if (!parsed?.isName || !lookup || /\/(?:tls|wss)(?:\/|$)/.test(address)) return [address]
    const ips = await lookup(parsed.host).catch(() => [])
    const found = ips.map(ip => address.replace(/^\/dns[46]?\/[^/]+/, ip.includes(':') ? `/ip6/${ip}` : `/ip4/${ip}`))
    for (const a of found) gate.allow(a, 'bootstrap')
    return found.length > 0 ? found : [address]
  }
}

/**
 * Starts joining through `addresses` and returns at once. Their scopes count as permitted from now on.
 * @throws BAD_BOOTSTRAP
 */
export function openBootstrap(deps: BootstrapDeps, addresses: readonly string[]): Bootstrap {
  if (addresses.length > MAX_BOOTSTRAP) throw new KithError('BAD_BOOTSTRAP', 'too many bootstrap addresses', { count: addresses.length })
  for (const address of addresses) {
    if (deps.lookupTxt && dnsaddrPeer(address) !== undefined) continue
    if (parseAddress(address)?.peerId === undefined) {
      throw new KithError(
        'BAD_BOOTSTRAP',
        'not a bootstrap address',
        { address },
        { hint: 'it looks like /ip4/192.0.2.1/tcp/4801/p2p/12D3KooW…; the other node prints its own' }
      )
    }
    deps.gate.allow(address, 'bootstrap')
  }
  return new Bootstrap(deps, addresses)
}

const peerOf = (address: string): string | undefined => parseAddress(address)?.peerId ?? dnsaddrPeer(address)
