/** A source of a Kith seeder: what its protocol can do, limited to the chunks its offer says it has. */
import { equalBytes } from '../base/bytes.ts'
import { inRanges, type Range } from '../wire/ranges.ts'
import type { FetchedOffer } from './offers.ts'
import type { Delivery, Source } from './protocol.ts'

export class OfferedSource implements Source {
  readonly key: string
  readonly protocol: string
  readonly seeder: string
  readonly parallel: number
  readonly maxRun: number
  readonly peerId: string
  readonly pricePerMb: bigint
  readonly #inner: Source
  readonly #listeners = new Set<() => void>()
  /** undefined: everything. Kept as ranges: a set would let an offer claim memory. */
  #have: readonly Range[] | undefined
  #sequence: number
  readonly #root: Uint8Array

  constructor(inner: Source, offer: FetchedOffer) {
    this.#inner = inner
    this.key = inner.key
    this.protocol = inner.protocol
    this.parallel = inner.parallel
    this.maxRun = inner.maxRun
    this.seeder = offer.seeder
    this.peerId = offer.peerId
    this.pricePerMb = offer.offer.pricePerMb
    this.#have = offer.offer.chunks
    this.#sequence = offer.offer.sequence
    this.#root = offer.offer.root
  }

  /** Whether it is a partial seeder whose offer may name more chunks later. */
  get isPartial(): boolean {
    return this.#have !== undefined
  }
  get ended(): boolean {
    return this.#inner.ended === true
  }
  has(chunk: number): boolean {
    return (this.#have === undefined || inRanges(this.#have, chunk)) && this.#inner.has(chunk)
  }
  fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    return this.#inner.fetch(delivery, signal)
  }
  onChange(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true })
    this.#inner.onChange(listener, signal)
  }
  /** Takes the chunks of a newer offer of the same seeder for the same content; an older one is a replay and says nothing. */
  renew(offer: FetchedOffer): void {
    if (offer.seeder !== this.seeder || offer.offer.sequence <= this.#sequence || !equalBytes(offer.offer.root, this.#root)) return
    this.#sequence = offer.offer.sequence
    this.#have = offer.offer.chunks
    for (const listener of this.#listeners) listener()
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }
}
