/**
 * The Kith seeders of one download: one source for each at a time, over the first of its protocols that works. When a source is lost,
 * or cannot be opened, the next of its protocols is tried before the seeder is given up (spec 004 §10 "Protocol Failure Handling");
 * one that is slow is tried over another, a few times. A second source of the same seeder is never opened beside the first: what is
 * paid would be bought twice.
 *
 * A protocol that failed with several seeders and worked with none (an ISP blocks it) is tried last by all of them from then on.
 */
import { codeOf, KithError, textOf } from '../base/errors.ts'
import { isFilePort } from './address-filter.ts'
import { HOSTLESS, orderProtocols } from './finding/download-policy.ts'
import { ProtocolHealth } from './finding/protocol-health.ts'
import type { ProvidersDeps } from './finding/providers.ts'
import type { Grid } from './grid.ts'
import { MAX_SWITCHES } from './limits.ts'
import { OfferedSource } from './offered-source.ts'
import { type FetchedOffer, fetchTicket } from './offers.ts'
import type { Endpoint, Source, Ticket, TransferProtocol } from './protocol.ts'
import type { SourceStats } from './source-entry.ts'

/** What the user chose, and what this network allows. */
export interface ProtocolChoice {
  readonly environment?: 'node' | 'browser' | undefined
  /** Tried first where a seeder offers it. */
  readonly prefer?: string | undefined
  /** Only these; undefined or empty: all. */
  readonly protocols?: readonly string[] | undefined
  /** The network lets nothing but HTTP(S) through. */
  readonly restricted?: boolean | undefined
}

export interface SeedersDeps extends ProvidersDeps {
  readonly protocols: readonly TransferProtocol[]
  readonly choice?: ProtocolChoice | undefined
}

/** What is used of the download. @see FeedContext */
export interface SeedersContext {
  readonly grid: Grid
  wantsMore(): boolean
  add(source: Source, offer?: FetchedOffer): boolean
  admit(offer: FetchedOffer): void
  note(text: string): void
  statsOf(source: Source): SourceStats | undefined
  retire(source: Source, note: string): Promise<void>
}

interface Seeder {
  offer: FetchedOffer
  source: OfferedSource | undefined
  /** How many attempts to open one run. */
  opening: number
  /** Protocols that were tried since the offer came. */
  readonly tried: Set<string>
  /** How often each failed, ever. */
  readonly failures: Map<string, number>
  /** Bytes per second of those that were left because they were slow. */
  readonly slow: Map<string, number>
  switches: number
  ticket: Ticket | undefined
}

/** A ticket is asked for anew when it ends so soon. */
const TICKET_SPARE_MS = 60_000
/** What ends a seeder over every protocol: it cheats, or is not to be paid. */
const FINAL: ReadonlySet<string> = new Set(['SOURCE_LIED', 'ENCODING_FORBIDDEN', 'PAYMENT_REQUIRED'])
/** Reasons not to have opened a source that may be gone at the next look: a server that is just starting, a full one, a lost packet. */
const MAY_PASS: ReadonlySet<string> = new Set([
  'SOURCE_LOST',
  'SOURCE_BUSY',
  'PEER_UNREACHABLE',
  'PEER_TIMEOUT',
  'RATE_LIMITED',
  'DISK_FULL'
])

export class Seeders {
  readonly #deps: SeedersDeps
  readonly #context: SeedersContext
  readonly #signal: AbortSignal
  readonly #askAgain: (peerId: string) => void
  readonly #health = new ProtocolHealth()
  /** By PeerId; bounded by the providers of a download. */
  readonly #seeders = new Map<string, Seeder>()
  readonly #counts: Record<string, number> = {}
  readonly #tasks = new Set<Promise<void>>()

  /** @param askAgain a seeder has no way left: its next offer begins anew */
  constructor(deps: SeedersDeps, context: SeedersContext, askAgain: (peerId: string) => void, signal: AbortSignal) {
    this.#deps = deps
    this.#context = context
    this.#askAgain = askAgain
    this.#signal = signal
  }

  /** Opens a source for an offer, unless its seeder is in use. */
  use(offer: FetchedOffer): void {
    const known = this.#seeders.get(offer.peerId)
    if (known?.source) return void known.source.renew(offer)
    if (known && known.opening > 0) return
    if (!known) for (const name of new Set(this.#offeredBy(offer))) this.#counts[name] = (this.#counts[name] ?? 0) + 1
    const seeder = known ?? this.#begin(offer)
    seeder.offer = offer
    seeder.tried.clear()
    this.#open(seeder)
  }

  #begin(offer: FetchedOffer): Seeder {
    const seeder: Seeder = {
      offer,
      source: undefined,
      opening: 0,
      tried: new Set(),
      failures: new Map(),
      slow: new Map(),
      switches: 0,
      ticket: undefined
    }
    this.#seeders.set(offer.peerId, seeder)
    return seeder
  }

  /** Sources in use, by PeerId. */
  *live(): Iterable<[peerId: string, source: OfferedSource]> {
    for (const [peerId, { source }] of this.#seeders) if (source) yield [peerId, source]
  }

  /** The scheduler dropped a source. */
  onDropped(source: Source, code: string): void {
    const seeder = this.#of(source)
    if (!seeder) return
    this.#notice(seeder)
    seeder.source = undefined
    if (FINAL.has(code) || this.#signal.aborted) return
    seeder.failures.set(source.protocol, (seeder.failures.get(source.protocol) ?? 0) + 1)
    this.#open(seeder)
  }

  /** A source brings little: another of its seeder's protocols may bring more, or one that was left for being slow did. */
  onSlow(source: Source): void {
    const seeder = this.#of(source)
    if (!seeder || seeder.opening > 0 || seeder.switches >= MAX_SWITCHES || this.#signal.aborted) return
    const rate = this.#context.statsOf(source)?.rate ?? 0
    const better = this.#order(seeder).find(
      name => name !== source.protocol && (seeder.slow.get(name) ?? Number.POSITIVE_INFINITY) > 2 * rate
    )
    if (better === undefined) return
    seeder.switches++
    seeder.slow.set(source.protocol, rate)
    this.#notice(seeder)
    seeder.opening++
    this.#track(
      this.#context.retire(source, `slow; its seeder is tried over ${better}`).then(() => {
        seeder.opening--
        seeder.source = undefined
        seeder.tried.clear()
        this.#open(seeder)
      })
    )
  }

  /** Resolves when nothing is being opened any more; abort the signal first. */
  async settled(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks)
  }

  #of(source: Source): Seeder | undefined {
    for (const seeder of this.#seeders.values()) if (seeder.source === source) return seeder
    return undefined
  }

  #track(task: Promise<void>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }

  /** What a source that ends says about its protocol. */
  #notice({ source, offer }: Seeder): void {
    if (!source) return
    const brought = this.#context.statsOf(source)?.chunks ?? 0
    if (brought > 0) this.#health.worked(source.protocol)
    else this.#health.failed(source.protocol, offer.peerId)
  }

  /** Its protocols in the order of the policy; those that were slow, or failed with this seeder, after those that were not. */
  #order({ offer, failures, slow }: Seeder): string[] {
    const { choice = {}, rpc } = this.#deps
    for (const { source } of this.#seeders.values())
      if (source && (this.#context.statsOf(source)?.chunks ?? 0) > 0) this.#health.worked(source.protocol)
    const order = orderProtocols({
      environment: choice.environment ?? 'node',
      offered: this.#offeredBy(offer),
      prefer: choice.prefer,
      allow: choice.protocols,
      restricted: choice.restricted,
      hasHost: (rpc.addressOf(offer.peerId) ?? '') !== '',
      fileSize: this.#context.grid.size,
      seeders: this.#counts,
      failing: this.#health.failing
    })
    const penalty = (name: string): number => failures.get(name) ?? 0
    const slowness = (name: string): number => 1 / (1 + (slow.get(name) ?? Number.POSITIVE_INFINITY))
    return order.sort((a, b) => penalty(a) - penalty(b) || slowness(a) - slowness(b))
  }

  /** What it offers and we speak. */
  #offeredBy({ offer }: FetchedOffer): string[] {
    const can = offer.protocols.filter(p => HOSTLESS.has(p.name) || isFilePort(p.port)).map(p => p.name)
    return can.filter(name => this.#deps.protocols.some(p => p.name === name))
  }

  #open(seeder: Seeder): void {
    seeder.opening++
    const { peerId } = seeder.offer
    const task = this.#tryAll(seeder)
      .then(isUsed => {
        if (!isUsed) this.#askAgain(peerId) // the download has enough at the moment
      })
      .catch(error => {
        if (this.#signal.aborted) return
        this.#context.note(`${shortPeer(peerId)}: ${textOf(error)}`)
        this.#deps.log.debug('source not opened', { peer: peerId, error })
        if (MAY_PASS.has(codeOf(error))) this.#askAgain(peerId)
      })
      .finally(() => seeder.opening--)
      .then(() => {})
    this.#track(task)
  }

  /** @returns false when no further source is wanted. @throws what the last protocol threw, or the bill's refusal */
  async #tryAll(seeder: Seeder): Promise<boolean> {
    const { offer } = seeder
    if (!this.#context.wantsMore()) return false
    this.#context.admit(offer)
    const ticket = await this.#ticketFor(seeder)
    const failures: unknown[] = []
    for (const name of this.#order(seeder)) {
      const protocol = this.#deps.protocols.find(p => p.name === name)
      if (!protocol || seeder.tried.has(name)) continue
      const endpoint = this.#endpointOf(offer, name, ticket)
      if (!endpoint) {
        failures.push(new KithError('SOURCE_LOST', 'it is not connected any more, so its ports lead nowhere'))
        continue
      }
      seeder.tried.add(name)
      try {
        const source = new OfferedSource(await protocol.openSource(endpoint, this.#signal), offer)
        seeder.source = source
        if (this.#context.add(source, offer)) return true
        seeder.source = undefined
        await source[Symbol.asyncDispose]()
        return false
      } catch (error) {
        this.#signal.throwIfAborted()
        failures.push(error)
        seeder.failures.set(name, (seeder.failures.get(name) ?? 0) + 1)
        this.#health.failed(name, offer.peerId)
        this.#deps.log.debug('a protocol of a seeder failed', { peer: offer.peerId, protocol: name, error })
      }
    }
    const nothing =
      seeder.tried.size > 0
        ? new KithError('SOURCE_LOST', 'it was lost over every protocol')
        : new KithError('NO_SOURCES', this.#notOffered(offer))
    throw failures.find(error => MAY_PASS.has(codeOf(error))) ?? failures.at(-1) ?? nothing
  }

  /** In plain words: what was asked for beside what there is. */
  #notOffered(offer: FetchedOffer): string {
    const names = offer.offer.protocols.map(p => p.name).join(', ')
    const asked = this.#deps.choice?.protocols?.join(', ')
    return asked ? `it offers ${names || 'nothing'}; this download may only use ${asked}` : 'it offers no protocol this download may use'
  }

  /** undefined when the protocol needs an address and the seeder has none (any more): it may hang up between two attempts. */
  #endpointOf({ offer, peerId, seeder }: FetchedOffer, name: string, ticket: Ticket | undefined): Endpoint | undefined {
    const entry = offer.protocols.find(p => p.name === name)
    const host = this.#deps.rpc.addressOf(peerId) ?? ''
    if (!entry || (host === '' && !HOSTLESS.has(name))) return undefined
    const { fileId } = offer
    return { host, peerId, port: entry.port, extra: entry.extra, fileId, grid: this.#context.grid, seeder, ticket }
  }

  /** The same ticket over every protocol, while it holds: its counters go on. */
  async #ticketFor(seeder: Seeder): Promise<Ticket | undefined> {
    const { offer } = seeder
    if (offer.offer.pricePerMb === 0n) return undefined
    if (!seeder.ticket || seeder.ticket.expiresAt < this.#deps.clock.now() + TICKET_SPARE_MS)
      seeder.ticket = await fetchTicket(this.#deps, offer, offer.offer.fileId, this.#signal)
    return seeder.ticket
  }
}

/** End of a PeerId: enough to tell peers apart on a screen. */
export const shortPeer = (peerId: string): string => `…${peerId.slice(-8)}`
