/** The node beneath `kad.node.ts`: socket, routing table, answers to others, first nodes, upkeep, and walks towards an id. */
import { randomBytes } from '#crypto'
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import type { AddressClass } from '../address-filter.ts'
import { parsePeerAddress } from '../bittorrent/urls.ts'
import { type Crypt, cryptBits } from '../ed2k/hello.ts'
import { aborted } from '../ed2k/server-gather.ts'
import { NamedScope } from '../ed2k/server-scope.ts'
import { Upkeep } from '../kademlia/upkeep.ts'
import { AddressVotes } from '../mainline/address-votes.ts'
import { ProvenAddresses } from '../mainline/guards.ts'
import { addressKey } from '../mainline/table.ts'
import { ID_BYTES, isNear } from './kad-id.ts'
import { type Address, type AnswerTo, KadSocket, type Question } from './kad-socket.node.ts'
import { Lanes } from './lanes.ts'
import {
  BOOTSTRAP_RETRY_MS,
  BUCKET_NODES,
  CARE_MS,
  CHECK_MS,
  CHECKERS,
  MAX_BOOTSTRAP,
  MAX_BOOTSTRAP_RETRY_MS,
  MAX_CARE_HELLOS,
  MAX_HELD_ANSWERS,
  MAX_PENDING_HELLOS,
  MAX_PUBLISHERS,
  MAX_SEARCHES,
  QUESTIONABLE_MS,
  SETTLE_MS
} from './limits.ts'
import type { Contact, KadMessage } from './messages.ts'
import type { FindPurpose } from './pace.ts'
import { Reachability } from './reachability.node.ts'
import { Responder } from './responder.ts'
import { SourceStore } from './source-store.ts'
import type { KeptSource } from './sources.ts'
import { KadTable } from './table.ts'
import { walk } from './walk.ts'

export interface KadNodeDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Resolves the hosts that the user gave as first nodes. @throws FORBIDDEN_ADDRESS */
  readonly checkAddress?: ((host: string, port: number) => Promise<string>) | undefined
  readonly classOf?: ((address: string) => AddressClass) | undefined
  readonly isReachable?: (() => boolean | undefined) | undefined
  /** Us as a source of this file, if we publish it; the host is filled in. */
  readonly own: (target: Uint8Array) => Omit<KeptSource, 'host' | 'udpPort'> | undefined
  /** Somebody published something with us. */
  readonly kept: (target: Uint8Array, source: KeptSource) => void
}

export interface KadNodeOptions {
  readonly host: string
  readonly bootstrap: readonly string[]
  readonly id: Uint8Array
  readonly clientHash: Uint8Array
  readonly tcpPort: number
  readonly crypt: Crypt
  readonly anyDistance: boolean
}

/** Contacts that are asked for in one find: aMule's numbers. */
const MOST = { looking: 2, publishing: 4, nodes: 11 } as const
const TCP_CLOSED = 2
const WANTS_HEARD = 4
/** The first version of Kad 2. */
const MIN_VERSION = 2
const ANY_HOST = '0.0.0.0'

export class KadNode implements AsyncDisposable {
  readonly scope: NamedScope
  readonly store: SourceStore
  readonly table: KadTable
  readonly reachability: Reachability
  readonly #deps: KadNodeDeps
  readonly #options: KadNodeOptions
  readonly #upkeep: Upkeep
  readonly #proven: ProvenAddresses
  readonly #votes = new AddressVotes()
  readonly #responder: Responder
  readonly #first = Promise.withResolvers<void>()
  /** Addresses that were said hello to and have not answered. */
  readonly #greeting = new Set<string>()
  readonly #lanes: Readonly<Record<FindPurpose, Lanes>> = { looking: new Lanes(MAX_SEARCHES), publishing: new Lanes(MAX_PUBLISHERS) }
  #held = 0
  #socket: KadSocket | undefined

  constructor(deps: KadNodeDeps, options: KadNodeOptions) {
    const { clock } = deps
    const { host, id, tcpPort, anyDistance } = options
    this.#deps = deps
    this.#options = options
    this.#upkeep = new Upkeep({ clock: deps.clock, settleMs: SETTLE_MS, onFailed: error => deps.log.debug('a Kad task failed', { error }) })
    this.scope = new NamedScope(deps.classOf)
    this.scope.widen(host)
    this.store = new SourceStore(clock)
    this.table = new KadTable(id, h => this.scope.isPublic(h))
    this.#proven = new ProvenAddresses(clock)
    this.reachability = new Reachability({
      clock,
      log: deps.log,
      scope: this.scope,
      port: () => this.port,
      prove: from => this.#prove(from),
      say: (message, to) => this.#socket?.send(message, to)
    })
    this.#responder = new Responder({
      table: this.table,
      store: this.store,
      scope: this.scope,
      tcpPort,
      anyDistance,
      flags: () => (deps.isReachable?.() === false ? TCP_CLOSED : 0),
      own: (target, asker) => this.#ownSource(target, asker),
      kept: deps.kept
    })
  }

  /** Called once. @throws PORT_UNAVAILABLE */
  async listen(port: number): Promise<void> {
    const { clock, log } = this.#deps
    const hooks = {
      onQuestion: (message: KadMessage, from: Address) => this.#onQuestion(message, from),
      onAnswer: (from: Address, message: KadMessage) => this.#onAnswer(from, message)
    }
    this.#socket = await KadSocket.open({ clock, log, ...hooks }, this.#options.host, port)
    this.#upkeep.track(this.#keepBootstrapped())
    this.#upkeep.track(this.#care())
  }

  get port(): number {
    return this.#socket!.port
  }
  /** Resolves when the first nodes have been asked. */
  get ready(): Promise<void> {
    return this.#first.promise
  }

  /** Aborts when the node is closed. */
  get stopped(): AbortSignal {
    return this.#upkeep.signal
  }

  /** Walks towards an id. @returns those of the closest nodes that answered, nearest first; none when it was aborted while it waited */
  async walk(target: Uint8Array, purpose: FindPurpose, signal: AbortSignal, most: number = MOST[purpose]): Promise<Contact[]> {
    const limited = AbortSignal.any([signal, this.#upkeep.signal])
    await Promise.race([this.#first.promise, aborted(limited)])
    if (limited.aborted) return []
    using _lane = await this.#lanes[purpose].take(limited).catch(() => undefined)
    if (!_lane) return []
    const ask = async (contact: Contact): Promise<readonly Contact[]> => {
      const found = await this.ask(contact, { kind: 'find', most, target, asked: contact.id }, limited, { purpose })
      this.#answered(contact)
      return found.contacts.slice(0, most)
    }
    const isUs = (c: Contact): boolean => equalBytes(c.id, this.table.ownId)
    const mayContact = (c: Contact): boolean => c.version >= MIN_VERSION && this.scope.allows(c) && !isUs(c)
    return await walk({ ask, mayContact }, target, this.table.closest(target, 2 * BUCKET_NODES), limited)
  }

  /** Asks a node. Silence counts against it, except for searches: who knows nothing says nothing. @throws KAD_NO_ANSWER */
  async ask<Q extends Question>(
    to: Address,
    question: Q,
    signal: AbortSignal,
    options: { readonly purpose?: FindPurpose; readonly each?: (answer: AnswerTo<Q['kind']>) => void } = {}
  ): Promise<AnswerTo<Q['kind']>> {
    try {
      return await this.#socket!.ask(to, question, signal, options)
    } catch (error) {
      const isSilent = codeOf(error) === 'KAD_NO_ANSWER' && !signal.aborted && !this.#upkeep.signal.aborted
      if (isSilent && (question.kind === 'find' || question.kind === 'hello')) this.table.failed(to)
      throw error
    }
  }

  /** Whether a node keeps what belongs to `target`: others would not answer. */
  isKeeper(contact: Contact, target: Uint8Array): boolean {
    return this.#options.anyDistance || !this.scope.isPublic(contact.host) || isNear(contact.id, target)
  }

  /** See Upkeep. */
  pause(ms: number, orGrowth: boolean, signal: AbortSignal): Promise<void> {
    return this.#upkeep.pause(ms, orGrowth, signal)
  }

  /** A task that ends with its handle or with the node. */
  run(work: (signal: AbortSignal) => Promise<void>): AsyncDisposable {
    return this.#upkeep.run(work)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#upkeep[Symbol.asyncDispose]()
    await this.#socket?.[Symbol.asyncDispose]()
  }

  #onQuestion(message: KadMessage, from: Address): void {
    const say = (answer: KadMessage | undefined): void => {
      if (answer) this.#socket!.send(answer, from)
    }
    switch (message.kind) {
      case 'first':
        say(this.#responder.first(from))
        break
      case 'hello':
        say(this.#responder.helloAnswer())
        this.#meet({ ...message, ...from })
        break
      case 'find':
        say(this.#responder.find(message, from))
        // It does not say who it is; aMule itself says hello only after a minute.
        if (this.table.size < BUCKET_NODES && !this.table.at(from) && this.scope.isUsable(from)) this.#hello(from)
        break
      case 'search':
        this.#upkeep.track(this.#sayAll(this.#responder.search(message, from), from))
        break
      case 'publish':
        say(this.#responder.publish(message, from))
        break
      case 'ping':
        say({ kind: 'pong', port: from.port })
        break
      case 'check':
        say({ kind: 'yourAddress', host: from.host })
        this.#upkeep.track(this.reachability.check(message, from, this.#upkeep.signal))
        break
      case 'reached':
        this.reachability.reached(from.host)
        break
    }
  }

  #onAnswer(from: Address, message: KadMessage): void {
    const seenAs = message.kind === 'yourAddress' ? { host: message.host, port: 0 } : undefined
    this.#proven.prove(from.host, seenAs)
    if (seenAs) this.#votes.vote(from.host, seenAs.host)
    if (message.kind !== 'helloAnswer' && message.kind !== 'firstAnswer') return
    this.#answered({ ...message, ...from }, message.kind === 'helloAnswer')
    if (message.kind === 'firstAnswer') for (const c of message.contacts) if (this.scope.allows(c)) this.#meet(c)
    if (message.kind === 'helloAnswer' && (message.flags & WANTS_HEARD) !== 0)
      this.#socket!.send({ kind: 'helloHeard', id: this.table.ownId }, from)
  }

  #answered({ id, host, port, tcpPort, version }: Contact, saidHello = false): void {
    if (version < MIN_VERSION || !this.scope.isUsable({ host, port })) return
    const isNew = this.table.answered({ id, host, port, tcpPort, version }, this.#deps.clock.monotonic())
    if (!isNew) return
    this.#upkeep.grew()
    if (!saidHello) this.#hello({ host, port }) // or it would not know us
    if (this.table.size <= CHECKERS) this.#upkeep.track(this.#askWhetherReachable({ host, port }))
  }

  /** A node that came or was named gets a place only after it has answered us. */
  #meet(contact: Contact): void {
    if (contact.version < MIN_VERSION || !this.scope.isUsable(contact) || !this.table.wants(contact)) return
    this.#hello(contact)
  }

  #hello(to: Address): void {
    const key = addressKey(to)
    if (this.#greeting.size >= MAX_PENDING_HELLOS || this.#greeting.has(key) || this.#upkeep.signal.aborted) return
    this.#greeting.add(key)
    const asking = this.ask(to, this.#responder.hello(), this.#upkeep.signal).catch(() => {})
    this.#upkeep.track(asking.then(() => void this.#greeting.delete(key)))
  }

  /** Who has not proved its address gets one datagram; what else there is when it has (threats ED6). */
  async #sayAll(answers: readonly KadMessage[], to: Address): Promise<void> {
    const [first, ...rest] = answers
    if (!first) return
    this.#socket!.send(first, to)
    if (rest.length === 0 || this.#held >= MAX_HELD_ANSWERS) return
    this.#held++
    const isProven = await this.#prove(to)
    this.#held--
    if (isProven) for (const answer of rest) this.#socket!.send(answer, to)
  }

  async #prove(from: Address): Promise<boolean> {
    if (this.#proven.has(from.host)) return true
    return await this.ask(from, { kind: 'ping' }, this.#upkeep.signal).then(
      () => true,
      () => false
    )
  }

  /** Two nodes that only know each other find what the other publishes. */
  #ownSource(target: Uint8Array, asker: Address): KeptSource | undefined {
    const own = this.#deps.own(target)
    const { host: bound } = this.#options
    const host = bound === ANY_HOST ? (this.#proven.seenAs(asker.host)?.host ?? this.#votes.address) : bound
    return own && host !== undefined ? { ...own, host, udpPort: this.port } : undefined
  }

  async #keepBootstrapped(): Promise<void> {
    const { signal } = this.#upkeep
    for (let pauseMs = BOOTSTRAP_RETRY_MS; !signal.aborted; ) {
      if (this.table.size === 0) await this.#bootstrap()
      // Those who began with us know the same first node and nobody else yet.
      else if (this.table.size < 2 * BUCKET_NODES) await this.walk(this.table.ownId, 'looking', signal, MOST.nodes)
      this.#first.resolve()
      await this.pause(pauseMs, false, signal)
      pauseMs = Math.min(MAX_BOOTSTRAP_RETRY_MS, 2 * pauseMs)
    }
    this.#first.resolve()
  }

  async #bootstrap(): Promise<void> {
    const { log, checkAddress } = this.#deps
    const check = checkAddress ?? ((host, port) => resolveAndCheck(host, port, { allowPrivate: true, allowLoopback: true }))
    await Promise.all(
      this.#options.bootstrap.slice(0, MAX_BOOTSTRAP).map(async text => {
        const address = parsePeerAddress(text)
        if (!address) return log.warn('not host:port of a Kad node', { text })
        try {
          const to = { host: await check(address.host, address.port), port: address.port }
          this.scope.widen(to.host)
          await this.ask(to, { kind: 'first' }, this.#upkeep.signal)
        } catch (error) {
          log.debug('a first node of Kad did not answer', { address: text, error })
        }
      })
    )
    if (this.table.size === 0) return
    this.#first.resolve()
    await this.walk(this.table.ownId, 'looking', this.#upkeep.signal, MOST.nodes)
  }

  async #askWhetherReachable(node: Address): Promise<void> {
    const { tcpPort, clientHash, crypt } = this.#options
    if (tcpPort === 0) return
    this.reachability.asking(node.host)
    const question = { kind: 'check', tcpPort, client: clientHash, crypt: cryptBits(crypt) } as const
    await this.ask(node, question, this.#upkeep.signal).catch(() => {})
  }

  async #care(): Promise<void> {
    const { clock } = this.#deps
    const { signal } = this.#upkeep
    let refreshedMs = clock.monotonic()
    let checkedMs = refreshedMs
    while (!signal.aborted) {
      await clock.sleep(CARE_MS, signal).catch(() => {})
      if (signal.aborted) return
      const now = clock.monotonic()
      this.store.sweep()
      for (const node of this.table.questionable(now, MAX_CARE_HELLOS)) this.#hello(node)
      if (this.table.size > 0 && now - checkedMs >= CHECK_MS) {
        checkedMs = now
        await Promise.all(this.table.closest(randomBytes(ID_BYTES), CHECKERS).map(n => this.#askWhetherReachable(n)))
      }
      if (this.table.size === 0 || now - refreshedMs < QUESTIONABLE_MS) continue
      refreshedMs = now
      await this.walk(randomBytes(ID_BYTES), 'looking', signal, MOST.nodes)
      await this.walk(this.table.ownId, 'looking', signal, MOST.nodes)
    }
  }
}
