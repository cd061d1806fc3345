/**
 * The node beneath `mainline.node.ts`: socket, routing table, answers to others, first nodes, upkeep, and walks towards an id.
 */
import { isIPv6 } from 'node:net'
import { randomBytes } from '#crypto'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { resolveAndCheck } from '../address-filter.node.ts'
import { type PeerAddress, parsePeerAddress } from '../bittorrent/urls.ts'
import { Upkeep } from '../kademlia/upkeep.ts'
import { AddressVotes } from './address-votes.ts'
import { ContactScope } from './contact-scope.ts'
import { ProvenAddresses, Tokens } from './guards.ts'
import type { Answer, Contact, Question } from './krpc.ts'
import { type Answered, type Asked, KrpcSocket } from './krpc-socket.node.ts'
import {
  BOOTSTRAP_RETRY_MS,
  BUCKET_NODES,
  CARE_MS,
  MAX_BOOTSTRAP,
  MAX_BOOTSTRAP_RETRY_MS,
  MAX_CARE_PINGS,
  MAX_HELD_ANSWERS,
  MAX_LOOKUPS,
  MAX_PENDING_PINGS,
  QUESTIONABLE_MS,
  SETTLE_MS
} from './limits.ts'
import { type Answered as Walked, walk } from './lookup.ts'
import { ID_BYTES, isIdOfAddress, makeNodeId } from './node-id.ts'
import { Responder } from './responder.ts'
import { ItemStore, PeerStore } from './store.ts'
import { RoutingTable } from './table.ts'

export interface DhtNodeDeps {
  readonly clock: Clock
  readonly log: Logger
  /** Resolves the hosts that the user gave as first nodes. @throws FORBIDDEN_ADDRESS */
  readonly checkAddress?: ((host: string, port: number) => Promise<string>) | undefined
  /** TCP ports under which we announce a torrent ourselves. */
  readonly ownPorts: (infoHash: Uint8Array) => readonly number[]
}

export interface DhtNodeOptions {
  readonly host: string
  readonly bootstrap: readonly string[]
  readonly readOnly: boolean
}

export class DhtNode implements AsyncDisposable {
  /** What others announced to us. */
  readonly peers: PeerStore
  readonly items: ItemStore
  readonly scope: ContactScope
  readonly #deps: DhtNodeDeps
  readonly #options: DhtNodeOptions
  readonly #upkeep: Upkeep
  readonly #votes = new AddressVotes()
  readonly #proven: ProvenAddresses
  readonly #responder: Responder
  readonly #first = Promise.withResolvers<void>()
  readonly #waiting: (() => void)[] = []
  #lookups = 0
  #pings = 0
  #held = 0
  #table = new RoutingTable(randomBytes(ID_BYTES))
  #socket: KrpcSocket | undefined

  constructor(deps: DhtNodeDeps, options: DhtNodeOptions) {
    this.#deps = deps
    this.#options = options
    this.#upkeep = new Upkeep({ clock: deps.clock, settleMs: SETTLE_MS, onFailed: error => deps.log.debug('a DHT task failed', { error }) })
    this.scope = new ContactScope(isIPv6(options.host))
    this.scope.widen(options.host)
    this.peers = new PeerStore(deps.clock)
    this.items = new ItemStore(deps.clock)
    this.#proven = new ProvenAddresses(deps.clock)
    this.#responder = new Responder({
      clock: deps.clock,
      table: () => this.#table,
      peers: this.peers,
      items: this.items,
      tokens: new Tokens(deps.clock),
      proven: this.#proven,
      ownPeers: (infoHash, asker) => this.#ownPeers(infoHash, asker)
    })
  }

  /** Called once. @throws PORT_UNAVAILABLE */
  async listen(port: number): Promise<void> {
    const { clock, log } = this.#deps
    const { host, readOnly } = this.#options
    const hooks = {
      ownId: () => this.#table.ownId,
      readOnly,
      onQuestion: (message: Asked, from: PeerAddress, bytes: number) => this.#upkeep.track(this.#onQuestion(message, from, bytes)),
      onAnswer: (from: PeerAddress, answered: Answered) => this.#onAnswer(from, answered)
    }
    this.#socket = await KrpcSocket.open({ clock, log, ...hooks }, host, port)
    this.#upkeep.track(this.#keepBootstrapped())
    this.#upkeep.track(this.#care())
  }

  get port(): number {
    return this.#socket!.port
  }
  get table(): Pick<RoutingTable, 'size' | 'ownId'> & Iterable<Contact> {
    return this.#table
  }
  /** Resolves when the first nodes have been asked. */
  get ready(): Promise<void> {
    return this.#first.promise
  }
  get publicAddress(): string | undefined {
    return this.#votes.address
  }

  /** An address where there may be a node: it is asked, and kept if it answers. */
  addNode(address: PeerAddress): void {
    if (this.scope.allows(address)) this.#ping(address)
  }

  /** Walks towards `question.target` and asks the question on the way. @returns the closest nodes that answered */
  async walk(
    question: Extract<Question, { name: 'find_node' | 'get_peers' | 'get' }>,
    signal: AbortSignal,
    onAnswer?: (answer: Answer) => void
  ): Promise<Walked[]> {
    const limited = AbortSignal.any([signal, this.#upkeep.signal])
    await this.#lane(limited)
    try {
      return await walk(
        {
          ask: contact => this.askContact(contact, question, limited),
          mayContact: contact => this.scope.allows(contact),
          onAnswer: (_, answer) => onAnswer?.(answer)
        },
        question.target,
        this.#table.closest(question.target, 2 * BUCKET_NODES),
        limited
      )
    } finally {
      this.#lookups--
      this.#waiting.shift()?.()
    }
  }

  /** Asks a node of the table or a candidate; failures count against it. */
  async askContact(contact: Contact, question: Question, signal: AbortSignal): Promise<Answered> {
    try {
      return await this.#socket!.ask(contact, question, signal)
    } catch (error) {
      if (codeOf(error) === 'DHT_NO_ANSWER' && !signal.aborted) this.#table.failed(contact)
      throw error
    }
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
    const over = this.#upkeep[Symbol.asyncDispose]()
    for (const next of this.#waiting.splice(0)) next()
    await over
    await this.#socket?.[Symbol.asyncDispose]()
  }

  async #onQuestion(message: Asked, from: PeerAddress, bytes: number): Promise<void> {
    const reply = await this.#responder.reply(message, from, bytes)
    if (!reply) return
    if (!reply.hold) {
      this.#socket!.send(reply.bytes, from)
      if (message.kind === 'question' && !message.readOnly) this.#meet({ id: message.id, ...from })
    } else if (this.#held < MAX_HELD_ANSWERS) {
      this.#held++
      const answered = await this.#ask(from, { name: 'ping' }).catch(() => undefined)
      this.#held--
      if (answered) this.#socket!.send(reply.bytes, from)
    }
  }

  /** A node that asked us gets a place only after it has answered us. */
  #meet(contact: Contact): void {
    if (this.scope.isUsable(contact) && this.#table.wants(contact, this.#deps.clock.monotonic())) this.#ping(contact)
  }

  #ping(address: PeerAddress): void {
    if (this.#pings >= MAX_PENDING_PINGS || this.#upkeep.signal.aborted) return
    this.#pings++
    const asking = this.#ask(address, { name: 'ping' }).then(
      () => {},
      () => {}
    )
    this.#upkeep.track(asking.finally(() => this.#pings--))
  }

  #onAnswer(from: PeerAddress, { id, seenAs }: Answered): void {
    this.#proven.prove(from.host, seenAs)
    if (seenAs && this.#votes.vote(from.host, seenAs.host)) this.#moveTo(seenAs.host)
    if (!this.scope.isUsable(from)) return
    const isNew = this.#table.answered({ id, ...from }, this.#deps.clock.monotonic())
    if (isNew) this.#upkeep.grew()
  }

  #ask(address: PeerAddress, question: Question): Promise<Answered> {
    return this.#socket!.ask(address, question, this.#upkeep.signal)
  }

  /** Our id follows from our address (BEP 42): nodes that check would not use us otherwise. */
  #moveTo(host: string): void {
    if (isIdOfAddress(this.#table.ownId, host)) return
    const before = this.#table
    this.#table = new RoutingTable(makeNodeId(host, randomBytes(ID_BYTES)))
    for (const node of before) this.#table.answered(node, node.lastAnswerMs)
    this.#deps.log.debug('the DHT id follows our address')
  }

  /** Where we are for this asker, if it has told us: two nodes that only know each other find what the other announces. */
  #ownPeers(infoHash: Uint8Array, asker: string): PeerAddress[] {
    const ports = this.#deps.ownPorts(infoHash)
    const host = this.#proven.seenAs(asker)?.host ?? this.#votes.address
    return host === undefined ? [] : [...new Set(ports)].map(port => ({ host, port }))
  }

  /** Waits for the first nodes, and for one of the places for look-ups. */
  async #lane(signal: AbortSignal): Promise<void> {
    await Promise.race([this.#first.promise, aborted(signal)])
    while (this.#lookups >= MAX_LOOKUPS && !signal.aborted) {
      const turn = Promise.withResolvers<void>()
      this.#waiting.push(turn.resolve)
      await Promise.race([turn.promise, aborted(signal)])
      const at = this.#waiting.indexOf(turn.resolve)
      if (at >= 0) this.#waiting.splice(at, 1) // it was given up: a turn must not be lost on it
    }
    this.#lookups++
  }

  async #keepBootstrapped(): Promise<void> {
    const signal = this.#upkeep.signal
    for (let pauseMs = BOOTSTRAP_RETRY_MS; !signal.aborted; ) {
      if (this.#table.size === 0) await this.#bootstrap()
      this.#first.resolve()
      if (this.#table.size === 0) pauseMs = Math.min(MAX_BOOTSTRAP_RETRY_MS, 2 * pauseMs)
      else pauseMs = MAX_BOOTSTRAP_RETRY_MS
      await this.pause(pauseMs, false, signal)
    }
    this.#first.resolve()
  }

  async #bootstrap(): Promise<void> {
    const { log } = this.#deps
    const check = this.#deps.checkAddress ?? ((host, port) => resolveAndCheck(host, port, { allowPrivate: true, allowLoopback: true }))
    await Promise.all(
      this.#options.bootstrap.slice(0, MAX_BOOTSTRAP).map(async text => {
        const address = parsePeerAddress(text)
        if (!address) return log.warn('not host:port of a DHT node', { text })
        try {
          const host = await check(address.host, address.port)
          this.scope.widen(host)
          const question = { name: 'find_node', target: this.#table.ownId } as const
          const { answer } = await this.#ask({ host, port: address.port }, question)
          for (const node of answer.nodes) if (this.scope.allows(node)) this.#ping(node)
        } catch (error) {
          log.debug('a first node of the DHT did not answer', { address: text, error })
        }
      })
    )
    if (this.#table.size > 0) {
      this.#first.resolve()
      await this.walk({ name: 'find_node', target: this.#table.ownId }, this.#upkeep.signal)
    }
  }

  async #care(): Promise<void> {
    const { clock } = this.#deps
    const signal = this.#upkeep.signal
    let refreshedMs = clock.monotonic()
    while (!signal.aborted) {
      await clock.sleep(CARE_MS, signal).catch(() => {})
      if (signal.aborted) return
      const now = clock.monotonic()
      this.peers.sweep()
      this.items.sweep()
      const doubtful = this.#table.questionable(now, MAX_CARE_PINGS)
      await Promise.all(doubtful.map(n => this.askContact(n, { name: 'ping' }, signal).catch(() => {})))
      if (now - refreshedMs < QUESTIONABLE_MS || this.#table.size === 0) continue
      refreshedMs = now
      await this.walk({ name: 'find_node', target: randomBytes(ID_BYTES) }, signal)
      await this.walk({ name: 'find_node', target: this.#table.ownId }, signal)
    }
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
