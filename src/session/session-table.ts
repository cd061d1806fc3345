/** The sessions there are, by id and by peer, within bounds. */
import { KithError } from '../base/errors.ts'
import { MAX_SESSIONS, MAX_SESSIONS_PER_PEER } from './limits.ts'
import { expired, type Session } from './session.ts'

export class SessionTable {
  readonly #byId = new Map<string, Session>()
  /** Newest last. */
  readonly #byPeer = new Map<string, Session[]>()

  get size(): number {
    return this.#byId.size
  }

  has(sessionId: string): boolean {
    return this.#byId.has(sessionId)
  }

  /** @throws SESSION_EXPIRED, the same for an unknown id, one that is over, and one of another peer (threats SM23) */
  get(sessionId: string, peer: string): Session {
    const session = this.#byId.get(sessionId)
    if (!session || session.peer.entityId !== peer || session.isClosed) throw expired()
    return session
  }

  /** Those of a peer that are open, newest first. */
  of(peer: string): Session[] {
    return (this.#byPeer.get(peer) ?? []).filter(s => !s.isClosed).reverse()
  }

  /** Whether another session of this peer has its place. */
  hasRoomFor(peer: string): boolean {
    if (this.#byId.size >= MAX_SESSIONS) this.prune()
    return this.#byId.size < MAX_SESSIONS || (this.#byPeer.get(peer)?.length ?? 0) >= MAX_SESSIONS_PER_PEER
  }

  /** Of a peer's own sessions the one that was idle longest makes room (threats SM26); others' never do. @throws RATE_LIMITED */
  add(session: Session): void {
    const peer = session.peer.entityId
    if (!this.hasRoomFor(peer)) throw new KithError('RATE_LIMITED', 'too many sessions')
    const mine = this.#byPeer.get(peer) ?? []
    if (mine.length >= MAX_SESSIONS_PER_PEER) {
      const idle = mine.find(s => s.isClosed) ?? mine.reduce((a, b) => (b.usedAt < a.usedAt ? b : a))
      this.remove(idle)
    }
    this.#byId.set(session.id, session)
    this.#byPeer.set(peer, [...(this.#byPeer.get(peer) ?? []), session])
  }

  /** Closes it. */
  remove(session: Session): void {
    session.close()
    this.#byId.delete(session.id)
    const rest = (this.#byPeer.get(session.peer.entityId) ?? []).filter(s => s !== session)
    if (rest.length > 0) this.#byPeer.set(session.peer.entityId, rest)
    else this.#byPeer.delete(session.peer.entityId)
  }

  /** Forgets those that are closed or over. */
  prune(): void {
    for (const session of [...this.#byId.values()]) if (session.isClosed) this.remove(session)
  }

  /** Closes all. */
  clear(): void {
    for (const session of [...this.#byId.values()]) this.remove(session)
  }
}
