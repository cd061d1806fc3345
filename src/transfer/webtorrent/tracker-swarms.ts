/**
 * What a WebSocket tracker knows: who announced which torrent, and which offers wait for an answer. Passing on is all it does, each
 * message to one peer and never larger than it came, so nobody can use it to make noise elsewhere. Pure; sockets are tracker-server.node.ts.
 */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import {
  MAX_ADDRESS_SWARMS,
  MAX_OPEN_OFFERS,
  MAX_SOCKET_SWARMS,
  MAX_TRACKER_SWARM_PEERS,
  MAX_TRACKER_SWARMS,
  TRACKER_INTERVAL_SECONDS
} from './limits.ts'
import { type ClientMessage, writeScrape, writeTrackerMessage } from './tracker-messages.ts'

/** One connected client. */
export interface TrackerClient {
  /** Counts for who may take over a peer id. */
  readonly address: string
  send(text: string): void
}

interface Peer {
  readonly client: TrackerClient
  readonly peerId: Uint8Array
  complete: boolean
  seenMs: number
}

type Swarm = Map<string, Peer>
type Announce = Extract<ClientMessage, { kind: 'announce' }>
type Answer = Extract<ClientMessage, { kind: 'answer' }>

/** A peer that missed three announcements has gone. */
const STALE_MS = 3 * TRACKER_INTERVAL_SECONDS * 1000

export interface TrackerSwarmsDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  /** 0 ≤ n < 1. */
  readonly random: () => number
}

export class TrackerSwarms {
  readonly #deps: TrackerSwarmsDeps
  readonly #swarms = new Map<string, Swarm>()
  /** Keys of the swarms that a client is in, with the peer id it has there. */
  readonly #joined = new Map<TrackerClient, Map<string, string>>()
  /** How many that are for the clients of an address together. */
  readonly #joinedFrom = new Map<string, number>()
  /** Offers that were passed to a client and may be answered: swarm, offer id and asking peer. */
  readonly #open = new WeakMap<TrackerClient, Set<string>>()

  constructor(deps: TrackerSwarmsDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#swarms.size
  }

  /** Takes a message of a client, answers it, and passes on what it carries. */
  handle(client: TrackerClient, m: ClientMessage): void {
    if (m.kind === 'scrape') client.send(writeScrape(m.infoHashes.map(hash => [hash, ...this.count(hash)] as const)))
    else if (m.kind === 'answer') this.#passAnswer(client, m)
    else if (m.event === 'stopped') this.#leaveSwarm(client, bytesToHex(m.infoHash))
    else this.#announce(client, m)
  }

  /** Peers that have all of a torrent, and others. */
  count(infoHash: Uint8Array): [complete: number, incomplete: number] {
    const swarm = this.#swarms.get(bytesToHex(infoHash))
    let complete = 0
    for (const peer of swarm?.values() ?? []) if (peer.complete) complete++
    return [complete, (swarm?.size ?? 0) - complete]
  }

  /** The client's socket has closed. */
  leave(client: TrackerClient): void {
    for (const key of [...(this.#joined.get(client)?.keys() ?? [])]) this.#leaveSwarm(client, key)
    this.#joined.delete(client)
  }

  #announce(client: TrackerClient, m: Announce): void {
    const { infoHash } = m
    const refusal = this.#join(client, m)
    if (refusal !== undefined) {
      client.send(writeTrackerMessage({ kind: 'failure', infoHash, reason: refusal }))
      return
    }
    const [complete, incomplete] = this.count(infoHash)
    client.send(writeTrackerMessage({ kind: 'announced', infoHash, intervalSeconds: TRACKER_INTERVAL_SECONDS, complete, incomplete }))
    const own = bytesToHex(m.peerId)
    const takers = this.#pick(this.#swarms.get(bytesToHex(infoHash))!, own, m.offers.length)
    for (const [i, taker] of takers.entries()) {
      const { offerId, sdp } = m.offers[i]!
      const open = this.#open.get(taker.client) ?? new Set()
      this.#open.set(taker.client, open.add(`${bytesToHex(infoHash)} ${bytesToHex(offerId)} ${own}`))
      if (open.size > MAX_OPEN_OFFERS) open.delete(open.values().next().value!)
      taker.client.send(writeTrackerMessage({ kind: 'offer', infoHash, peerId: m.peerId, offerId, sdp }))
    }
  }

  /** An answer reaches only who made the offer, once. */
  #passAnswer(client: TrackerClient, { infoHash, peerId, toPeerId, offerId, sdp }: Answer): void {
    const swarm = this.#swarms.get(bytesToHex(infoHash))
    const from = swarm?.get(bytesToHex(peerId))
    const to = swarm?.get(bytesToHex(toPeerId))
    if (!from || !to || from.client !== client) return
    if (!this.#open.get(client)?.delete(`${bytesToHex(infoHash)} ${bytesToHex(offerId)} ${bytesToHex(toPeerId)}`)) return
    to.client.send(writeTrackerMessage({ kind: 'answer', infoHash, peerId, offerId, sdp }))
  }

  /** @returns why not, in words for the client */
  #join(client: TrackerClient, { infoHash, peerId, left, event }: Announce): string | undefined {
    const key = bytesToHex(infoHash)
    const id = bytesToHex(peerId)
    const now = this.#deps.clock.monotonic()
    const joined = this.#joined.get(client) ?? new Map<string, string>()
    const swarm: Swarm = this.#swarms.get(key) ?? new Map<string, Peer>()
    const before = swarm.get(id)
    if (before && before.client !== client && before.client.address !== client.address) return 'this peer id is in use'
    if (joined.get(key) !== undefined && joined.get(key) !== id) return 'this connection has another peer id'
    if (!joined.has(key) && joined.size >= MAX_SOCKET_SWARMS) return 'too many torrents on one connection'
    if (!joined.has(key) && (this.#joinedFrom.get(client.address) ?? 0) >= MAX_ADDRESS_SWARMS) return 'too many torrents from one address'
    if (!this.#swarms.has(key) && this.#swarms.size >= MAX_TRACKER_SWARMS) return 'the tracker is full'
    if (!before && swarm.size >= MAX_TRACKER_SWARM_PEERS) this.#dropStale(key, swarm, now)
    if (!before && swarm.size >= MAX_TRACKER_SWARM_PEERS) return 'the swarm is full'
    if (before && before.client !== client) this.#leaveSwarm(before.client, key) // it came back before its old socket was missed
    const kept = before?.client === client ? before : undefined
    const complete = event === 'completed' || (left === undefined ? (kept?.complete ?? false) : left === 0)
    swarm.set(id, { client, peerId, complete, seenMs: now })
    this.#swarms.set(key, swarm)
    if (!joined.has(key)) this.#joinedFrom.set(client.address, (this.#joinedFrom.get(client.address) ?? 0) + 1)
    joined.set(key, id)
    this.#joined.set(client, joined)
    return undefined
  }

  #dropStale(key: string, swarm: Swarm, now: number): void {
    for (const peer of [...swarm.values()]) if (now - peer.seenMs > STALE_MS) this.#leaveSwarm(peer.client, key)
  }

  #leaveSwarm(client: TrackerClient, key: string): void {
    const joined = this.#joined.get(client)
    const id = joined?.get(key)
    if (joined?.delete(key)) {
      const left = this.#joinedFrom.get(client.address)! - 1
      if (left > 0) this.#joinedFrom.set(client.address, left)
      else this.#joinedFrom.delete(client.address)
    }
    if (joined?.size === 0) this.#joined.delete(client)
    const swarm = this.#swarms.get(key)
    if (id === undefined || swarm?.get(id)?.client !== client) return
    swarm.delete(id)
    if (swarm.size === 0) this.#swarms.delete(key)
  }

  /** Up to `count` different others, from a random place on. */
  #pick(swarm: Swarm, own: string, count: number): Peer[] {
    if (count === 0) return []
    const others = [...swarm].filter(([id]) => id !== own).map(([, peer]) => peer)
    const from = Math.floor(this.#deps.random() * others.length)
    return [...others.slice(from), ...others.slice(0, from)].slice(0, count)
  }
}
