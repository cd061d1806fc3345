/** The peers of one download that are connected over WebRTC: each becomes a source. One connection is kept to each peer. */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { PeerHub } from '../bittorrent/hub.node.ts'
import type { PeerSession } from '../bittorrent/session.node.ts'
import { PeerSource } from '../bittorrent/source.node.ts'
import type { Grid } from '../grid.ts'
import type { Source } from '../protocol.ts'
import { dialOver } from './acceptor.node.ts'
import type { RtcConnection } from './connection.node.ts'
import { MAX_RTC_SWARM } from './limits.ts'

export interface RtcSwarmDeps {
  readonly hub: PeerHub
  readonly clock: Clock
  readonly log: Logger
  /** Takes ownership of each source. */
  onSource(source: Source): void
}

export interface RtcSwarmTorrent {
  readonly infoHash: Uint8Array
  readonly grid: Grid
  readonly info: Uint8Array | undefined
}

export class RtcSwarm implements AsyncDisposable {
  readonly #deps: RtcSwarmDeps
  readonly #torrent: RtcSwarmTorrent
  readonly #stop = new AbortController()
  readonly #registration: Disposable
  readonly #sessions = new Set<PeerSession>()
  readonly #tasks = new Set<Promise<void>>()

  constructor(deps: RtcSwarmDeps, torrent: RtcSwarmTorrent) {
    this.#deps = deps
    this.#torrent = torrent
    this.#registration = deps.hub.register({ ...torrent, onPeer: session => this.#take(session) })
  }

  get connected(): number {
    return this.#sessions.size
  }
  /** How many more connections are wanted. */
  get room(): number {
    return MAX_RTC_SWARM - this.#sessions.size - this.#tasks.size
  }

  /** Our offer was answered; shakes hands when the connection is open. */
  dial(connection: RtcConnection): void {
    const { hub, log } = this.#deps
    this.#track(
      dialOver(hub, connection, this.#torrent, this.#stop.signal).then(
        session => this.#take(session),
        error => log.debug('a WebRTC peer was not reached', { code: codeOf(error), error })
      )
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#registration[Symbol.dispose]()
    await Promise.all([...this.#sessions].map(s => s[Symbol.asyncDispose]()))
    await Promise.all(this.#tasks)
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }

  #take(session: PeerSession): void {
    if (this.#stop.signal.aborted || this.#isSecond(session)) {
      this.#track(session[Symbol.asyncDispose]())
      return
    }
    this.#sessions.add(session)
    void session.wire.ended.then(() => this.#sessions.delete(session))
    const release = async (): Promise<void> => {
      if (session.wire.incoming && session.torrent.share) {
        session.reader = undefined // it may go on fetching from us
        session.wire.send({ kind: 'notInterested' })
      } else await session[Symbol.asyncDispose]()
    }
    const { clock, onSource } = this.#deps
    onSource(new PeerSource({ session, grid: this.#torrent.grid, clock, seeder: undefined, release }))
  }

  /**
   * Both ends offer connections, so two often open at once. Both ends keep the same one: that of the peer with the smaller id.
   */
  #isSecond(session: PeerSession): boolean {
    const remote = bytesToHex(session.remote.peerId)
    const other = [...this.#sessions].find(s => bytesToHex(s.remote.peerId) === remote && !s.wire.error)
    if (!other) return false
    const weAreSmaller = bytesToHex(this.#deps.hub.peerId) < remote
    const keepNew = session.wire.incoming !== other.wire.incoming && session.wire.incoming === !weAreSmaller
    if (keepNew) this.#track(other[Symbol.asyncDispose]())
    return !keepNew
  }
}
