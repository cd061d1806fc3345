/**
 * The server's end of a link over HTTP: each request brings one frame and takes along what waits for the client. The link lives while
 * requests come; frames it never collects are lost with it, as on any link that breaks.
 */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { HTTP_LINK_IDLE_MS, MAX_HTTP_INCOMING, MAX_HTTP_OUTGOING_BYTES, MAX_HTTP_REPLY_BYTES } from '../limits.ts'
import type { MessageLink } from '../link.ts'

/** What became of a frame; undefined: it is durable or was acted on. */
export type Refusal = { readonly code: string; readonly message: string } | undefined

export interface HttpLinkOrigin {
  /** Whose frames it carries: did:key of the sender of its first frame, whose signature was right. */
  readonly senderId: string
  readonly address: string
}

export class HttpLink implements MessageLink {
  readonly via = 'http'
  readonly peerId = undefined
  readonly address: string
  readonly senderId: string
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #ended = new AbortController()
  readonly #incoming: Uint8Array[] = []
  readonly #outgoing: Uint8Array[] = []
  readonly #waiting = new Map<Uint8Array, (refusal: Refusal) => void>()
  #outgoingBytes = 0
  #wakeReader: (() => void) | undefined
  /** Whoever waits for something to collect, or for room. */
  readonly #wakeOthers = new Set<() => void>()
  /** Requests that wait for something to collect. */
  #collectors = 0
  #lastUsed: number

  constructor(deps: { readonly clock: Pick<Clock, 'monotonic'> }, origin: HttpLinkOrigin) {
    this.#clock = deps.clock
    this.address = origin.address
    this.senderId = origin.senderId
    this.#lastUsed = deps.clock.monotonic()
  }

  get closed(): AbortSignal {
    return this.#ended.signal
  }
  get lastUsed(): number {
    return this.#lastUsed
  }
  get isIdle(): boolean {
    return this.#waiting.size === 0 && this.#clock.monotonic() - this.#lastUsed > HTTP_LINK_IDLE_MS
  }

  async next(): Promise<Uint8Array | undefined> {
    while (this.#incoming.length === 0 && !this.closed.aborted) await new Promise<void>(resolve => (this.#wakeReader = resolve))
    return this.#incoming.shift()
  }

  async send(frame: Uint8Array): Promise<void> {
    while (this.#outgoing.length > 0 && this.#outgoingBytes + frame.length > MAX_HTTP_OUTGOING_BYTES && !this.closed.aborted)
      await this.#change()
    if (this.closed.aborted) throw new KithError('PEER_PROTOCOL', 'the link has ended')
    this.#outgoing.push(frame)
    this.#outgoingBytes += frame.length
    this.#wake()
  }

  settled(frame: Uint8Array, refusal?: Refusal): void {
    this.#waiting.get(frame)?.(refusal)
  }

  /** Gives a frame that a request brought. @returns what became of it; SESSION_EXPIRED when the link ended before that was known */
  give(frame: Uint8Array, timeoutMs: number): Promise<Refusal> {
    this.#lastUsed = this.#clock.monotonic()
    if (this.closed.aborted) return Promise.resolve(GONE)
    if (this.#waiting.size >= MAX_HTTP_INCOMING) {
      return Promise.resolve({ code: 'RATE_LIMITED', message: 'too many messages wait in this session' })
    }
    return new Promise(resolve => {
      const settle = (refusal: Refusal): void => {
        clearTimeout(timer)
        this.#waiting.delete(frame)
        this.#lastUsed = this.#clock.monotonic()
        resolve(refusal)
      }
      const timer = setTimeout(() => settle({ code: 'PEER_TIMEOUT', message: 'the message was not handled in time' }), timeoutMs)
      this.#waiting.set(frame, settle)
      this.#incoming.push(frame)
      this.#wakeReader?.()
    })
  }

  /** Waits until there is something to collect, at most so long. Where one waits already it gets it, and others need not wait. */
  async ready(timeoutMs: number, gone?: AbortSignal): Promise<void> {
    if (this.#collectors > 0 && !gone) return
    this.#collectors++
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.#wake()
    }, timeoutMs)
    const onGone = (): void => this.#wake()
    gone?.addEventListener('abort', onGone, { once: true })
    while (this.#outgoing.length === 0 && !this.closed.aborted && !isLate && !gone?.aborted) await this.#change()
    gone?.removeEventListener('abort', onGone)
    clearTimeout(timer)
    this.#collectors--
    this.#lastUsed = this.#clock.monotonic()
  }

  /** Takes what waits for the client, as much as goes into one answer. */
  collect(): Uint8Array[] {
    const taken: Uint8Array[] = []
    for (let bytes = 0; this.#outgoing.length > 0; ) {
      bytes += this.#outgoing[0]!.length
      if (taken.length > 0 && bytes > MAX_HTTP_REPLY_BYTES) break
      const frame = this.#outgoing.shift()!
      this.#outgoingBytes -= frame.length
      taken.push(frame)
    }
    if (taken.length > 0) this.#wake()
    return taken
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort()
    for (const settle of [...this.#waiting.values()]) settle(GONE)
    this.#wakeReader?.()
    this.#wake()
    return Promise.resolve()
  }

  #wake(): void {
    const waiting = [...this.#wakeOthers]
    this.#wakeOthers.clear()
    for (const wake of waiting) wake()
  }
  #change(): Promise<void> {
    return new Promise(resolve => this.#wakeOthers.add(resolve))
  }
}

const GONE = { code: 'SESSION_EXPIRED', message: 'there is no such session: begin with a handshake' } as const
