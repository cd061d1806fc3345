/**
 * A node of eDonkey's Kad (version 2, plain datagrams): finds clients that have a file, tells others that we have one, and keeps what others
 * tell. One UDP socket; nothing is on disk. Nobody joins unless this is opened. Whatever others send costs at most what limits.ts says.
 */
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import type { AddressClass } from '../address-filter.ts'
import { formatPeerAddress } from '../bittorrent/urls.ts'
import { type Crypt, cryptBits } from '../ed2k/hello.ts'
import { type Ed2kPeer, peerKey } from '../ed2k/peers.ts'
import { gather } from '../ed2k/server-gather.ts'
import type { AddressTrust, Ed2kFinder } from '../ed2k/swarm.node.ts'
import { addressKey } from '../mainline/table.ts'
import { idOfClient } from './kad-id.ts'
import { KadNode } from './kad-node.node.ts'
import {
  BUCKET_NODES,
  MAX_PUBLISH_RETRY_MS,
  MAX_RESULTS,
  MAX_RESULTS_PER_NODE,
  MAX_SAVED_NODES,
  MAX_SEARCH_MS,
  MAX_STORED_PER_FILE,
  PUBLISH_RETRY_MS,
  REPUBLISH_MS,
  SEARCH_MS
} from './limits.ts'
import type { Result } from './messages.ts'
import { type KeptSource, peerOf, resultOf, tagsOfOwn } from './sources.ts'

export interface KadDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Resolves the hosts that the user gave as first nodes; private addresses are allowed by default. @throws FORBIDDEN_ADDRESS */
  readonly checkAddress?: (host: string, port: number) => Promise<string>
  /** Whether clients can connect to us; while it says false nothing is published. */
  readonly isReachable?: () => boolean | undefined
  /** Given up to 100 "host:port" on disposal: first nodes for the next start. */
  readonly saveNodes?: (nodes: readonly string[]) => void
  /** For tests, where addresses for documentation stand for public ones. */
  readonly classOf?: (address: string) => AddressClass
}

export interface KadOptions {
  /** IPv4 address to listen at. */
  readonly host?: string
  /** UDP; 0 takes a free one. */
  readonly port?: number
  /** "host:port" of first nodes. None by default: the node waits to be found. */
  readonly bootstrap?: readonly string[]
  /** Our user hash, the same that clients see. */
  readonly clientHash: Uint8Array
  /** Where clients reach us; 0: nowhere, so nothing is published. */
  readonly tcpPort: number
  /** Our id; by default it follows from the user hash. */
  readonly id?: Uint8Array
  /** What clients are told about obfuscation: that we can, by default. */
  readonly crypt?: Crypt
  /** For a Kad of a few nodes: each keeps everything, however far from its id. Always so towards private addresses. */
  readonly anyDistance?: boolean
}

/** Opens a node and begins to look for others. @throws PORT_UNAVAILABLE */
export async function openKad(deps: KadDeps, options: KadOptions): Promise<Kad> {
  const kad = new Kad(deps, options)
  await kad.listen(options.port ?? 0)
  return kad
}

interface Publication {
  readonly size: number
  count: number
  /** Nodes that keep it, and since when. */
  readonly keepers: Map<string, number>
}
const CAN_CRYPT: Crypt = { supported: true, requested: false, required: false }

export class Kad implements Ed2kFinder, AsyncDisposable {
  readonly #deps: KadDeps
  readonly #options: KadOptions & { readonly crypt: Crypt }
  readonly #node: KadNode
  /** What we publish, by hash in hex. */
  readonly #published = new Map<string, Publication>()
  /** Who looks for a file, by hash in hex. */
  readonly #searches = new Map<string, Set<(result: Result) => void>>()
  #closed = false

  /** Use `openKad`. */
  constructor(deps: KadDeps, options: KadOptions) {
    const { clock, log, checkAddress, isReachable, classOf } = deps
    const { host = '0.0.0.0', bootstrap = [], clientHash, tcpPort, anyDistance = false, crypt = CAN_CRYPT } = options
    this.#deps = deps
    this.#options = { ...options, crypt }
    const hooks = {
      own: (target: Uint8Array) => this.#ownSource(target),
      kept: (target: Uint8Array, source: KeptSource) => this.#kept(target, source)
    }
    const id = options.id ?? idOfClient(clientHash)
    this.#node = new KadNode(
      { clock, log, checkAddress, isReachable, classOf, ...hooks },
      { host, bootstrap, id, clientHash, tcpPort, crypt, anyDistance }
    )
  }

  /** Called once, by `openKad`. @throws PORT_UNAVAILABLE */
  async listen(port: number): Promise<void> {
    await this.#node.listen(port)
  }

  /** UDP. */
  get port(): number {
    return this.#node.port
  }
  /** Nodes in the routing table. */
  get nodes(): number {
    return this.#node.table.size
  }
  /** Sources that are kept for others. */
  get stored(): number {
    return this.#node.store.size
  }
  get id(): Uint8Array {
    return this.#node.table.ownId
  }
  /** Resolves when the first nodes have been asked, whether or not they answered. */
  get ready(): Promise<void> {
    return this.#node.ready
  }
  /** A node that was asked to try has reached our TCP port. */
  get isTcpOpen(): boolean {
    return this.#node.reachability.isOpen
  }
  /** A client at this address said over TCP (C5 A8) that it reached us: counts when Kad asked it to try. */
  reachedBy(host: string): void {
    this.#node.reachability.reached(host)
  }
  /** "host:port" of nodes in the table. */
  contacts(): string[] {
    return [...this.#node.table].map(formatPeerAddress)
  }

  /** 'given' for clients in the user's own network, which only nodes there may name. */
  trustOf({ host }: Pick<Ed2kPeer, 'host'>): AddressTrust {
    return this.#node.scope.isPublic(host) ? 'found' : 'given'
  }

  /** Looks again and again, ever more rarely, until `signal` aborts. Yields clients that can be connected to, each once; throws nothing. */
  find(hash: Uint8Array, size: number, signal: AbortSignal): AsyncIterable<Ed2kPeer> {
    const node = this.#node
    const seen = new Set<string>()
    return gather<Ed2kPeer>(async (add, over) => {
      const take = (result: Result): void => {
        const peer = peerOf(result, size)
        if (!peer || equalBytes(result.id, this.#options.clientHash) || !node.scope.allows(peer)) return
        if (seen.has(peerKey(peer)) || seen.size >= MAX_RESULTS) return
        seen.add(peerKey(peer))
        add(peer)
      }
      using _watching = this.#watch(hash, take)
      for (const source of node.store.sources(hash, size, MAX_STORED_PER_FILE)) take(resultOf(source))
      const all = AbortSignal.any([over, node.stopped])
      for (let pauseMs = SEARCH_MS; !all.aborted; pauseMs = Math.min(MAX_SEARCH_MS, 2 * pauseMs)) {
        await this.#searchOnce(hash, size, take, all)
        await node.pause(pauseMs, node.table.size < BUCKET_NODES, all)
      }
    }, signal)
  }

  /** Nodes that keep what we publish of a file. */
  keepersOf(hash: Uint8Array): number {
    return this.#published.get(bytesToHex(hash))?.keepers.size ?? 0
  }

  /** Tells others that we have a file, and again every five hours, until disposed; then it is forgotten by and by. */
  publish(hash: Uint8Array, size: number): AsyncDisposable {
    const { tcpPort } = this.#options
    if (tcpPort === 0) return { [Symbol.asyncDispose]: async () => {} }
    const hex = bytesToHex(hash)
    const publication = this.#published.get(hex) ?? { size, count: 0, keepers: new Map<string, number>() }
    publication.count++
    this.#published.set(hex, publication)
    const task = this.#node.run(signal => this.#keepPublished(hash, publication, signal))
    let isOver = false
    return {
      [Symbol.asyncDispose]: async () => {
        if (!isOver && --publication.count === 0) this.#published.delete(hex)
        isOver = true
        await task[Symbol.asyncDispose]()
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) this.#deps.saveNodes?.(this.contacts().slice(0, MAX_SAVED_NODES))
    this.#closed = true
    await this.#node[Symbol.asyncDispose]()
  }

  async #searchOnce(hash: Uint8Array, size: number, take: (result: Result) => void, signal: AbortSignal): Promise<void> {
    const node = this.#node
    const closest = await node.walk(hash, 'looking', signal)
    const question = { kind: 'search', target: hash, from: 0, size } as const
    await Promise.allSettled(
      closest.map(async contact => {
        if (!node.isKeeper(contact, hash)) return
        let left = MAX_RESULTS_PER_NODE
        const each = ({ results }: { readonly results: readonly Result[] }): void => {
          for (const result of results.slice(0, left)) take(result)
          left -= Math.min(left, results.length)
        }
        await node.ask(contact, question, signal, { each })
      })
    )
  }

  async #keepPublished(hash: Uint8Array, { size, keepers }: Publication, signal: AbortSignal): Promise<void> {
    const node = this.#node
    for (let failures = 0; !signal.aborted; ) {
      const now = this.#deps.clock.monotonic()
      for (const [key, sinceMs] of keepers) if (now - sinceMs >= REPUBLISH_MS) keepers.delete(key)
      if (this.#deps.isReachable?.() !== false) await this.#publishOnce(hash, size, keepers, signal)
      failures = keepers.size > 0 ? 0 : failures + 1
      const pauseMs = keepers.size > 0 ? REPUBLISH_MS : Math.min(MAX_PUBLISH_RETRY_MS, PUBLISH_RETRY_MS * 2 ** failures)
      await node.pause(pauseMs, node.table.size < 2 * BUCKET_NODES, signal)
    }
  }

  async #publishOnce(hash: Uint8Array, size: number, keepers: Map<string, number>, signal: AbortSignal): Promise<void> {
    const node = this.#node
    const { clientHash: client, tcpPort, crypt } = this.#options
    const closest = await node.walk(hash, 'publishing', signal)
    const question = { kind: 'publish', target: hash, client, tags: tagsOfOwn(size, tcpPort, crypt) } as const
    await Promise.allSettled(
      closest.map(async contact => {
        const key = `${bytesToHex(contact.id)} ${addressKey(contact)}`
        if (keepers.has(key) || !node.isKeeper(contact, hash)) return
        await node.ask(contact, question, signal, { purpose: 'publishing' })
        keepers.set(key, this.#deps.clock.monotonic())
      })
    )
  }

  #ownSource(target: Uint8Array): Omit<KeptSource, 'host' | 'udpPort'> | undefined {
    const { clientHash: client, tcpPort, crypt } = this.#options
    const size = this.#published.get(bytesToHex(target))?.size
    if (size === undefined || this.#deps.isReachable?.() === false) return undefined
    const kind = size < 2 ** 32 ? 1 : 4
    return { client, kind, tcpPort, size, tags: [{ name: 0xf3, type: 'u8', value: cryptBits(crypt) }] }
  }

  #kept(target: Uint8Array, source: KeptSource): void {
    for (const take of this.#searches.get(bytesToHex(target)) ?? []) take(resultOf(source))
  }

  #watch(hash: Uint8Array, take: (result: Result) => void): Disposable {
    const hex = bytesToHex(hash)
    const set = this.#searches.get(hex) ?? new Set()
    this.#searches.set(hex, set.add(take))
    return {
      [Symbol.dispose]: () => {
        set.delete(take)
        if (set.size === 0 && this.#searches.get(hex) === set) this.#searches.delete(hex)
      }
    }
  }
}
