/**
 * Which request counters of a ticket were seen. Counters may overtake each other by up to COUNTER_WINDOW (two connections);
 * older ones count as seen. What is remembered lives exactly as long as the ticket: while the ticket book knows it no replay gets in,
 * and once it does not, nobody can show it. So there are as many entries as tickets, and no stranger can use them up.
 */
import type { Ticket } from '../protocol.ts'
import { COUNTER_WINDOW } from './limits.ts'

interface Entry {
  highest: number
  /** Bit i: highest - i was seen. */
  seen: bigint
}

const MASK = (1n << BigInt(COUNTER_WINDOW)) - 1n

export class CounterWindows {
  readonly #entries = new WeakMap<Ticket, Entry>()

  /** Notes a counter of an authenticated request. @param ticket the object that the ticket book holds */
  accept(ticket: Ticket, counter: number): 'new' | 'replayed' {
    const entry = this.#entries.get(ticket)
    if (!entry) {
      this.#entries.set(ticket, { highest: counter, seen: 1n })
      return 'new'
    }
    const ahead = counter - entry.highest
    if (ahead > 0) {
      entry.seen = ahead >= COUNTER_WINDOW ? 1n : ((entry.seen << BigInt(ahead)) | 1n) & MASK
      entry.highest = counter
      return 'new'
    }
    if (-ahead >= COUNTER_WINDOW) return 'replayed'
    const bit = 1n << BigInt(-ahead)
    if ((entry.seen & bit) !== 0n) return 'replayed'
    entry.seen |= bit
    return 'new'
  }
}
