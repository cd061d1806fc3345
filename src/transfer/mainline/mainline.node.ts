/**
 * A node of BitTorrent's DHT (BEP 5, with 32, 42, 43 and 44): finds peers of torrents, announces ours, keeps what others announce, and
 * keeps and fetches small items. One UDP socket; nothing is on disk. Whatever others send costs at most what limits.ts says.
 */
import { ed25519PublicKey } from '#crypto'
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { classOfAddress } from '../address-filter.ts'
import { formatPeerAddress, type PeerAddress } from '../bittorrent/urls.ts'
import { DhtNode, type DhtNodeOptions } from './dht-node.node.ts'
import { checkValue, type Item, isGenuine, mutableTarget, orderError, refusal, signItem, targetOf } from './items.ts'
import type { Question } from './krpc.ts'
import {
  ANNOUNCE_MS,
  ANNOUNCE_RETRY_MS,
  BUCKET_NODES,
  MAX_LOOKUP_PEERS,
  MAX_SAVED_NODES,
  MAX_SEARCH_MS,
  MAX_STORED_PEERS,
  SEARCH_MS,
  WIDE_SEARCH_MS
} from './limits.ts'
import type { Answered } from './lookup.ts'

/** Routers that programs for the public DHT come with: used only when the user wants the public DHT. */
export const PUBLIC_ROUTERS: readonly string[] = [
  'router.bittorrent.com:6881',
  'dht.transmissionbt.com:6881',
  'dht.libtorrent.org:25401',
  'router.utorrent.com:6881'
]

export interface MainlineDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Resolves the hosts that the user gave as first nodes; private addresses are allowed by default. @throws FORBIDDEN_ADDRESS */
  readonly checkAddress?: (host: string, port: number) => Promise<string>
  /** Given up to 100 "host:port" on disposal: first nodes for the next start. */
  readonly saveNodes?: (nodes: readonly string[]) => void
}

export interface MainlineOptions {
  /** Address to listen at; an IPv6 literal makes a node of the IPv6 DHT (BEP 32). */
  readonly host?: string
  /** 0 takes a free one. */
  readonly port?: number
  /** "host:port" of first nodes. None by default: the node waits to be found. */
  readonly bootstrap?: readonly string[]
  /** Ask but do not answer (BEP 43). */
  readonly readOnly?: boolean
}

/** Opens a node and begins to look for others. @throws PORT_UNAVAILABLE */
export async function openMainline(deps: MainlineDeps, options: MainlineOptions = {}): Promise<Mainline> {
  const { host = '0.0.0.0', port = 0, bootstrap = [], readOnly = false } = options
  const node = new Mainline(deps, { host, bootstrap, readOnly })
  await node.listen(port)
  return node
}

export class Mainline implements AsyncDisposable {
  readonly #deps: MainlineDeps
  readonly #node: DhtNode
  /** Ports under which we announce, by info-hash in hex. */
  readonly #announced = new Map<string, readonly number[]>()
  #closed = false

  /** Use `openMainline`. */
  constructor(deps: MainlineDeps, options: DhtNodeOptions) {
    this.#deps = deps
    const { clock, log, checkAddress } = deps
    this.#node = new DhtNode({ clock, log, checkAddress, ownPorts: hash => this.#announced.get(bytesToHex(hash)) ?? [] }, options)
  }

  /** Called once, by `openMainline`. @throws PORT_UNAVAILABLE */
  async listen(port: number): Promise<void> {
    await this.#node.listen(port)
  }

  get port(): number {
    return this.#node.port
  }
  /** Nodes in the routing table. */
  get nodes(): number {
    return this.#node.table.size
  }
  /** Our id: changes when our public address becomes known (BEP 42). */
  get id(): Uint8Array {
    return this.#node.table.ownId
  }
  /** Resolves when the first nodes have been asked, whether or not they answered. */
  get ready(): Promise<void> {
    return this.#node.ready
  }
  /** Our public address, when enough nodes agree on it. */
  get publicAddress(): string | undefined {
    return this.#node.publicAddress
  }
  /** "host:port" of nodes in the table. */
  contacts(): string[] {
    return [...this.#node.table].map(formatPeerAddress)
  }

  /** An address where there may be a node (BEP 5 `port`): it is asked, and kept if it answers. */
  addNode(address: PeerAddress): void {
    this.#node.addNode(address)
  }

  /** Peers of a torrent in a network that the user pointed us to; false: strangers' words. */
  isGiven({ host }: PeerAddress): boolean {
    return classOfAddress(host) !== 'public'
  }

  /** Looks for peers of a torrent once. Ends when the closest nodes have been asked; throws nothing. */
  async *lookup(infoHash: Uint8Array, signal: AbortSignal): AsyncIterable<PeerAddress> {
    const found: PeerAddress[] = []
    const seen = new Set<string>()
    let wake = Promise.withResolvers<void>()
    const add = (peer: PeerAddress): void => {
      const key = formatPeerAddress(peer)
      if (seen.has(key) || seen.size >= MAX_LOOKUP_PEERS || !this.#node.scope.allows(peer)) return
      seen.add(key)
      found.push(peer)
      wake.resolve()
    }
    for (const peer of this.#node.peers.peers(infoHash, MAX_STORED_PEERS)) add(peer)
    let done = false
    const over = new AbortController()
    const walking = this.#node
      .walk({ name: 'get_peers', target: infoHash }, AbortSignal.any([signal, over.signal]), answer => {
        for (const peer of answer.peers) add(peer)
      })
      .finally(() => {
        done = true
        wake.resolve()
      })
    try {
      for (;;) {
        for (const peer of found.splice(0)) yield peer
        if (done && found.length === 0) return
        await wake.promise
        wake = Promise.withResolvers<void>()
        if (done) wake.resolve()
      }
    } finally {
      over.abort()
      await walking
    }
  }

  /** Looks again and again, ever more rarely, and whenever nodes come while there are few. */
  search(infoHash: Uint8Array, onPeer: (peer: PeerAddress) => void): AsyncDisposable {
    return this.#node.run(async signal => {
      for (let pauseMs = SEARCH_MS; !signal.aborted; pauseMs = Math.min(MAX_SEARCH_MS, 2 * pauseMs)) {
        for await (const peer of this.lookup(infoHash, signal)) onPeer(peer)
        const wide = this.nodes >= BUCKET_NODES
        await this.#node.pause(wide ? Math.max(WIDE_SEARCH_MS, pauseMs) : pauseMs, !wide, signal)
      }
    })
  }

  /** Keeps a torrent announced, with the TCP port at which peers reach us, until disposed. */
  announce(infoHash: Uint8Array, port: number): AsyncDisposable {
    const hex = bytesToHex(infoHash)
    const ports = this.#announced.get(hex) ?? []
    this.#announced.set(hex, [...ports, port])
    const task = this.#node.run(async signal => {
      for (let failures = 0; !signal.aborted; ) {
        const kept = await this.#announceOnce(infoHash, port, signal)
        failures = kept > 0 ? 0 : failures + 1
        const pauseMs = kept > 0 ? ANNOUNCE_MS : Math.min(ANNOUNCE_MS, ANNOUNCE_RETRY_MS * 2 ** failures)
        await this.#node.pause(pauseMs, kept < BUCKET_NODES, signal)
      }
    })
    return {
      [Symbol.asyncDispose]: async () => {
        const left = (this.#announced.get(hex) ?? []).toSpliced((this.#announced.get(hex) ?? []).indexOf(port), 1)
        if (left.length > 0) this.#announced.set(hex, left)
        else this.#announced.delete(hex)
        await task[Symbol.asyncDispose]()
      }
    }
  }

  /** Fetches the immutable value whose SHA-1 is `target`; undefined when nobody has it. */
  async getImmutable(target: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    return (await this.#get(target, undefined, new Uint8Array(), signal))?.value
  }

  /** Fetches the newest value that is found under a public key and salt; undefined when there is none. */
  async getMutable(key: Uint8Array, salt: Uint8Array, signal: AbortSignal): Promise<Item | undefined> {
    return await this.#get(mutableTarget(key, salt), key, salt, signal)
  }

  /** Stores one bencoded value with the nodes closest to its hash. @returns how many keep it @throws DHT_ITEM_REFUSED */
  async putImmutable(value: Uint8Array, signal: AbortSignal): Promise<{ readonly target: Uint8Array; readonly kept: number }> {
    checkValue(value)
    return await this.#put({ value, signed: undefined, salt: new Uint8Array() }, undefined, signal)
  }

  /**
   * Stores a signed value. `seq` must be higher than before; with `cas` only nodes whose item has that number take it.
   * @returns how many keep it @throws DHT_ITEM_REFUSED when it is too large, or nobody keeps it because of the number
   */
  async putMutable(
    item: {
      readonly seed: Uint8Array
      readonly value: Uint8Array
      readonly seq: number
      readonly salt?: Uint8Array
      readonly cas?: number
    },
    signal: AbortSignal
  ): Promise<{ readonly target: Uint8Array; readonly kept: number }> {
    checkValue(item.value)
    const key = await ed25519PublicKey(item.seed)
    return await this.#put(await signItem(item.seed, key, item.value, item.seq, item.salt), item.cas, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) this.#deps.saveNodes?.(this.contacts().slice(0, MAX_SAVED_NODES))
    this.#closed = true
    await this.#node[Symbol.asyncDispose]()
  }

  async #announceOnce(infoHash: Uint8Array, port: number, signal: AbortSignal): Promise<number> {
    const closest = await this.#node.walk({ name: 'get_peers', target: infoHash }, signal)
    return await this.#tell(closest, token => ({ name: 'announce_peer', target: infoHash, port, token }), signal)
  }

  /** Asks the nodes that a walk has found to keep something. @returns how many do */
  async #tell(closest: readonly Answered[], make: (token: Uint8Array) => Question, signal: AbortSignal): Promise<number> {
    const told = await Promise.allSettled(
      closest.flatMap(({ contact, answer: { token } }) => (token ? [this.#node.askContact(contact, make(token), signal)] : []))
    )
    const refused = told.find(t => t.status === 'rejected' && codeOf(t.reason) === 'DHT_REFUSED')
    const kept = told.filter(t => t.status === 'fulfilled').length
    if (kept === 0 && refused?.status === 'rejected') this.#deps.log.debug('nodes refused to keep something', { error: refused.reason })
    return kept
  }

  async #get(target: Uint8Array, key: Uint8Array | undefined, salt: Uint8Array, signal: AbortSignal): Promise<Item | undefined> {
    const own = this.#node.items.get(target)
    const found: Item[] = own ? [own] : []
    await this.#node.walk({ name: 'get', target, seq: undefined }, signal, ({ value, signed }) => {
      if (value && (key === undefined) === (signed === undefined)) found.push({ value, signed, salt: signed ? salt : new Uint8Array() })
    })
    const newestFirst = found.sort((a, b) => (b.signed?.seq ?? 0) - (a.signed?.seq ?? 0))
    for (const item of newestFirst) if (equalBytes(targetOf(item), target) && (await isGenuine(item))) return item
    return undefined
  }

  async #put(item: Item, cas: number | undefined, signal: AbortSignal): Promise<{ target: Uint8Array; kept: number }> {
    const target = targetOf(item)
    const { value, signed, salt } = item
    const own = orderError(this.#node.items.get(target), item, cas)
    if (own !== undefined) throw refusal(own, 'a newer value is known')
    const closest = await this.#node.walk({ name: 'get', target, seq: undefined }, signal)
    const codes: number[] = []
    const told = await Promise.all(
      closest.map(async ({ contact, answer: { token } }) => {
        if (!token) return false
        return await this.#node.askContact(contact, { name: 'put', token, value, signed, salt, cas }, signal).then(
          () => true,
          error => {
            if (error instanceof KithError && typeof error.data['code'] === 'number') codes.push(error.data['code'])
            return false
          }
        )
      })
    )
    const kept = told.filter(Boolean).length
    if (kept === 0 && codes[0] !== undefined) throw refusal(codes[0], 'no node keeps it')
    return { target, kept }
  }
}
