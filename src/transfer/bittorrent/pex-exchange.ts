/**
 * Tells connected peers about each other (BEP 11), torrent by torrent: what has changed, at most once a minute for each connection, and
 * hands over what they tell. Private torrents (BEP 27) never come here. Addresses of our own network stay in it. Pure.
 */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { classOfAddress } from '../address-filter.ts'
import { AddressVotes } from '../mainline/address-votes.ts'
import type { ExtendedHandshake } from './extensions.ts'
import { MAX_PEX_PEERS, PEX_MS } from './limits.ts'
import { decodePex, encodePex } from './pex.ts'
import { formatPeerAddress, type PeerAddress, parsePeerAddress } from './urls.ts'

/** A connection as the exchange sees it. */
export interface PexSession {
  readonly wire: { readonly address: string; readonly incoming: boolean }
  readonly torrent: { readonly infoHash: Uint8Array }
  readonly extended: ExtendedHandshake | undefined
  sendExtension(name: 'ut_pex', payload: Uint8Array): boolean
}

/** Called with the peers that one connection names. */
export type OnPeers<S> = (peers: readonly PeerAddress[], session: S) => void

interface Member {
  /** Where others reach this peer; undefined when it has not said. */
  address: PeerAddress | undefined
  /** What it has been told of, by text. */
  readonly told: Map<string, PeerAddress>
  nextMs: number
  readonly received: TokenBucket
}

interface Room<S> {
  readonly members: Map<S, Member>
  readonly listeners: Set<OnPeers<S>>
  wake: PromiseWithResolvers<void>
  running: boolean
}

export class PeerExchange<S extends PexSession> implements AsyncDisposable {
  /** What our address is, by what peers say they see (BEP 10 `yourip`). */
  readonly votes: AddressVotes = new AddressVotes()
  readonly #clock: Clock
  readonly #rooms = new Map<string, Room<S>>()
  readonly #stop = new AbortController()
  readonly #tasks = new Set<Promise<void>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Peers that are named for this torrent go to `onPeers` until disposed. */
  listen(infoHash: Uint8Array, onPeers: OnPeers<S>): Disposable {
    const key = bytesToHex(infoHash)
    const room = this.#room(key)
    room.listeners.add(onPeers)
    return {
      [Symbol.dispose]: () => {
        room.listeners.delete(onPeers)
        this.#leaveEmpty(key, room)
      }
    }
  }

  /** The session's extended handshake has come (it may come again). */
  extended(session: S): void {
    const key = bytesToHex(session.torrent.infoHash)
    const room = this.#room(key)
    const member = room.members.get(session) ?? this.#newMember()
    member.address = reachableAt(session)
    const { yourIp } = session.extended ?? {}
    const voter = parsePeerAddress(session.wire.address)?.host
    if (yourIp !== undefined && voter !== undefined) this.votes.vote(voter, yourIp)
    room.members.set(session, member)
    room.wake.resolve()
    if (!room.running) this.#track(this.#run(room))
  }

  /** A message came. Too many are ignored (threats BT7). @throws PEER_WIRE */
  received(session: S, payload: Uint8Array): void {
    const room = this.#rooms.get(bytesToHex(session.torrent.infoHash))
    if (!room?.members.get(session)?.received.tryTake()) return
    const { added } = decodePex(payload)
    for (const listener of [...room.listeners]) listener(added, session)
  }

  closed(session: S): void {
    const key = bytesToHex(session.torrent.infoHash)
    const room = this.#rooms.get(key)
    if (!room?.members.delete(session)) return
    room.wake.resolve()
    this.#leaveEmpty(key, room)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    for (const room of this.#rooms.values()) room.wake.resolve()
    await Promise.all(this.#tasks)
  }

  #newMember(): Member {
    return { address: undefined, told: new Map(), nextMs: 0, received: new TokenBucket(this.#clock, 1000 / PEX_MS, 2) }
  }

  #room(key: string): Room<S> {
    const room = this.#rooms.get(key) ?? { members: new Map(), listeners: new Set(), wake: Promise.withResolvers<void>(), running: false }
    this.#rooms.set(key, room)
    return room
  }

  #leaveEmpty(key: string, room: Room<S>): void {
    if (room.members.size === 0 && room.listeners.size === 0 && this.#rooms.get(key) === room) this.#rooms.delete(key)
  }

  /** Runs while somebody is connected. With nothing to tell it sleeps until something changes. */
  async #run(room: Room<S>): Promise<void> {
    const signal = this.#stop.signal
    room.running = true
    while (room.members.size > 0 && !signal.aborted) {
      room.wake = Promise.withResolvers<void>()
      const waitMs = this.#tellAll(room)
      const over = new AbortController()
      const pause = waitMs === undefined ? undefined : this.#clock.sleep(waitMs, AbortSignal.any([signal, over.signal])).catch(() => {})
      await Promise.race(pause ? [room.wake.promise, pause] : [room.wake.promise])
      over.abort()
    }
    room.running = false
  }

  /** @returns ms until somebody may be told of a change; undefined when there is none */
  #tellAll(room: Room<S>): number | undefined {
    const now = this.#clock.monotonic()
    let waitMs: number | undefined
    for (const [session, member] of room.members) {
      const message = news(room, session, member)
      if (!message) continue
      const leftMs = member.nextMs - now
      if (leftMs > 0) {
        waitMs = Math.min(waitMs ?? leftMs, leftMs)
        continue
      }
      member.nextMs = now + PEX_MS
      if (!session.sendExtension('ut_pex', encodePex(message))) continue
      for (const peer of message.dropped) member.told.delete(formatPeerAddress(peer))
      for (const peer of message.added) member.told.set(formatPeerAddress(peer), peer)
      waitMs = Math.min(waitMs ?? PEX_MS, PEX_MS) // there may have been more than fits
    }
    return waitMs
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

/** What this connection has not been told; undefined when there is nothing, or it does not take it. */
function news<S extends PexSession>(
  room: Room<S>,
  session: S,
  member: Member
): { added: PeerAddress[]; dropped: PeerAddress[] } | undefined {
  if (session.extended?.ids.ut_pex === undefined) return undefined
  const there = new Map<string, PeerAddress>()
  for (const [other, { address }] of room.members)
    if (other !== session && address && mayTell(session, address)) there.set(formatPeerAddress(address), address)
  if (member.address) there.delete(formatPeerAddress(member.address))
  const added = [...there].filter(([key]) => !member.told.has(key)).map(([, peer]) => peer)
  const dropped = [...member.told].filter(([key]) => !there.has(key)).map(([, peer]) => peer)
  if (added.length === 0 && dropped.length === 0) return undefined
  return { added: added.slice(0, MAX_PEX_PEERS), dropped: dropped.slice(0, MAX_PEX_PEERS) }
}

/** Where it was dialled, or where it says that it listens. */
function reachableAt({ wire, extended }: PexSession): PeerAddress | undefined {
  const address = parsePeerAddress(wire.address)
  if (!address || !wire.incoming) return address
  return extended?.listenPort === undefined ? undefined : { host: address.host, port: extended.listenPort }
}

const mayTell = (session: PexSession, { host }: PeerAddress): boolean => {
  const asker = parsePeerAddress(session.wire.address)?.host ?? ''
  return classOfAddress(host) === 'public' || classOfAddress(asker) === classOfAddress(host)
}
