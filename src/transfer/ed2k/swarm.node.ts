/**
 * The clients of one download: those that the user, a link, servers, Kad and other clients name. Each becomes a source. Lost ones are dialled
 * again, ever more rarely; disposal ends all of it.
 */
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import type { Grid } from '../grid.ts'
import type { Source } from '../protocol.ts'
import { AichVotes } from './aich-votes.ts'
import type { PeerHub } from './hub.node.ts'
import { MAX_DIALS, MAX_SWARM_CONNECTIONS, MAX_SWARM_PEERS, REDIAL_MS } from './limits.ts'
import { type FoundPeer, foundKey, isLowId } from './low-id.node.ts'
import { PartMender } from './part-mender.node.ts'
import type { Ed2kPeer } from './peers.ts'
import type { PeerSession } from './session.node.ts'
import { PeerSource } from './source.node.ts'

/** Who named an address: the user, or somebody in the network. */
export type AddressTrust = 'given' | 'found'
/** @returns the address to connect to @throws FORBIDDEN_ADDRESS, URL_FORBIDDEN, SOURCE_LOST */
export type CheckAddress = (host: string, port: number, trust: AddressTrust) => Promise<string>

/** Finds clients that have a file: a server, Kad. */
export interface Ed2kFinder {
  find(hash: Uint8Array, size: number, signal: AbortSignal): AsyncIterable<FoundPeer>
  /** 'given' for clients in the user's own network; left out: 'found'. */
  trustOf?(peer: Ed2kPeer): AddressTrust
}

export interface SwarmDeps {
  readonly hub: PeerHub
  readonly clock: Clock
  readonly log: Logger
  readonly checkAddress: CheckAddress
  readonly finders: readonly Ed2kFinder[]
  /** AICH root of the link: 20 bytes; without it, what clients agree on. */
  readonly aich?: Uint8Array | undefined
  /** Takes ownership of each source. */
  onSource(source: Source): void
}

export class Swarm implements AsyncDisposable {
  readonly #deps: SwarmDeps
  readonly #hash: Uint8Array
  readonly #grid: Grid
  readonly #stop = new AbortController()
  readonly #learning: Disposable
  readonly #known = new Set<string>()
  readonly #sources = new Set<PeerSource>()
  /** Sources that sent too much that was wrong: not used again for this file. */
  readonly #banned = new WeakSet<Source>()
  readonly #votes = new AichVotes()
  readonly #mender: PartMender
  readonly #tasks = new Set<Promise<void>>()
  readonly #waiting: (() => void)[] = []
  #lanes = MAX_SWARM_CONNECTIONS

  constructor(deps: SwarmDeps, hash: Uint8Array, grid: Grid) {
    this.#deps = deps
    this.#hash = hash
    this.#grid = grid
    this.#learning = deps.hub.onSources(hash, peers => this.add(peers, 'found'))
    const { clock, log, aich } = deps
    this.#mender = new PartMender({
      clock,
      log,
      grid,
      root: () => aich ?? this.#agreed(),
      sources: () => this.#sources,
      onLiar: source => void this.#banned.add(source)
    })
    for (const finder of deps.finders) this.#track(this.#find(finder))
  }

  /** Sources that have not ended. */
  get connected(): number {
    return this.#sources.size
  }

  /** Dials these clients unless they are known; beyond 1,000 the new ones are left out. */
  add(peers: Iterable<FoundPeer>, trust: AddressTrust): void {
    for (const peer of peers) {
      const key = foundKey(peer)
      if (this.#stop.signal.aborted || this.#known.has(key) || this.#known.size >= MAX_SWARM_PEERS) continue
      this.#known.add(key)
      this.#track(this.#keepConnected(peer, trust))
    }
  }

  /** The download threw this source out for what it sent: its address is not used again. One whose connection broke may only be tried again. */
  banWrong(source: Source): void {
    if (source.ended !== true) this.#banned.add(source)
  }

  /**
   * Replaces the wrong blocks of a part, if clients help to find them.
   * @param bytes the part as it came from `culprit`, from its start
   * @returns true when it was changed and is worth checking again
   */
  mend(part: number, bytes: Uint8Array, culprit: Source): Promise<boolean> {
    return this.#mender.mend(part, bytes, culprit, this.#stop.signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#learning[Symbol.dispose]()
    for (const next of this.#waiting.splice(0)) next()
    await Promise.all([...this.#sources].map(s => s[Symbol.asyncDispose]()))
    await Promise.all(this.#tasks)
  }

  #track(task: Promise<void>): void {
    const p = task.catch((error: unknown) => this.#deps.log.debug('a task of a swarm failed', { error }))
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }

  #agreed(): Uint8Array | undefined {
    for (const { aich, host } of this.#sources) if (aich && host !== undefined) this.#votes.add(rateKeyOf(host), aich)
    return this.#votes.agreed
  }

  async #find(finder: Ed2kFinder): Promise<void> {
    for await (const peer of finder.find(this.#hash, this.#grid.size, this.#stop.signal))
      this.add([peer], (!isLowId(peer) && finder.trustOf?.(peer)) || 'found')
  }

  async #keepConnected(peer: FoundPeer, trust: AddressTrust): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stop
    for (let failures = 0; failures < MAX_DIALS && !signal.aborted; ) {
      let source: PeerSource | undefined
      await this.#lane()
      try {
        if (!signal.aborted) source = await this.#connect(peer, trust)
      } catch (error) {
        failures = ['FORBIDDEN_ADDRESS', 'URL_FORBIDDEN'].includes(codeOf(error)) ? MAX_DIALS : failures + 1
        log.debug('dialling a client failed', { peer: foundKey(peer), error })
      } finally {
        this.#lanes++
        this.#waiting.shift()?.()
      }
      if (source) {
        await source.gone
        this.#sources.delete(source)
        if (this.#banned.has(source)) return // its address stays known: it is not dialled again
        const lied = source.error?.code === 'SOURCE_LIED'
        // aMule now and then breaks an obfuscated stream: who has served well is tried again, but not for ever.
        if (lied) failures = source.served ? failures + 1 : MAX_DIALS
        else failures = source.served ? 0 : failures + 1
      }
      if (failures < MAX_DIALS) await clock.sleep(REDIAL_MS * 2 ** failures, signal).catch(() => {})
    }
    if (!signal.aborted) this.#known.delete(foundKey(peer))
  }

  /** Dialling, hellos, and the first answer; not what comes after: clients keep us waiting for hours. */
  async #connect(peer: FoundPeer, trust: AddressTrust): Promise<PeerSource> {
    const { hub, clock, checkAddress, onSource } = this.#deps
    let host = ''
    const dial = async (signal: AbortSignal) => {
      const session = await reach({ hub, checkAddress }, peer, trust, signal)
      host = session.host
      return session
    }
    const session = await dial(this.#stop.signal)
    const source = new PeerSource({
      clock,
      hash: this.#hash,
      grid: this.#grid,
      address: foundKey(peer),
      seeder: undefined,
      ticket: undefined,
      ownHash: hub.userHash,
      ownStatus: () => hub.statusOf(this.#hash, this.#grid.size),
      connect: dial,
      awaitCall: (userHash, take) => hub.awaitCall(userHash, take, host)
    })
    this.#sources.add(source)
    source.attach(session)
    await source.ready
    const { userHash, abilities } = session.remote!
    if (!source.ended && !isLowId(peer)) hub.hasFile(this.#hash, { host, port: peer.port, userHash, crypt: abilities.crypt })
    onSource(source)
    return source
  }

  async #lane(): Promise<void> {
    while (this.#lanes <= 0 && !this.#stop.signal.aborted) await new Promise<void>(resolve => this.#waiting.push(resolve))
    this.#lanes--
  }
}

/** A connection with a client, whether it can be connected to or has to connect to us. @throws SOURCE_LOST, SOURCE_LIED, FORBIDDEN_ADDRESS, URL_FORBIDDEN */
export async function reach(
  { hub, checkAddress }: Pick<SwarmDeps, 'hub' | 'checkAddress'>,
  peer: FoundPeer,
  trust: AddressTrust,
  signal: AbortSignal
): Promise<PeerSession> {
  if (isLowId(peer)) return hub.callBack(peer, signal)
  const host = await checkAddress(peer.host, peer.port, trust)
  return hub.dial({ ...peer, host }, signal)
}
