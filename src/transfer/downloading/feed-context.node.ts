/** What the feed of a plan may use of the download that runs it (../plan.node.ts: FeedContext). */
import { MAX_SOURCES } from '../limits.ts'
import type { FetchedOffer } from '../offers.ts'
import type { FeedContext } from '../plan.node.ts'
import type { Source } from '../protocol.ts'
import type { Scheduler } from '../scheduling/scheduler.ts'
import type { Account, Paying } from './paying.node.ts'

/** Those who want to hear of sources that were dropped, or are slow. */
export class SourceEvents {
  readonly #dropListeners: ((source: Source, code: string) => void)[] = []
  readonly #slowListeners: ((source: Source) => void)[] = []

  onDropped(listener: (source: Source, code: string) => void): void {
    this.#dropListeners.push(listener)
  }
  onSlow(listener: (source: Source) => void): void {
    this.#slowListeners.push(listener)
  }
  dropped(source: Source, code: string): void {
    for (const listen of this.#dropListeners) listen(source, code)
  }
  slow(source: Source): void {
    for (const listen of this.#slowListeners) listen(source)
  }
}

export interface FeedParts extends Account {
  readonly scheduler: Scheduler
  readonly paying: Paying
  readonly events: SourceEvents
  bytesLeft(): number
  /** A source is about to be used. */
  onAdded(source: Source, offer: FetchedOffer | undefined): void
  note(text: string): void
}

export function feedContext(parts: FeedParts): FeedContext {
  const { scheduler, plan, bill, paying, events } = parts
  return {
    grid: plan.grid,
    bytesLeft: () => parts.bytesLeft(),
    wantsMore: () => scheduler.sourceCount < MAX_SOURCES && scheduler.chunksLeft > 0,
    add: (source, offer) => {
      if (scheduler.sourceCount >= MAX_SOURCES || scheduler.chunksLeft === 0) return false
      parts.onAdded(source, offer)
      scheduler.add(source)
      return true
    },
    admit: offer => paying.admit({ plan, bill }, offer),
    note: text => parts.note(text),
    statsOf: source => scheduler.statsOf(source),
    retire: (source, note) => scheduler.retire(source, note),
    onDropped: listener => events.onDropped(listener),
    onSlow: listener => events.onSlow(listener)
  }
}
