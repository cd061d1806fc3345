/**
 * HTTP as a source: a Kith seeder (`GET /{sha256}` with Range, and a ticket when there is one), the same over HTTPS, or any plain
 * HTTP(S) URL that supports Range. Up to PARALLEL_REQUESTS kept-alive connections; the bytes go from the socket straight into chunk slots.
 */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { Delivery, Endpoint, Source, Ticket, TransferProtocol } from '../protocol.ts'
import { openConnection, proxyRefused } from './connect.node.ts'
import type { BodySink, HttpConnection } from './connection.node.ts'
import { MAX_KEY_CHARS, MAX_RUN_BYTES, PARALLEL_REQUESTS } from './limits.ts'
import { type HttpPlace, placeOf, securePlaceOf } from './place.node.ts'
import { type ProxyOptions, proxyRoute } from './proxy.ts'
import { parseContentRange } from './range.ts'
import { ProblemSink, refusalOf } from './refusal.ts'
import type { ResponseHead } from './response-head.ts'
import { RunSink } from './run-sink.ts'
import { answerMac, requestMac, sameMac } from './ticket-mac.ts'

export interface HttpProtocolDeps {
  readonly clock: Pick<Clock, 'now'>
  /** Shared by protocols that show the same tickets; their own when undefined. */
  readonly counters?: Counters
}

export interface HttpProtocolOptions extends ProxyOptions {
  /** Certificate authorities in PEM for https URLs; the system's by default. */
  readonly ca?: string
}

/** A source of which any range of bytes can be had, too. */
export interface RangeSource extends Source {
  /** Fills `target` with the bytes of the file from `first` on. @throws what `fetch` throws */
  read(first: number, target: Uint8Array, signal: AbortSignal): Promise<void>
}

/** The downloader's half, which may go through a proxy. */
export interface HttpProtocol extends TransferProtocol {
  openSource(endpoint: Endpoint, signal: AbortSignal): Promise<RangeSource>
  /** Whether everything beyond the local network goes through the user's proxy. */
  readonly proxied: boolean
}

/**
 * The protocol "http". A seeder's endpoint is its authenticated IP address and port. An endpoint without a seeder may carry a plain
 * URL as UTF-8 in `extra`; its `host` is then the checked IP address to connect to (see probe.node.ts). @throws PROXY_INVALID
 */
export const httpProtocol = (deps: HttpProtocolDeps, options: HttpProtocolOptions = {}): HttpProtocol =>
  makeProtocol('http', deps, options, placeOf)

/** The protocol "https": a seeder's listener with TLS 1.3, whose key the offer pins (`extra`). @throws PROXY_INVALID */
export const httpsProtocol = (deps: HttpProtocolDeps, options: HttpProtocolOptions = {}): HttpProtocol =>
  makeProtocol('https', deps, options, securePlaceOf)

function makeProtocol(name: string, deps: HttpProtocolDeps, options: HttpProtocolOptions, place: typeof placeOf): HttpProtocol {
  const open = new Set<HttpSource>()
  const counters = deps.counters ?? new Counters(deps.clock)
  const route = proxyRoute(options)
  return {
    name,
    proxied: route !== undefined,
    async openSource(endpoint, signal) {
      const source = new HttpSource(name, endpoint, place(endpoint, { ca: options.ca, route }), counters, s => open.delete(s))
      open.add(source)
      try {
        await source.connect(signal)
      } catch (error) {
        await source[Symbol.asyncDispose]()
        throw error
      }
      return source
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...open].map(s => s[Symbol.asyncDispose]()))
    }
  }
}

/** Request counters by ticket. They begin at the wall clock's ms, so that the same ticket in a new object goes on above its old ones. */
export class Counters {
  readonly #last = new WeakMap<Ticket, number>()
  readonly #clock: Pick<Clock, 'now'>
  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }
  next(ticket: Ticket): number {
    const n = (this.#last.get(ticket) ?? this.#clock.now()) + 1
    this.#last.set(ticket, n)
    return n
  }
}

class HttpSource implements RangeSource {
  readonly key: string
  readonly protocol: string
  readonly seeder: string | undefined
  readonly parallel = PARALLEL_REQUESTS
  readonly maxRun: number
  readonly #endpoint: Endpoint
  readonly #place: HttpPlace
  readonly #counters: Counters
  readonly #idle: HttpConnection[] = []
  readonly #all = new Set<HttpConnection>()
  readonly #onDispose: (source: HttpSource) => void
  readonly #gone = new AbortController()

  constructor(protocol: string, endpoint: Endpoint, place: HttpPlace, counters: Counters, onDispose: (source: HttpSource) => void) {
    this.protocol = protocol
    this.#endpoint = endpoint
    this.#place = place
    this.#counters = counters
    this.seeder = endpoint.seeder
    this.key = `${protocol} ${place.authority}${endpoint.seeder === undefined ? place.path.slice(0, MAX_KEY_CHARS) : ''}`
    this.maxRun = Math.max(1, Math.floor(MAX_RUN_BYTES / endpoint.grid.chunkBytes))
    this.#onDispose = onDispose
  }

  has(): boolean {
    return true // what a seeder has is in its offer; a mirror has everything
  }
  onChange(): void {}

  /** Opens the first connection, so that a dead place is known before anything is assigned to it. */
  async connect(signal: AbortSignal): Promise<void> {
    this.#idle.push(await this.#open(signal))
  }

  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    if (this.#gone.signal.aborted) throw new KithError('SOURCE_LOST', 'the source was closed')
    signal.throwIfAborted()
    if (!delivery.wants(delivery.run.first)) return
    let connection: HttpConnection | undefined
    const sink = new RunSink(delivery, {
      onRoom: () => connection?.resume(),
      onUnwanted: () => connection?.cut(),
      onError: error => connection?.fail(error)
    })
    const { grid, run } = delivery
    const last = Math.min(grid.size, (run.first + run.count) * grid.chunkBytes) - 1
    const begin = (): RunSink => {
      sink.begin()
      return sink
    }
    try {
      for (let fresh = false; ; fresh = true) {
        const from = sink.chunk
        connection = (fresh ? undefined : this.#takeIdle()) ?? (await this.#open(signal))
        try {
          return await this.#request(connection, from * grid.chunkBytes, last, begin, signal)
        } catch (error) {
          // A kept-alive connection may have gone stale, and a seeder cuts the connection where credit ends: ask once more.
          const stale = !fresh && connection.answerBytes === 0
          const cut = this.#endpoint.ticket !== undefined && sink.chunk > from && sink.atBoundary
          if (signal.aborted || this.#gone.signal.aborted || !hasCode(error, 'SOURCE_LOST') || !(stale || cut)) throw error
        } finally {
          this.#giveBack(connection)
        }
      }
    } finally {
      sink.stop()
    }
  }

  async read(first: number, target: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.#gone.signal.aborted) throw new KithError('SOURCE_LOST', 'the source was closed')
    for (let fresh = false; ; fresh = true) {
      const connection = (fresh ? undefined : this.#takeIdle()) ?? (await this.#open(signal))
      let at = 0
      const sink: BodySink = { ready: true, target: () => target.subarray(at), filled: n => void (at += n) }
      try {
        return await this.#request(connection, first, first + target.length - 1, () => sink, signal)
      } catch (error) {
        const stale = !fresh && connection.answerBytes === 0
        if (signal.aborted || this.#gone.signal.aborted || !hasCode(error, 'SOURCE_LOST') || !stale) throw error
      } finally {
        this.#giveBack(connection)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gone.abort(new KithError('SOURCE_LOST', 'the source was closed'))
    this.#onDispose(this)
    await Promise.all([...this.#all].map(c => c[Symbol.asyncDispose]()))
  }

  /** Asks for bytes `first` to `last`, once; they go to the sink that `begin` gives. */
  async #request(connection: HttpConnection, first: number, last: number, begin: () => BodySink, signal: AbortSignal): Promise<void> {
    const range = `bytes=${first}-${last}`
    const proof = this.#prove(range)
    let problem: ProblemSink | undefined
    const onHead = (head: ResponseHead): BodySink => {
      if (proof) this.#checkProof(head, proof.counter)
      if (this.#isContent(head, first, last)) return begin()
      problem = new ProblemSink(head)
      return problem
    }
    const lines = [
      `GET ${this.#place.target} HTTP/1.1`,
      `Host: ${this.#place.authority}`,
      `Range: ${range}`,
      'Accept-Encoding: identity',
      'User-Agent: kith'
    ]
    if (this.#place.etag !== undefined) lines.push(`If-Range: ${this.#place.etag}`)
    const head = [...lines, ...(proof?.lines ?? [])].join('\r\n')
    await connection.request(`${head}\r\n${this.#place.proxyHeader}\r\n`, onHead, signal)
    if (problem?.head.status === 407 && this.#place.proxy) throw proxyRefused()
    if (problem) throw refusalOf(problem, this.#endpoint.seeder !== undefined)
  }

  /** Whether the body is exactly the bytes that were asked for. @throws SOURCE_LIED, ENCODING_FORBIDDEN, RANGE_UNSUPPORTED, SOURCE_CHANGED */
  #isContent(head: ResponseHead, first: number, last: number): boolean {
    const { size } = this.#endpoint.grid
    const plain = this.#endpoint.seeder === undefined
    if (head.status !== 206 && head.status !== 200) return false
    const encoding = head.headers.get('content-encoding')
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
      throw new KithError('ENCODING_FORBIDDEN', 'the server encoded the content', { encoding: encoding.slice(0, 32) })
    if (head.headers.has('transfer-encoding') && head.status === 206) throw lied('a part of a file with Transfer-Encoding')
    if (head.status === 200) {
      if (!plain) throw lied('the whole file instead of the part that was asked for')
      if (head.length === size && first === 0 && last === size - 1) return true
      if (this.#place.etag !== undefined && head.headers.get('etag') !== this.#place.etag)
        throw new KithError('SOURCE_CHANGED', 'the file on the server has changed')
      throw new KithError('RANGE_UNSUPPORTED', 'the server ignores Range')
    }
    const range = parseContentRange(head.headers.get('content-range') ?? '')
    if (range?.first !== first || range.last !== last || (range.size ?? size) !== size) throw lied('another range than asked for')
    if (head.length !== last - first + 1) throw lied('a length that is not that of the range')
    return true
  }

  #prove(range: string): { readonly counter: number; readonly lines: readonly string[] } | undefined {
    const { ticket } = this.#endpoint
    if (!ticket) return undefined
    const counter = this.#counters.next(ticket)
    const mac = requestMac(ticket.key, { method: 'GET', path: this.#place.path, range, counter })
    return { counter, lines: [`Kith-Ticket: ${bytesToHex(ticket.id)}`, `Kith-Counter: ${counter}`, `Kith-Mac: ${mac}`] }
  }

  /** An answer to a ticket holder is authentic, or it is a refusal of the ticket itself, which nobody could sign. */
  #checkProof(head: ResponseHead, counter: number): void {
    const { ticket } = this.#endpoint
    if (!ticket || UNPROVEN.has(head.status)) return
    const facts = { status: head.status, contentRange: head.headers.get('content-range') ?? '', counter }
    if (!sameMac(answerMac(ticket.key, facts), head.headers.get('kith-mac') ?? '')) throw lied("an answer without the seeder's proof")
  }

  #takeIdle(): HttpConnection | undefined {
    for (let c = this.#idle.pop(); c; c = this.#idle.pop()) {
      if (c.reusable) return c
      this.#all.delete(c)
    }
    return undefined
  }

  #giveBack(connection: HttpConnection): void {
    if (connection.reusable && this.#idle.length < PARALLEL_REQUESTS) this.#idle.push(connection)
    else {
      this.#all.delete(connection)
      connection.fail(undefined)
    }
  }

  async #open(signal: AbortSignal): Promise<HttpConnection> {
    const connection = await openConnection(this.#place, AbortSignal.any([signal, this.#gone.signal]))
    this.#all.add(connection)
    return connection
  }
}

/** What nobody could sign, and a proxy may say: it costs time and no more. */
const UNPROVEN: ReadonlySet<number> = new Set([400, 403, 404, 407, 429, 431, 502, 503, 504])

const lied = (what: string): KithError => new KithError('SOURCE_LIED', `the server answered with ${what}`)
