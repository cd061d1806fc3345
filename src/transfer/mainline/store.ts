/**
 * What we keep for others: who announced which torrent, and items of BEP 44. All of it is bounded and expires; nothing is on disk.
 * Pure: the caller has checked tokens and signatures.
 */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import { formatPeerAddress, type PeerAddress } from '../bittorrent/urls.ts'
import { type Item, targetOf } from './items.ts'
import {
  MAX_STORED_ITEMS,
  MAX_STORED_PEERS,
  MAX_STORED_PER_ADDRESS,
  MAX_STORED_TORRENTS,
  STORED_ITEM_MS,
  STORED_PEER_MS
} from './limits.ts'

interface StoredPeer {
  readonly peer: PeerAddress
  readonly untilMs: number
}

export class PeerStore {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** The torrent that was announced longest ago comes first. */
  readonly #torrents = new Map<string, Map<string, StoredPeer>>()
  readonly #countsByHost = new Map<string, number>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  get torrents(): number {
    return this.#torrents.size
  }

  /** @returns false when this address has announced too much already */
  add(infoHash: Uint8Array, peer: PeerAddress): boolean {
    const hex = bytesToHex(infoHash)
    const key = formatPeerAddress(peer)
    this.#expire(hex)
    const peers = this.#torrents.get(hex) ?? new Map<string, StoredPeer>()
    if (!peers.has(key) && (this.#countsByHost.get(rateKeyOf(peer.host)) ?? 0) >= MAX_STORED_PER_ADDRESS) return false
    this.#drop(peers, key)
    if (peers.size >= MAX_STORED_PEERS) this.#drop(peers, peers.keys().next().value!)
    peers.set(key, { peer, untilMs: this.#clock.monotonic() + STORED_PEER_MS })
    this.#countsByHost.set(rateKeyOf(peer.host), (this.#countsByHost.get(rateKeyOf(peer.host)) ?? 0) + 1)
    this.#torrents.delete(hex)
    this.#torrents.set(hex, peers)
    if (this.#torrents.size > MAX_STORED_TORRENTS) this.#dropTorrent(this.#torrents.keys().next().value!)
    return true
  }

  /** At most `count` of those who announced a torrent, the newest first. */
  peers(infoHash: Uint8Array, count: number): PeerAddress[] {
    const hex = bytesToHex(infoHash)
    this.#expire(hex)
    const peers = [...(this.#torrents.get(hex)?.values() ?? [])]
    return peers.slice(-count).map(p => p.peer)
  }

  /** Forgets what is too old: called now and then. */
  sweep(): void {
    for (const hex of [...this.#torrents.keys()]) this.#expire(hex)
  }

  #expire(hex: string): void {
    const peers = this.#torrents.get(hex)
    const now = this.#clock.monotonic()
    for (const [key, { untilMs }] of peers ?? []) {
      if (untilMs > now) break // they are in the order in which they came
      this.#drop(peers!, key)
    }
    if (peers?.size === 0) this.#torrents.delete(hex)
  }

  #dropTorrent(hex: string): void {
    const peers = this.#torrents.get(hex)!
    for (const key of [...peers.keys()]) this.#drop(peers, key)
    this.#torrents.delete(hex)
  }

  #drop(peers: Map<string, StoredPeer>, key: string): void {
    const stored = peers.get(key)
    if (!stored) return
    peers.delete(key)
    const host = rateKeyOf(stored.peer.host)
    const left = this.#countsByHost.get(host)! - 1
    if (left > 0) this.#countsByHost.set(host, left)
    else this.#countsByHost.delete(host)
  }
}

export class ItemStore {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** The one that was put longest ago comes first. */
  readonly #items = new Map<string, StoredItem>()
  /** Keys of the items by the address that put them last: an IPv6 /64 counts as one. */
  readonly #byPutter = new Map<string, Set<string>>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  get size(): number {
    return this.#items.size
  }

  get(target: Uint8Array): Item | undefined {
    this.sweep()
    return this.#items.get(bytesToHex(target))?.item
  }

  /** The caller has asked `orderError`. One address that puts many pushes out its own, not those of others. */
  put(item: Item, host: string): void {
    const hex = bytesToHex(targetOf(item))
    const putter = rateKeyOf(host)
    this.#drop(hex)
    const own = this.#byPutter.get(putter) ?? new Set()
    if (own.size >= MAX_STORED_PER_ADDRESS) this.#drop(own.values().next().value!)
    this.#items.set(hex, { item, putter, untilMs: this.#clock.monotonic() + STORED_ITEM_MS })
    this.#byPutter.set(putter, own.add(hex))
    if (this.#items.size > MAX_STORED_ITEMS) this.#drop(this.#items.keys().next().value!)
  }

  sweep(): void {
    const now = this.#clock.monotonic()
    for (const [hex, { untilMs }] of this.#items) {
      if (untilMs > now) return
      this.#drop(hex)
    }
  }

  #drop(hex: string): void {
    const stored = this.#items.get(hex)
    if (!stored) return
    this.#items.delete(hex)
    const own = this.#byPutter.get(stored.putter)!
    own.delete(hex)
    if (own.size === 0) this.#byPutter.delete(stored.putter)
  }
}

interface StoredItem {
  readonly item: Item
  readonly putter: string
  readonly untilMs: number
}
