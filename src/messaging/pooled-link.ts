/** A link whose last use is known; what only keeps it alive is no use. */
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { MessageLink } from './link.ts'
import type { EntityId } from './types.ts'

/** Canonical JSON begins with msg_type, unless it has members that nobody knows. */
const QUIET = ['heartbeat', 'ack', 'ping'].map(type => utf8(`{"msg_type":"${type}"`))
const isQuiet = (frame: Uint8Array): boolean => QUIET.some(start => start.every((b, i) => frame[i] === b))

export class PooledLink implements MessageLink {
  readonly #link: MessageLink
  readonly #clock: Pick<Clock, 'monotonic'>
  /** Undefined until the handshake is over. */
  entityId: EntityId | undefined
  readonly openedByUs: boolean
  /** Monotonic ms. */
  usedAt: number
  readonly settled?: NonNullable<MessageLink['settled']>

  constructor(link: MessageLink, clock: Pick<Clock, 'monotonic'>, entityId: EntityId | undefined) {
    this.#link = link
    this.#clock = clock
    this.entityId = entityId
    this.openedByUs = entityId !== undefined
    this.usedAt = clock.monotonic()
    if (link.settled) this.settled = (frame, refusal) => link.settled?.(frame, refusal)
  }

  get via(): MessageLink['via'] {
    return this.#link.via
  }
  get peerId(): string | undefined {
    return this.#link.peerId
  }
  get address(): string | undefined {
    return this.#link.address
  }
  get closed(): AbortSignal {
    return this.#link.closed
  }
  async next(): Promise<Uint8Array | undefined> {
    const frame = await this.#link.next()
    if (frame) this.#use(frame)
    return frame
  }
  send(frame: Uint8Array): Promise<void> {
    this.#use(frame)
    return this.#link.send(frame)
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#link[Symbol.asyncDispose]()
  }

  #use(frame: Uint8Array): void {
    if (!isQuiet(frame)) this.usedAt = this.#clock.monotonic()
  }
}
