/** eDonkey as the rest of `transfer` sees it: one object that serves shares, opens sources, joins swarms and fetches hash sets. */
import { KithError } from '../../base/errors.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import { checkEndpoint } from '../address-filter.ts'
import { type Grid, makeGrid } from '../grid.ts'
import type { Endpoint, Source, TransferProtocol } from '../protocol.ts'
import type { ListenerOptions } from '../tcp/capped-listener.node.ts'
import { fetchHashSet, type HashSetRequest } from './hash-set.node.ts'
import { type Ed2kStatus, type HubDeps, PeerHub } from './hub.node.ts'
import { type Ed2kIdentity, makeEd2kIdentity } from './identity.node.ts'
import { HANDSHAKE_MS, READY_MS } from './limits.ts'
import { openListener } from './listener.node.ts'
import type { LowId } from './low-id.node.ts'
import { type Ed2kPeer, peerKey } from './peers.ts'
import { PeerSource } from './source.node.ts'
import { type AddressTrust, type CheckAddress, type Ed2kFinder, Swarm } from './swarm.node.ts'

export interface Ed2kDeps extends HubDeps {
  /** Rules for addresses that links, servers, Kad and clients name: by default only public ones, unless the user gave the address. */
  readonly checkAddress?: CheckAddress
}

export interface Ed2kOptions {
  /** undefined: nobody can connect to us. */
  readonly listen?: Partial<ListenerOptions> | undefined
  /** Who we are; a new one, for this time only, when it is missing. */
  readonly identity?: Ed2kIdentity
  /** Nickname that other programs show. */
  readonly nickname?: string
  /** 'accept' (default): obfuscation when the other side wants it. 'want': whenever it can. 'require': nothing else is accepted. */
  readonly obfuscation?: 'accept' | 'want' | 'require'
  /** Clients served at the same time. */
  readonly slots?: number
}

export interface SwarmRequest {
  readonly hash: Uint8Array
  readonly size: number
  /** Bytes of a chunk: a part of an ed2k link's file, or Kith's own 256 KiB. */
  readonly chunkBytes: number
  readonly peers?: readonly Ed2kPeer[]
  /** Who named the peers: 'given' when the user did, 'found' (the default) when a link did. */
  readonly trust?: AddressTrust
  readonly finders?: readonly Ed2kFinder[]
  /** AICH root, if the link has it: 20 bytes. */
  readonly aich?: Uint8Array | undefined
  /** Takes ownership of each source. */
  onSource(source: Source): void
}

const checkByFilter: CheckAddress = (host, port, trust) => {
  const given = trust === 'given'
  return resolveAndCheck(host, port, { allowPrivate: given, allowLoopback: given })
}

/** Starts eDonkey: it serves `deps.shares` from the moment this resolves. @throws PORT_UNAVAILABLE */
export async function openEd2k(deps: Ed2kDeps, options: Ed2kOptions = {}): Promise<Ed2k> {
  await using stack = new AsyncDisposableStack()
  const { obfuscation = 'accept', nickname = 'kith', identity = makeEd2kIdentity(), slots, listen } = options
  const hub = stack.use(
    new PeerHub(deps, {
      identity,
      nickname,
      wantObfuscation: obfuscation !== 'accept',
      requireObfuscation: obfuscation === 'require',
      ...(slots === undefined ? {} : { slots })
    })
  )
  if (listen) stack.use(await openListener(hub, listen))
  return new Ed2k(deps, hub, stack.move())
}

export class Ed2k implements TransferProtocol {
  readonly name = 'ed2k'
  readonly #deps: Ed2kDeps & { readonly checkAddress: CheckAddress }
  readonly #hub: PeerHub
  readonly #stack: AsyncDisposableStack

  constructor(deps: Ed2kDeps, hub: PeerHub, stack: AsyncDisposableStack) {
    this.#deps = { ...deps, checkAddress: deps.checkAddress ?? checkByFilter }
    this.#hub = hub
    this.#stack = stack
  }

  /** Port that clients can connect to; 0 when there is none. */
  get port(): number {
    return this.#hub.listenPort
  }
  /** 16 bytes. */
  get userHash(): Uint8Array {
    return this.#hub.userHash
  }
  /** Clients that are served and that wait. */
  get uploads(): { readonly served: number; readonly waiting: number } {
    return { served: this.#hub.slots.served, waiting: this.#hub.slots.waiting }
  }
  /** Clients that are connected and have proven that they hold their key: user hashes in hex. */
  get identified(): string[] {
    return this.#hub.identified
  }
  /** What servers and Kad found out about us: goes into hellos from now on. */
  setStatus(status: Partial<Ed2kStatus>): void {
    this.#hub.status = { ...this.#hub.status, ...status }
  }

  /** How clients that cannot be connected to are called when their turn in our queue has come: by a server. */
  setCaller(callLowId: (low: LowId) => boolean): void {
    this.#hub.callLowId = callLowId
  }

  /** Calls back when a client, at this address, says over TCP that it reached our port: what Kad wants to know. */
  setReached(onReached: (host: string) => void): void {
    this.#hub.onReached = onReached
  }

  /**
   * Connects to one seeder. `endpoint.extra` is the eDonkey hash. Resolves when the client serves us, or put us in its queue, or after
   * two seconds as it is.
   * @throws SOURCE_LOST, SOURCE_LIED, FORBIDDEN_ADDRESS, URL_FORBIDDEN
   */
  async openSource(endpoint: Endpoint, signal: AbortSignal): Promise<Source> {
    const { host, port, grid, ticket, seeder, extra: hash } = endpoint
    checkEndpoint(host, port)
    if (hash.length !== 16) throw new KithError('SOURCE_LIED', 'the offer has no eDonkey hash')
    const hub = this.#hub
    const connect = (s: AbortSignal) => hub.dial({ host, port }, s)
    const source = new PeerSource({
      clock: this.#deps.clock,
      hash,
      grid,
      address: peerKey({ host, port }),
      seeder,
      ticket,
      ownHash: hub.userHash,
      connect,
      awaitCall: (userHash, take) => hub.awaitCall(userHash, take, host)
    })
    const late = new AbortController()
    try {
      source.attach(await connect(signal))
      await Promise.race([source.ready, this.#deps.clock.sleep(READY_MS, AbortSignal.any([signal, late.signal])).catch(() => {})])
    } catch (error) {
      await source[Symbol.asyncDispose]()
      throw error
    } finally {
      late.abort()
    }
    if (!source.error && !signal.aborted) return source
    await source[Symbol.asyncDispose]()
    throw source.error ?? new KithError('SOURCE_LOST', 'opening was given up')
  }

  /** Looks for clients that have a file and connects to them; each comes as a source. Disposal ends the sources. */
  openSwarm(request: SwarmRequest): AsyncDisposable & Pick<Swarm, 'add' | 'connected' | 'mend' | 'banWrong'> {
    const { hash, size, chunkBytes, peers = [], trust = 'found', finders = [], aich, onSource } = request
    const grid: Grid = makeGrid(size, chunkBytes)
    const swarm = new Swarm({ ...this.#deps, hub: this.#hub, finders, aich, onSource }, hash, grid)
    swarm.add(peers, trust)
    return swarm
  }

  /** Part hashes of a file, from clients that have it. Waits until one gives them, all were asked, or `signal` aborts. @throws HASHSET_FAILED */
  fetchHashSet(request: HashSetRequest, signal: AbortSignal): Promise<Uint8Array> {
    return fetchHashSet({ ...this.#deps, hub: this.#hub }, request, signal)
  }

  /** Connects to a client that cannot connect to us (a server says so), and says hello: it asks for what it wants, or gives us our turn. Throws nothing. */
  async connectTo(peer: Ed2kPeer, trust: AddressTrust = 'found'): Promise<void> {
    const signal = AbortSignal.timeout(HANDSHAKE_MS)
    const dialled = this.#deps.checkAddress(peer.host, peer.port, trust).then(host => this.#hub.dial({ ...peer, host }, signal, true))
    await dialled.catch(error => this.#deps.log.debug('a client that called could not be reached', { error }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}
