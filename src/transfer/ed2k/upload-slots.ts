/**
 * Who is served now and who waits: at most 64 clients at once, three of one address, the others in the order they came. While nobody
 * waits a turn has no end; else it ends after 10 MiB, an hour, or a minute of silence, and the client goes to the end of the queue. Pure.
 */
import type { Clock } from '../../base/clock.ts'
import {
  BAN_MS,
  MAX_BANS,
  MAX_RUDE_ASKS,
  MAX_WAITING,
  MAX_WAITING_PER_ADDRESS,
  MIN_REASK_MS,
  SLOT_IDLE_MS,
  SLOTS_PER_ADDRESS,
  TURN_BYTES,
  TURN_MS,
  UPLOAD_SLOTS,
  WAIT_MS
} from './limits.ts'

/** A client that wants to be served, whether it is connected or not. */
export interface SlotClient {
  /** One for each place in the queue. */
  readonly key: string
  /** Who it says it is: what a ban goes by, with its address. */
  readonly who: string
  readonly address: string
  /** Programs on this machine share one address: they are not counted. */
  readonly exempt: boolean
  /** Its turn has come, some time after it asked. */
  begin(): void
  /** Its turn is over; it is at the end of the queue. */
  end(): void
}

interface Slot {
  readonly sinceMs: number
  lastUseMs: number
  bytes: number
}

interface Entry {
  client: SlotClient
  slot: Slot | undefined
  /** When it asked last. */
  askedMs: number
  /** When it was last heard of: asked, or lost its slot. */
  seenMs: number
  rude: number
}

export interface SlotOptions {
  readonly slots?: number
}

export class UploadSlots {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #slots: number
  /** Waiting ones in their order; those with a slot are anywhere. */
  readonly #entries = new Map<string, Entry>()
  readonly #bannedUntilMs = new Map<string, number>()

  constructor(clock: Pick<Clock, 'monotonic'>, options: SlotOptions = {}) {
    this.#clock = clock
    this.#slots = options.slots ?? UPLOAD_SLOTS
  }

  get served(): number {
    return [...this.#entries.values()].filter(e => e.slot).length
  }
  get waiting(): number {
    return this.#entries.size - this.served
  }
  stateOf(client: SlotClient): 'served' | 'waiting' | undefined {
    const entry = this.#entries.get(client.key)
    return entry?.client === client ? (entry.slot ? 'served' : 'waiting') : undefined
  }

  /**
   * Asks for a slot.
   * @returns 0: it has one now; else its place in the queue; undefined: it is not answered
   */
  ask(client: SlotClient): number | undefined {
    const now = this.#clock.monotonic()
    if ((this.#bannedUntilMs.get(banKey(client)) ?? 0) > now) return undefined
    const known = this.#entries.get(client.key)
    if (known) {
      known.client = client
      if (known.slot) return 0
      known.rude = now - known.askedMs < MIN_REASK_MS ? known.rude + 1 : Math.max(0, known.rude - 1)
      known.askedMs = now
      known.seenMs = now
      if (known.rude > MAX_RUDE_ASKS) {
        this.#ban(client, now)
        return undefined
      }
      return this.#rank(known)
    }
    const entry: Entry = { client, slot: undefined, askedMs: now, seenMs: now, rude: 0 }
    if (this.waiting === 0 && this.#fits(client)) {
      this.#entries.set(client.key, entry)
      entry.slot = { sinceMs: now, lastUseMs: now, bytes: 0 }
      return 0
    }
    const alike = [...this.#entries.values()].filter(e => !e.slot && e.client.address === client.address).length
    const isFull = this.waiting >= MAX_WAITING || (!client.exempt && alike >= MAX_WAITING_PER_ADDRESS)
    if (isFull) return this.waiting + 1
    this.#entries.set(client.key, entry)
    this.#fill(now, entry)
    return entry.slot ? 0 : this.#rank(entry)
  }

  /** The client left, its slot or place is free. Only if it is still this one that has it. */
  leave(client: SlotClient): void {
    const entry = this.#entries.get(client.key)
    if (entry?.client !== client) return
    this.#entries.delete(client.key)
    this.#fill(this.#clock.monotonic())
  }

  /** A request came, or bytes left. @returns false when that was the end of its turn: `end` was not called */
  used(client: SlotClient, bytes: number): boolean {
    const entry = this.#entries.get(client.key)
    if (!entry?.slot || entry.client !== client) return false
    entry.slot.lastUseMs = this.#clock.monotonic()
    entry.slot.bytes += bytes
    if (entry.slot.bytes < TURN_BYTES || this.waiting === 0) return true
    this.#requeue(entry, entry.slot.lastUseMs)
    return entry.slot !== undefined
  }

  /** Now and then: ends turns that lasted too long, and forgets who does not come back. */
  lookOver(): void {
    const now = this.#clock.monotonic()
    for (const [key, entry] of this.#entries) if (!entry.slot && now - entry.seenMs > WAIT_MS) this.#entries.delete(key)
    for (const [key, until] of this.#bannedUntilMs) if (until <= now) this.#bannedUntilMs.delete(key)
    if (this.waiting === 0) return
    for (const entry of [...this.#entries.values()]) {
      const { slot } = entry
      if (!slot || (now - slot.sinceMs < TURN_MS && now - slot.lastUseMs < SLOT_IDLE_MS)) continue
      this.#requeue(entry, now)
      if (!entry.slot) entry.client.end()
    }
  }

  #rank(entry: Entry): number {
    let rank = 1
    for (const e of this.#entries.values()) {
      if (e === entry) return rank
      if (!e.slot) rank++
    }
    return rank
  }

  #fits(client: SlotClient): boolean {
    let alike = 0
    let served = 0
    for (const e of this.#entries.values()) {
      if (!e.slot) continue
      served++
      if (e.client.address === client.address) alike++
    }
    return served < this.#slots && (client.exempt || alike < SLOTS_PER_ADDRESS)
  }

  /** Gives free slots to those who wait longest; `asking` hears of it from `ask`. */
  #fill(now: number, asking?: Entry): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.slot || !this.#fits(entry.client)) continue
      entry.slot = { sinceMs: now, lastUseMs: now, bytes: 0 }
      if (entry !== asking) entry.client.begin()
    }
  }

  /** To the end of the queue, where it gets a slot again at once if all before it are of addresses that have theirs. */
  #requeue(entry: Entry, now: number): void {
    const { key } = entry.client
    entry.slot = undefined
    entry.seenMs = now
    entry.askedMs = Number.NEGATIVE_INFINITY // asking at once is no rudeness
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    this.#fill(now, entry)
  }

  #ban(client: SlotClient, now: number): void {
    this.#entries.delete(client.key)
    if (this.#bannedUntilMs.size >= MAX_BANS) this.#bannedUntilMs.delete(this.#bannedUntilMs.keys().next().value!)
    this.#bannedUntilMs.set(banKey(client), now + BAN_MS)
  }
}

const banKey = (c: SlotClient): string => `${c.address} ${c.who}`
