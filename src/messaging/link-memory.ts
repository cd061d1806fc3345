/** Two ends of a link in one process, with back-pressure: for tests, and for agents inside this node. */
import { KithError } from '../base/errors.ts'
import type { MessageLink } from './link.ts'

/** Frames that one end may be ahead of the other's reading. */
const AHEAD = 256

export interface MemoryLinkEnd {
  readonly peerId: string | undefined
  readonly address?: string
}

/** What a test does to a frame on its way: the frames that arrive instead. Throwing breaks the link. */
export type Tamper = (frame: Uint8Array, from: 0 | 1) => readonly Uint8Array[]

class End implements MessageLink {
  readonly via = 'memory' as const
  readonly peerId: string | undefined
  readonly address: string | undefined
  readonly closed: AbortSignal
  readonly #gone = new AbortController()
  readonly #arrived: Uint8Array[] = []
  #reader: ((frame: Uint8Array | undefined) => void) | undefined
  #room: PromiseWithResolvers<void> | undefined
  other: End | undefined
  pass: (frame: Uint8Array) => readonly Uint8Array[] = frame => [frame]

  constructor(end: MemoryLinkEnd) {
    this.peerId = end.peerId
    this.address = end.address
    this.closed = this.#gone.signal
  }

  next(): Promise<Uint8Array | undefined> {
    const frame = this.#arrived.shift()
    if (this.#arrived.length < AHEAD / 2) this.#room?.resolve()
    if (frame || this.closed.aborted) return Promise.resolve(frame)
    return new Promise(resolve => (this.#reader = resolve))
  }

  async send(frame: Uint8Array): Promise<void> {
    if (this.closed.aborted || !this.other) throw new KithError('PEER_PROTOCOL', 'the other end is gone')
    try {
      for (const f of this.pass(Uint8Array.from(frame))) this.other.#take(f)
    } catch {
      void this[Symbol.asyncDispose]()
      throw new KithError('PEER_PROTOCOL', 'the link broke')
    }
    const { other } = this
    await other.#room?.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
    // What was sent before has arrived: it may still be read.
    const { other } = this
    queueMicrotask(() => {
      if (other) other.#end()
    })
  }

  #take(frame: Uint8Array): void {
    if (this.closed.aborted) return
    const reader = this.#reader
    this.#reader = undefined
    if (reader) reader(frame)
    else this.#arrived.push(frame)
    if (this.#arrived.length >= AHEAD) this.#room ??= roomFor(() => (this.#room = undefined))
  }
  #end(): void {
    if (this.closed.aborted) return
    this.#gone.abort(new KithError('STREAM_CLOSED', 'the link was closed'))
    this.#reader?.(undefined)
    this.#room?.resolve()
  }
}

function roomFor(done: () => void): PromiseWithResolvers<void> {
  const room = Promise.withResolvers<void>()
  void room.promise.then(done)
  return room
}

/** Joins two new links; `a` is what the first end knows of the second. */
export function memoryLinkPair(a: MemoryLinkEnd, b: MemoryLinkEnd, tamper?: Tamper): readonly [MessageLink, MessageLink] {
  const [one, two] = [new End(a), new End(b)]
  one.other = two
  two.other = one
  if (tamper) {
    one.pass = frame => tamper(frame, 0)
    two.pass = frame => tamper(frame, 1)
  }
  return [one, two]
}
