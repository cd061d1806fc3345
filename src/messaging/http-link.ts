/**
 * The server's end of a link over HTTP: each request brings one frame and takes along what waits for the client. The link lives while
 * requests come; frames it never collects are lost with it, as on any link that breaks.
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { HTTP_LINK_IDLE_MS, MAX_HTTP_INCOMING, MAX_HTTP_OUTGOING_BYTES, MAX_HTTP_REPLY_BYTES } from './limits.ts'
import type { MessageLink } from './link.ts'

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
  async give(frame: Uint8Array, signal: AbortSignal): Promise<Refusal> {
    this.#lastUsed = this.#clock.monotonic()
    if (this.closed.aborted) return GONE
    if (this.#incoming.length >= MAX_HTTP_INCOMING) return { code: 'RATE_LIMITED', message: 'too many messages wait in this session' }
    const fate = Promise.withResolvers<Refusal>()
    this.#waiting.set(frame, fate.resolve)
    const onAbort = (): void => fate.resolve({ code: 'PEER_TIMEOUT', message: 'the message was not handled in time' })
    signal.addEventListener('abort', onAbort, { once: true })
    this.#incoming.push(frame)
    this.#wakeReader?.()
    try {
      return await fate.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#waiting.delete(frame)
      this.#lastUsed = this.#clock.monotonic()
    }
  }

  /** Waits until there is something to collect, or the signal. */
  async ready(signal: AbortSignal): Promise<void> {
    while (this.#outgoing.length === 0 && !this.closed.aborted && !signal.aborted) await this.#change(signal)
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
    for (const settle of this.#waiting.values()) settle(GONE)
    this.#wakeReader?.()
    this.#wake()
    return Promise.resolve()
  }

  #wake(): void {
    const waiting = [...this.#wakeOthers]
    this.#wakeOthers.clear()
    for (const wake of waiting) wake()
  }
  #change(signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        signal?.removeEventListener('abort', wake)
        this.#wakeOthers.delete(wake)
        resolve()
      }
      this.#wakeOthers.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }
}

const GONE = { code: 'SESSION_EXPIRED', message: 'there is no such session: begin with a handshake' } as const
