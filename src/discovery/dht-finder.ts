/**
 * Finds who has a file, and says that this node has one, through provider records of the DHT. It is what `transfer` calls a
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
  REPUBLISH_MS
} from './limits.ts'
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
  readonly dht: Dht
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
}
export const dhtFinderDefaults: Required<DhtFinderOptions> = {
  lookupTimeoutMs: LOOKUP_TIMEOUT_MS,
  noPeersTimeoutMs: NO_PEERS_TIMEOUT_MS,
  maxProviders: MAX_PROVIDERS,
  maxQueries: MAX_LOOKUP_QUERIES,
  republishMs: REPUBLISH_MS
}

/** CIDv1 (raw, sha2-256) of a 32-byte file id. */
export const cidOfFile = (fileId: Uint8Array): CID => CID.createV1(raw.code, Digest.create(0x12, fileId))

export class DhtFinder implements AsyncDisposable {
  readonly #deps: DhtFinderDeps
  readonly #options: Required<DhtFinderOptions>
  readonly #publisher: Publisher
  readonly #closing = new AbortController()

  constructor(deps: DhtFinderDeps, options: DhtFinderOptions = {}) {
    this.#deps = deps
    this.#options = { ...dhtFinderDefaults, ...options }
    this.#publisher = new Publisher(deps, this.#options.republishMs)
  }

  /** Peers in the routing table: 0 means that nothing can be found or announced yet. */
  get tableSize(): number {
    return this.#deps.dht.routingTable.size
  }

  /** Yields each provider once, as soon as a node names it, until the lookup ends by itself or by one of its limits. Never throws. */
  async *find(fileId: Uint8Array, signal: AbortSignal): AsyncGenerator<FoundProvider, void, undefined> {
    const { dht, log, gate, peerId: self } = this.#deps
    const ending = new AbortController()
    const limit = AbortSignal.any([signal, this.#closing.signal, ending.signal, AbortSignal.timeout(this.#options.lookupTimeoutMs)])
    const lonely = this.#endWithoutPeers(ending)
    const seen = new Set<string>([self])
    let queries = 0
    try {
      for await (const event of dht.findProviders(cidOfFile(fileId), { signal: limit })) {
        if (event.name === 'SEND_QUERY' && ++queries > this.#options.maxQueries) break
        if (event.name !== 'PROVIDER') continue
        for (const { id, multiaddrs } of event.providers) {
          const peerId = id.toString()
          if (seen.has(peerId)) continue
          seen.add(peerId)
          const addresses = multiaddrs.map(a => a.toString()).filter(a => gate.permits(a))
          yield { peerId, addresses: addresses.slice(0, MAX_ADDRESSES_PER_PROVIDER) }
          if (seen.size > this.#options.maxProviders || limit.aborted) return
        }
      }
    } catch (cause) {
      if (!limit.aborted) log.debug('lookup failed', { cause })
    } finally {
      lonely()
      ending.abort()
    }
  }

  /**
   * Publishes that this node has the file and goes on doing so every hour. Resolves after the first publication; while there are no DHT
   * peers that is later, and it never fails. Also resolves when the announcement is withdrawn or the finder is disposed.
   */
  announce(fileId: Uint8Array): Promise<void> {
    return this.#publisher.add(bytesToHex(fileId), cidOfFile(fileId))
  }

  /** Stops publishing and takes the record out of this node's own store; with others it expires within three hours. */
  withdraw(fileId: Uint8Array): Promise<void> {
    return this.#publisher.remove(bytesToHex(fileId))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#publisher[Symbol.asyncDispose]()
  }

  /** Aborts when the routing table stays empty for too long. @returns what stops waiting */
  #endWithoutPeers(ending: AbortController): () => void {
    const { routingTable } = this.#deps.dht
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
