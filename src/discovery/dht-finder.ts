/**
 * Finds who has a file, and says that this node has one, through provider records of Kith's DHT, of the public one, or of both. It is what `transfer` calls a
 * ProviderFinder; the two folders know nothing of each other. What is found is a proposal: signatures and hashes decide later.
 */
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as Digest from 'multiformats/hashes/digest'
import { bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { ScopeGate } from '../net/scope-gate.ts'
import type { Dht } from './dht.ts'
import {
  LOOKUP_TIMEOUT_MS,
  MAX_ADDRESSES_PER_PROVIDER,
  MAX_LOOKUP_QUERIES,
  MAX_PROVIDERS,
  NO_PEERS_TIMEOUT_MS,
  PUBLIC_REPUBLISH_MS,
  REPUBLISH_MS
} from './limits.ts'
import { merge } from './merge.ts'
import { Publisher } from './publisher.ts'

export interface FoundProvider {
  /** libp2p PeerId text. */
  readonly peerId: string
  /** multiaddr texts that the gate permits. */
  readonly addresses: readonly string[]
}

export interface DhtFinderDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly gate: ScopeGate
  /** Kith's own. */
  readonly dht?: Dht | undefined
  /** The public one (public-dht.ts), beside it or alone. */
  readonly publicDht?: Dht | undefined
  /** PeerId text of this node, which is never found. */
  readonly peerId: string
}

export interface DhtFinderOptions {
  /** Longest lookup. */
  readonly lookupTimeoutMs?: number
  /** Longest wait for a first DHT peer. */
  readonly noPeersTimeoutMs?: number
  readonly maxProviders?: number
  readonly maxQueries?: number
  /** Time between publications of a record. */
  readonly republishMs?: number
  /** The same in the public DHT. */
  readonly publicRepublishMs?: number
}
export const dhtFinderDefaults: Required<DhtFinderOptions> = {
  lookupTimeoutMs: LOOKUP_TIMEOUT_MS,
  noPeersTimeoutMs: NO_PEERS_TIMEOUT_MS,
  maxProviders: MAX_PROVIDERS,
  maxQueries: MAX_LOOKUP_QUERIES,
  republishMs: REPUBLISH_MS,
  publicRepublishMs: PUBLIC_REPUBLISH_MS
}

/** CIDv1 (raw, sha2-256) of a 32-byte file id. */
export const cidOfFile = (fileId: Uint8Array): CID => CID.createV1(raw.code, Digest.create(0x12, fileId))

export class DhtFinder implements AsyncDisposable {
  readonly #deps: DhtFinderDeps
  readonly #options: Required<DhtFinderOptions>
  readonly #dhts: readonly Dht[]
  readonly #publishers: readonly Publisher[]
  readonly #closing = new AbortController()

  constructor(deps: DhtFinderDeps, options: DhtFinderOptions = {}) {
    const { dht, publicDht } = deps
    this.#deps = deps
    this.#options = { ...dhtFinderDefaults, ...options }
    const { republishMs, publicRepublishMs } = this.#options
    this.#dhts = [dht, publicDht].filter(d => d !== undefined)
    this.#publishers = [
      ...(dht ? [new Publisher({ ...deps, dht }, { republishMs, confirm: true })] : []),
      // A look-up there costs many strangers; that is not worth it for each file.
      ...(publicDht ? [new Publisher({ ...deps, dht: publicDht }, { republishMs: publicRepublishMs, confirm: false })] : [])
    ]
  }

  /** Peers in the routing tables: 0 means that nothing can be found or announced yet. */
  get tableSize(): number {
    return this.#dhts.reduce((n, dht) => n + dht.routingTable.size, 0)
  }

  /** Yields each provider once, as soon as a node names it, until the lookups end by themselves or by one of their limits. Never throws. */
  async *find(fileId: Uint8Array, signal: AbortSignal): AsyncGenerator<FoundProvider, void, undefined> {
    const ending = new AbortController()
    const limit = AbortSignal.any([signal, this.#closing.signal, ending.signal, AbortSignal.timeout(this.#options.lookupTimeoutMs)])
    const seen = new Set<string>([this.#deps.peerId])
    try {
      for await (const provider of merge(this.#dhts.map(dht => this.#lookup(dht, fileId, limit)))) {
        if (seen.has(provider.peerId)) continue
        seen.add(provider.peerId)
        yield provider
        if (seen.size > this.#options.maxProviders || limit.aborted) return
      }
    } finally {
      ending.abort()
    }
  }

  /**
   * Publishes that this node has the file and goes on doing so. Resolves after the first publication in any DHT; while there are no DHT
   * peers that is later, and it never fails. Also resolves when the announcement is withdrawn or the finder is disposed.
   */
  announce(fileId: Uint8Array): Promise<void> {
    if (this.#publishers.length === 0) return Promise.resolve()
    return Promise.race(this.#publishers.map(p => p.add(bytesToHex(fileId), cidOfFile(fileId))))
  }

  /** Stops publishing and takes the record out of this node's own store; with others it expires by itself. */
  async withdraw(fileId: Uint8Array): Promise<void> {
    await Promise.all(this.#publishers.map(p => p.remove(bytesToHex(fileId))))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await Promise.all(this.#publishers.map(p => p[Symbol.asyncDispose]()))
  }

  /** What one DHT knows. Never throws. */
  async *#lookup(dht: Dht, fileId: Uint8Array, limit: AbortSignal): AsyncGenerator<FoundProvider, void, undefined> {
    const { log, gate } = this.#deps
    const ending = new AbortController()
    const lonely = this.#endWithoutPeers(dht, ending)
    let queries = 0
    try {
      for await (const event of dht.findProviders(cidOfFile(fileId), { signal: AbortSignal.any([limit, ending.signal]) })) {
        if (event.name === 'SEND_QUERY' && ++queries > this.#options.maxQueries) break
        if (event.name !== 'PROVIDER') continue
        for (const { id, multiaddrs } of event.providers) {
          const addresses = multiaddrs.map(a => a.toString()).filter(a => gate.permits(a))
          yield { peerId: id.toString(), addresses: addresses.slice(0, MAX_ADDRESSES_PER_PROVIDER) }
        }
      }
    } catch (cause) {
      if (!limit.aborted && !ending.signal.aborted) log.debug('lookup failed', { cause })
    } finally {
      lonely()
    }
  }

  /** Aborts when the routing table stays empty for too long. @returns what stops waiting */
  #endWithoutPeers({ routingTable }: Dht, ending: AbortController): () => void {
    if (routingTable.size > 0) return () => {}
    const waiting = new AbortController()
    routingTable.addEventListener('peer:add', () => waiting.abort(), { once: true, signal: waiting.signal })
    this.#deps.clock.sleep(this.#options.noPeersTimeoutMs, waiting.signal).then(
      () => ending.abort(),
      () => {}
    )
    return () => waiting.abort()
  }
}
