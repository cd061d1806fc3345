/**
 * One handshake on a link that carries a session already: what belongs to it is taken out of the stream of frames and given here, and the
 * link is not read on until that has been acted on. So every frame before the change of sessions is of the old one, every frame behind it
 * of the new one.
 */
import type { MessageLink } from '../link.ts'

/** Canonical JSON begins with msg_type. */
const START = new TextEncoder().encode('{"msg_type":"handshake')

export type GreetingStep = 'handshake' | 'handshake_ack' | 'handshake_confirm'

/** Which message of a handshake a frame is; undefined: none. Costs a glance at most frames. */
export function greetingStep(frame: Uint8Array): GreetingStep | undefined {
  if (frame[START.length - 1] !== START[START.length - 1] || !START.every((b, i) => frame[i] === b)) return undefined
  const rest = String.fromCharCode(...frame.subarray(START.length, START.length + 9))
  return rest.startsWith('"')
    ? 'handshake'
    : rest.startsWith('_ack"')
      ? 'handshake_ack'
      : rest === '_confirm"'
        ? 'handshake_confirm'
        : undefined
}

/** The link as the handshake sees it. Disposing it ends the handshake, not the link. */
export class GreetingLink implements MessageLink {
  readonly via: MessageLink['via']
  readonly peerId: string | undefined
  readonly address: string | undefined
  readonly closed: AbortSignal
  readonly settled?: NonNullable<MessageLink['settled']>
  readonly #link: MessageLink
  readonly #over = new AbortController()
  #frame: Uint8Array | undefined
  #reader: ((frame: Uint8Array | undefined) => void) | undefined
  #done: (() => void) | undefined

  constructor(link: MessageLink) {
    this.#link = link
    this.via = link.via
    this.peerId = link.peerId
    this.address = link.address
    this.closed = this.#over.signal
    if (link.settled) this.settled = (frame, refusal) => link.settled?.(frame, refusal)
  }

  /** Gives a frame. Resolves when the next one is waited for, or the handshake is over. */
  give(frame: Uint8Array): Promise<void> {
    if (this.closed.aborted) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#done = resolve
    const reader = this.#reader
    this.#reader = undefined
    if (reader) reader(frame)
    else this.#frame = frame
    return promise
  }

  next(): Promise<Uint8Array | undefined> {
    const frame = this.#frame
    this.#frame = undefined
    if (frame || this.closed.aborted) return Promise.resolve(frame)
    this.#done?.()
    return new Promise(resolve => (this.#reader = resolve))
  }

  send(frame: Uint8Array): Promise<void> {
    return this.#link.send(frame)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort()
    this.#reader?.(undefined)
    this.#done?.()
    return Promise.resolve()
  }
}
