/**
 * Us as a client of an eDonkey server: logged in for as long as this lives, dialled again when it is lost. It tells the server what we share
 * and asks it who has a file. Everything that the server says is read strictly; it can end its own connection and nothing else.
 */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import type { AddressClass } from '../address-filter.ts'
import { ipToNumber, numberToIp } from './bytes.ts'
import { type Crypt, HIGH_ID_FROM } from './hello.ts'
import {
  ASK_CALLS_BURST,
  ASK_CALLS_PER_SECOND,
  ASK_SOURCES_BURST,
  ASK_SOURCES_MS,
  ASK_SOURCES_PER_SECOND,
  CALLBACKS_BURST,
  CALLBACKS_PER_SECOND,
  MAX_ASK_SOURCES_MS,
  MAX_SERVER_RETRY_MS,
  MAX_SWARM_PEERS,
  SERVER_RETRY_MS
} from './limits.ts'
import { type FoundPeer, foundKey } from './low-id.node.ts'
import type { Ed2kPeer } from './peers.ts'
import type { OfferedFile } from './server-files.ts'
import { gather } from './server-gather.ts'
import { type FoundSource, type FoundSources, type GivenId, type ServerStatus, serverAbilities } from './server-messages.ts'
import { NamedScope } from './server-scope.ts'
import { ServerSession } from './server-session.node.ts'
import type { AddressTrust, Ed2kFinder } from './swarm.node.ts'

export interface ServerLinkDeps {
  readonly clock: Clock
  readonly log: Logger
  /** What we share, whenever the server is to be told. */
  shares(): Iterable<OfferedFile>
  /** A client that wants something of ours cannot connect to us: connect to it and say hello. Left out: it waits in vain. */
  connectTo?(peer: Ed2kPeer, trust: AddressTrust): void
  /** Whenever `status` has changed. */
  onStatus?(status: ServerLinkStatus): void
  /** Resolves the host that the user gave: private and loopback addresses are allowed by default. @throws FORBIDDEN_ADDRESS, SOURCE_LOST */
  readonly checkAddress?: (host: string, port: number) => Promise<string>
  /** For tests. */
  readonly classOf?: (address: string) => AddressClass
}

export interface ServerLinkOptions {
  readonly host: string
  readonly port: number
  /** 16 bytes, the same that clients see. */
  readonly userHash: Uint8Array
  /** TCP port where clients reach us; 0: nowhere. */
  readonly listenPort: number
  readonly nickname?: string
  /** What clients are told about obfuscation: that we can, by default. */
  readonly crypt?: Crypt
}

export interface ServerLinkStatus {
  readonly state: 'connecting' | 'connected' | 'waiting'
  /** What the server calls us, 0 while not connected; from 2^24 on our address: we can be connected to. */
  readonly id: number
  /** The server's address as a number, and its port, as they are in hellos. */
  readonly serverIp: number
  readonly serverPort: number
  /** Clients and files that it knows. */
  readonly clients: number
  readonly files: number
  /** Remote text. */
  readonly name: string
  /** Last thing it said: remote text. */
  readonly message: string
  /** Why it was lost last. */
  readonly error: string | undefined
}

const NOT_CONNECTED: ServerLinkStatus = {
  state: 'connecting',
  id: 0,
  serverIp: 0,
  serverPort: 0,
  clients: 0,
  files: 0,
  name: '',
  message: '',
  error: undefined
}
const CAN_CRYPT: Crypt = { supported: true, requested: false, required: false }

/** Begins to connect, and goes on until disposed. */
export const openEd2kServerLink = (deps: ServerLinkDeps, options: ServerLinkOptions): Ed2kServerLink => new Ed2kServerLink(deps, options)

export class Ed2kServerLink implements Ed2kFinder, AsyncDisposable {
  readonly #deps: ServerLinkDeps
  readonly #options: ServerLinkOptions
  readonly #scope: NamedScope
  readonly #stop = new AbortController()
  readonly #asking: TokenBucket
  readonly #calls: TokenBucket
  readonly #askingCalls: TokenBucket
  readonly #running: Promise<void>
  /** Who waits for sources, by hash in hex. */
  readonly #searches = new Map<string, Set<(found: readonly FoundSource[]) => void>>()
  /** Resolves at the next login. */
  #login = Promise.withResolvers<void>()
  #session: ServerSession | undefined
  #status: ServerLinkStatus = NOT_CONNECTED

  constructor(deps: ServerLinkDeps, options: ServerLinkOptions) {
    this.#deps = deps
    this.#options = options
    this.#scope = new NamedScope(deps.classOf)
    this.#asking = new TokenBucket(deps.clock, ASK_SOURCES_PER_SECOND, ASK_SOURCES_BURST)
    this.#calls = new TokenBucket(deps.clock, CALLBACKS_PER_SECOND, CALLBACKS_BURST)
    this.#askingCalls = new TokenBucket(deps.clock, ASK_CALLS_PER_SECOND, ASK_CALLS_BURST)
    this.#running = this.#run()
  }

  get status(): ServerLinkStatus {
    return this.#status
  }
  /** Clients can connect to us: the server has tried. */
  get isHighId(): boolean {
    return this.#status.id >= HIGH_ID_FROM
  }

  /** What we share has changed: the server is told what it does not know yet. */
  offer(): void {
    this.#session?.offer(this.#deps.shares())
  }

  /** 'given' for peers in the user's own network, which only a server there may name. */
  trustOf({ host }: Pick<Ed2kPeer, 'host'>): AddressTrust {
    return this.#scope.isPublic(host) ? 'found' : 'given'
  }

  /** Has the server tell a client with this id to connect to us. @returns false when it cannot be asked now */
  callLowId(lowId: number): boolean {
    const session = this.#session
    if (!session || session.error || !this.isHighId || !this.#askingCalls.tryTake()) return false
    session.askCall(lowId)
    return true
  }

  /**
   * Asks again and again, ever more rarely, until `signal` aborts. Yields clients, each once; those that cannot be connected to only if
   * they can connect to us. Throws nothing.
   */
  find(hash: Uint8Array, size: number, signal: AbortSignal): AsyncIterable<FoundPeer> {
    const seen = new Set<string>()
    return gather<FoundPeer>(
      async (add, over) => {
        const take = (found: readonly FoundSource[]): void => {
          for (const peer of this.#peersOf(found)) {
            if (seen.has(foundKey(peer)) || seen.size >= MAX_SWARM_PEERS) continue
            seen.add(foundKey(peer))
            add(peer)
          }
        }
        using _search = register(this.#searches, bytesToHex(hash), take)
        await this.#keepAsking(hash, size, over)
      },
      AbortSignal.any([signal, this.#stop.signal])
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #keepAsking(hash: Uint8Array, size: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    for (let pauseMs = ASK_SOURCES_MS; !signal.aborted; pauseMs = Math.min(MAX_ASK_SOURCES_MS, 2 * pauseMs)) {
      const session = this.#session
      if (session) {
        await this.#asking.take(1, signal).catch(() => {})
        if (!signal.aborted) session.askSources(hash, size)
      } else pauseMs = ASK_SOURCES_MS / 2
      // A new login is a reason to ask at once.
      const over = new AbortController()
      const slept = clock.sleep(pauseMs, AbortSignal.any([signal, over.signal])).catch(() => {})
      await Promise.race([slept, this.#login.promise])
      over.abort()
      await slept
    }
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stop
    for (let failures = 0; !signal.aborted; ) {
      this.#set(NOT_CONNECTED)
      const beganMs = clock.monotonic()
      try {
        await this.#stay(signal)
      } catch (error) {
        if (signal.aborted) break
        log.debug('an eDonkey server was lost', { host: this.#options.host, error })
        this.#set({ ...NOT_CONNECTED, state: 'waiting', error: codeOf(error) })
      }
      failures = clock.monotonic() - beganMs > STABLE_MS ? 0 : failures
      await clock.sleep(Math.min(MAX_SERVER_RETRY_MS, SERVER_RETRY_MS * 2 ** failures++), signal).catch(() => {})
    }
    this.#set({ ...NOT_CONNECTED, state: 'waiting' })
  }

  /** Connects, and stays until the connection ends. @throws SERVER_LOST, ED2K_WIRE, FORBIDDEN_ADDRESS */
  async #stay(signal: AbortSignal): Promise<void> {
    const { clock, checkAddress = checkGiven } = this.#deps
    const { port, userHash, listenPort, nickname = 'kith', crypt = CAN_CRYPT } = this.#options
    const host = await checkAddress(this.#options.host, port)
    this.#scope.widen(host)
    const login = { userHash, port: listenPort, name: nickname, abilities: ABILITIES, crypt }
    const server = { serverIp: ipToNumber(host), serverPort: port }
    const events = {
      id: ({ id }: GivenId) => this.#set({ ...this.#status, ...server, id, state: 'connected' as const }),
      status: (known: ServerStatus) => this.#set({ ...this.#status, ...known }),
      named: (name: string) => this.#set({ ...this.#status, name }),
      message: (message: string) => this.#set({ ...this.#status, message }),
      sources: (found: FoundSources) => this.#found(found),
      call: (client: FoundSource) => this.#call(client)
    }
    await using session = await ServerSession.open(clock, { host, port }, login, events, signal)
    this.#session = session
    const onAbort = (): void => void session[Symbol.asyncDispose]()
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      this.offer()
      this.#login.resolve()
      this.#login = Promise.withResolvers<void>()
      await session.ended
    } finally {
      this.#session = undefined
      signal.removeEventListener('abort', onAbort)
    }
    if (session.error) throw session.error
  }

  /** Clients that this server may name. */
  *#peersOf(found: readonly FoundSource[]): Generator<FoundPeer, void> {
    const session = this.#session
    const { serverIp, serverPort } = this.#status
    for (const { id, port, userHash, crypt } of found) {
      if (id >= HIGH_ID_FROM) {
        const host = numberToIp(id)
        const isOwn = id === this.#status.id && port === this.#options.listenPort
        if (!isOwn && this.#scope.allows({ host, port })) yield { host, port, userHash, crypt }
      } else if (id !== 0 && this.isHighId) {
        // Its id is worth nothing after a new login.
        yield { lowId: id, serverIp, serverPort, userHash, call: () => this.#session === session && this.callLowId(id) }
      }
    }
  }

  /** Only files that somebody looks for: unasked answers are ignored. */
  #found({ hash, sources }: FoundSources): void {
    for (const take of this.#searches.get(bytesToHex(hash)) ?? []) take(sources)
  }

  #call({ id, port, userHash, crypt }: FoundSource): void {
    const host = numberToIp(id)
    if (id >= HIGH_ID_FROM && this.#scope.allows({ host, port }) && this.#calls.tryTake())
      this.#deps.connectTo?.({ host, port, userHash, crypt }, this.trustOf({ host }))
  }

  #set(status: ServerLinkStatus): void {
    this.#status = status
    this.#deps.onStatus?.(status)
  }
}

const { zlib, newTags, unicode, largeFiles } = serverAbilities
const ABILITIES: number = zlib | newTags | unicode | largeFiles
/** A connection that lasted so long was no failure. */
const STABLE_MS = 60_000

const checkGiven = (host: string, port: number): Promise<string> => resolveAndCheck(host, port, { allowPrivate: true, allowLoopback: true })

function register<T>(map: Map<string, Set<T>>, key: string, value: T): Disposable {
  const set = map.get(key) ?? new Set<T>()
  map.set(key, set.add(value))
  return {
    [Symbol.dispose]: () => {
      set.delete(value)
      if (set.size === 0 && map.get(key) === set) map.delete(key)
    }
  }
}
