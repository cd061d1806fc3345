/**
 * All connections with other clients: dials and accepts them, says who we are, and gives the places in the upload queue to clients,
 * who keep theirs when the connection ends and are called when their turn comes.
 */
import type { Socket } from 'node:net'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import { classOfAddress, isFilePort } from '../address-filter.ts'
import type { ShareIndex, UploadGate } from '../protocol.ts'
import { AskerBook } from './asker-book.ts'
import type { PartStatus } from './file-request.ts'
import { type Crypt, type Hello, HIGH_ID_FROM } from './hello.ts'
import type { Ed2kIdentity } from './identity.node.ts'
import { CALLBACK_MS, CARE_MS, HANDSHAKE_MS, KEY_OPERATIONS_BURST, KEY_OPERATIONS_PER_SECOND } from './limits.ts'
import { callBack, isHelloOf, type LowId, type LowIdPeer } from './low-id.node.ts'
import { PeerWire } from './peer.node.ts'
import { type Ed2kPeer, peerKey } from './peers.ts'
import { RecoveryDesk } from './recovery-desk.ts'
import { asSourceError, PeerSession } from './session.node.ts'
import { statusOfShare } from './share-status.ts'
import { type SlotClient, UploadSlots } from './upload-slots.ts'
import { Uploader } from './uploader.node.ts'

export interface HubDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly shares: ShareIndex
  readonly gate: UploadGate
}

export interface HubOptions {
  readonly identity: Ed2kIdentity
  /** Nickname that other programs show. */
  readonly nickname: string
  /** Ask for obfuscation where the other side takes it. */
  readonly wantObfuscation: boolean
  /** Refuse plain connections. */
  readonly requireObfuscation: boolean
  /** Clients served at once. */
  readonly slots?: number
}

/** What servers and Kad tell us about ourselves; in our hello. */
export interface Ed2kStatus {
  /** Our address as a number, or what a server gave us; 0 while unknown. */
  readonly id: number
  readonly serverIp: number
  readonly serverPort: number
  readonly udpPort: number
  readonly kadPort: number
  readonly kadVersion: number
}

/** A place in the upload queue. Connected while it has an uploader. */
interface Client extends SlotClient {
  uploader: Uploader | undefined
  readonly peer: Ed2kPeer | undefined
  /** How a server calls it, when it cannot be connected to. */
  readonly low: LowId | undefined
  /** File that it asked for last. */
  wanted: Uint8Array | undefined
}

export class PeerHub implements AsyncDisposable {
  /** Has a server tell a client with a low id to connect to us; false: it cannot be asked. */
  callLowId: (low: LowId) => boolean = () => false
  /** A client at this address says that it reached our port: Kad may have asked it to try. */
  onReached: (host: string) => void = () => {}
  /** Set by the listener. */
  listenPort: number = 0
  status: Ed2kStatus = { id: 0, serverIp: 0, serverPort: 0, udpPort: 0, kadPort: 0, kadVersion: 0 }
  readonly slots: UploadSlots
  readonly options: HubOptions
  readonly #deps: HubDeps
  readonly #stop = new AbortController()
  readonly #sessions = new Set<PeerSession>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #askers = new AskerBook()
  readonly #recovery: RecoveryDesk
  /** Places of clients that are not connected, by user hash. */
  readonly #waiting = new Map<string, Client>()
  /** Sources that hope to be called, by user hash. */
  readonly #hopes = new Map<string, Set<(session: PeerSession) => void>>()
  /** The same for clients of which a low id is known: each takes what is for it. */
  readonly #lowHopes = new Set<(session: PeerSession) => boolean>()
  readonly #learners = new Map<string, Set<(peers: readonly Ed2kPeer[]) => void>>()
  readonly #keyTokens: TokenBucket
  #clients = 0

  constructor(deps: HubDeps, options: HubOptions) {
    this.#deps = deps
    this.options = options
    this.slots = new UploadSlots(deps.clock, options.slots === undefined ? {} : { slots: options.slots })
    this.#recovery = new RecoveryDesk(deps.clock)
    this.#keyTokens = new TokenBucket(deps.clock, KEY_OPERATIONS_PER_SECOND, KEY_OPERATIONS_BURST)
    this.#track(this.#care())
  }

  get userHash(): Uint8Array {
    return this.options.identity.userHash
  }
  get identified(): string[] {
    return [...this.#sessions].flatMap(s => (s.identified ? [bytesToHex(s.remote!.userHash)] : []))
  }
  get crypt(): Crypt {
    const { wantObfuscation, requireObfuscation } = this.options
    return { supported: true, requested: wantObfuscation || requireObfuscation, required: requireObfuscation }
  }

  /** Connects to a client whose address was checked; hellos were exchanged when it resolves.
   * @param isCall it wanted that, and may have something for us
   * @throws SOURCE_LOST, SOURCE_LIED */
  async dial(peer: Ed2kPeer, signal: AbortSignal, isCall = false): Promise<PeerSession> {
    if (this.#stop.signal.aborted) throw new KithError('SOURCE_LOST', 'eDonkey was closed')
    const all = AbortSignal.any([signal, this.#stop.signal])
    const holder: { session?: PeerSession } = {}
    await PeerWire.dial(
      peer.host,
      peer.port,
      { clock: this.#deps.clock, address: peerKey(peer), ownHash: this.userHash, obfuscateTo: this.#keyFor(peer) },
      wire => (holder.session = this.#session(wire)),
      all
    )
    const session = holder.session!
    session.isCall = isCall
    const onAbort = (): void => session.wire.close(new KithError('SOURCE_LOST', 'dialling was given up'))
    all.addEventListener('abort', onAbort, { once: true })
    if (all.aborted) onAbort()
    try {
      session.sayHello()
      await session.greeted
      return session
    } catch (error) {
      throw asSourceError(error)
    } finally {
      all.removeEventListener('abort', onAbort)
    }
  }

  /** Takes a socket that connected to us. */
  accept(socket: Socket, address: string): void {
    PeerWire.accept(
      socket,
      { clock: this.#deps.clock, address, ownHash: this.userHash, refusePlain: this.options.requireObfuscation },
      wire => {
        const session = this.#session(wire)
        session.isCall = true
        return session
      }
    )
  }

  /**
   * The next session that the client with this user hash opens to us is handed to `take`, until disposed. Everybody knows the user hash of
   * everybody: @param from its address; without it anybody may pose as this client
   */
  awaitCall(userHash: Uint8Array, take: (session: PeerSession) => void, from?: string): Disposable {
    return register(this.#hopes, bytesToHex(userHash), (session: PeerSession) => {
      if (from === undefined || session.host === from) take(session)
    })
  }
  /** The same for a client that a server names by a low id; a connection that is there already is taken, too. */
  awaitLowId(peer: LowId & { readonly userHash?: Uint8Array | undefined }, take: (session: PeerSession) => void): Disposable {
    const tryTake = (session: PeerSession): boolean => {
      const isRight = session.remote !== undefined && isHelloOf(session.remote, peer)
      if (isRight) take(session)
      return isRight
    }
    for (const s of this.#sessions) if (s.isCall && !s.reader && !s.wire.error && tryTake(s)) return { [Symbol.dispose]: () => {} }
    this.#lowHopes.add(tryTake)
    return { [Symbol.dispose]: () => void this.#lowHopes.delete(tryTake) }
  }
  /** Leaves a connection that a client made to us to the next one who wants it. It is closed when there is none within 20 s. */
  leave(session: PeerSession): void {
    session.reader = undefined
    this.#track(this.#closeIdle(session))
  }
  /** Has a client connect to us. @throws SOURCE_LOST */
  callBack(peer: LowIdPeer, signal: AbortSignal): Promise<PeerSession> {
    const awaitLowId = this.awaitLowId.bind(this)
    return callBack({ clock: this.#deps.clock, awaitLowId }, peer, AbortSignal.any([signal, this.#stop.signal]))
  }
  /** Which parts of a file we serve to everybody. */
  statusOf(hash: Uint8Array, size: number): PartStatus | undefined {
    const share = this.#deps.shares.byEd2k?.(bytesToHex(hash))
    return share?.pricePerMb === 0n && share.grid.size === size ? statusOfShare(share) : undefined
  }
  /** A client has this file: who asks us for sources hears of it. */
  hasFile(hash: Uint8Array, peer: Ed2kPeer): void {
    this.#askers.add(hash, peer)
  }
  /** Sources of this file that other clients name are handed to `take`, until disposed. */
  onSources(hash: Uint8Array, take: (peers: readonly Ed2kPeer[]) => void): Disposable {
    return register(this.#learners, bytesToHex(hash), take)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new KithError('SOURCE_LOST', 'eDonkey was closed'))
    await Promise.all([...this.#sessions].map(s => s[Symbol.asyncDispose]()))
    await Promise.all(this.#tasks)
  }

  /** Obfuscation needs the user hash. It is used when either side wants it and both can. */
  #keyFor({ userHash, crypt }: Ed2kPeer): Uint8Array | undefined {
    if (crypt?.required && !userHash) throw new KithError('SOURCE_LOST', 'the client wants obfuscation and its user hash is not known')
    const wanted = crypt?.supported && (crypt.requested || crypt.required || this.crypt.requested)
    return wanted ? userHash : undefined
  }

  #session(wire: PeerWire): PeerSession {
    const { clock, log } = this.#deps
    const session = new PeerSession(
      {
        clock,
        log,
        identity: this.options.identity,
        helloOf: nonce => this.#helloOf(nonce),
        mayCompute: () => this.#keyTokens.tryTake(),
        greeted: s => this.#greeted(s),
        reached: host => this.onReached(host),
        learned: (hash, peers) => {
          for (const take of this.#learners.get(bytesToHex(hash)) ?? []) take(peers)
        }
      },
      wire
    )
    this.#sessions.add(session)
    this.#track(
      wire.ended
        .then(() => session[Symbol.asyncDispose]())
        .finally(() => {
          this.#sessions.delete(session)
        })
    )
    return session
  }

  #helloOf(kithNonce: Uint8Array): Hello {
    return {
      ...this.status,
      userHash: this.userHash,
      port: this.listenPort,
      name: this.options.nickname,
      kithNonce,
      abilities: {
        aich: true,
        compression: true,
        secIdent: this.options.identity.key ? 1 : 0,
        extendedRequests: 2,
        multiPacket: true,
        multiPacketExt: true,
        largeFiles: true,
        sourceExchange2: true,
        crypt: this.crypt,
        kadVersion: this.status.kadVersion
      }
    }
  }

  /** Somebody said who they are: an uploader for them, with the place they had. */
  #greeted(session: PeerSession): Uploader {
    const remote = session.remote!
    const who = bytesToHex(remote.userHash)
    const client = this.#clientOf(session, who)
    const { clock, shares, gate } = this.#deps
    const uploader = new Uploader({
      clock,
      wire: session.wire,
      shares,
      gate,
      slots: this.slots,
      recovery: this.#recovery,
      remote,
      ownHash: this.userHash,
      nonce: session.nonce,
      client,
      sourcesOf: hash => this.#askers.of(hash, client.peer ? peerKey(client.peer) : '').filter(p => mayTell(session.host, p)),
      asked: hash => {
        if (client.peer) this.#askers.add(hash, client.peer)
      }
    })
    client.uploader = uploader
    this.#track(session.wire.ended.then(() => this.#left(client, uploader)))
    if (!session.isCall) return uploader
    for (const take of [...(this.#hopes.get(who) ?? [])]) if (!session.reader) take(session)
    for (const tryTake of [...this.#lowHopes]) if (!session.reader && tryTake(session)) break
    return uploader
  }

  #clientOf(session: PeerSession, who: string): Client {
    const known = this.#waiting.get(who)
    if (known && known.address === rateKeyOf(session.host)) {
      this.#waiting.delete(who)
      return known
    }
    const remote = session.remote!
    const { host } = session
    const isLow = remote.id > 0 && remote.id < HIGH_ID_FROM
    const canBeCalled = isFilePort(remote.port) && !isLow
    const client: Client = {
      key: `${who}/${++this.#clients}`,
      who,
      address: rateKeyOf(host),
      exempt: host.startsWith('127.') || host === '::1',
      peer: canBeCalled ? { host, port: remote.port, userHash: remote.userHash, crypt: remote.abilities.crypt } : undefined,
      low: isLow ? { lowId: remote.id, serverIp: remote.serverIp, serverPort: remote.serverPort } : undefined,
      uploader: undefined,
      wanted: undefined,
      begin: () => {
        if (client.uploader) client.uploader.begin()
        else this.#track(this.#call(client))
      },
      end: () => client.uploader?.end()
    }
    return client
  }

  /** A connection ended: who waits and can be called keeps its place. */
  #left(client: Client, uploader: Uploader): void {
    if (client.uploader !== uploader) return
    client.uploader = undefined
    client.wanted = uploader.wanted
    const keeps = this.slots.stateOf(client) === 'waiting' && (client.peer || client.low) && client.wanted && !this.#waiting.has(client.who)
    if (keeps && !this.#stop.signal.aborted) this.#waiting.set(client.who, client)
    else this.slots.leave(client)
  }

  /** Its turn has come: connects to it and says so. */
  async #call(client: Client): Promise<void> {
    try {
      const session = await this.#reach(client)
      const isSame = client.uploader !== undefined && client.uploader === session.uploader
      if (isSame && client.wanted && client.uploader?.resume(client.wanted)) return
      if (!isSame) await session[Symbol.asyncDispose]()
    } catch (error) {
      this.#deps.log.debug('a client in the upload queue could not be called', { address: client.address, error })
    }
    this.#waiting.delete(client.who)
    this.slots.leave(client)
  }

  async #closeIdle(session: PeerSession): Promise<void> {
    await this.#deps.clock.sleep(CALLBACK_MS, this.#stop.signal).catch(() => {})
    if (!session.reader && !session.uploader?.wanted) await session[Symbol.asyncDispose]()
  }

  #reach({ peer, low, who }: Client): Promise<PeerSession> {
    if (peer) return this.dial(peer, AbortSignal.timeout(HANDSHAKE_MS))
    if (!low) throw new KithError('SOURCE_LOST', 'the client cannot be reached')
    return this.callBack({ ...low, userHash: hexToBytes(who), call: () => this.callLowId(low) }, this.#stop.signal)
  }

  async #care(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.#deps.clock.sleep(CARE_MS, signal).catch(() => {})
      if (signal.aborted) return
      this.slots.lookOver()
      for (const [who, client] of this.#waiting) if (!this.slots.stateOf(client)) this.#waiting.delete(who)
    }
  }

  #track(task: Promise<void>): void {
    const p = task.catch((error: unknown) => this.#deps.log.debug('a task of eDonkey failed', { error }))
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }
}

/** Addresses of our own network are nothing to those outside of it. */
const mayTell = (asker: string, { host }: Ed2kPeer): boolean =>
  classOfAddress(host) === 'public' || classOfAddress(asker) === classOfAddress(host)

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
