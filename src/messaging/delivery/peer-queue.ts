/**
 * What waits for one recipient, in the order in which it is to be sent. Each lane keeps its first messages in memory; the rest stays on disk
 * and is read when there is room, so that a long queue costs no memory.
 */
import type { Priority } from '../../wire/message-types.ts'
import { LANE_BODY_BYTES, LANE_MESSAGES } from '../limits.ts'
import type { WaitingMessage } from '../store.ts'
import { LANES, laneOf, laneOrder } from './priorities.ts'

/** Reads what waits on disk behind `after`. */
export type ReadWaiting = (lane: Priority, after: number, limit: number) => WaitingMessage[]

class Lane {
  /** In memory, by seq; the first `taken` are out. */
  items: WaitingMessage[] = []
  taken = 0
  bytes = 0
  /** seq of the last message that is or was in memory. */
  readTo = 0
  hasMore = true

  get size(): number {
    return this.items.length - this.taken
  }
  get hasRoom(): boolean {
    return this.size < LANE_MESSAGES && this.bytes < LANE_BODY_BYTES
  }
  add(item: WaitingMessage): void {
    this.items.push(item)
    this.bytes += item.bytes
    this.readTo = item.seq
  }
  shift(): WaitingMessage {
    const item = this.items[this.taken++]!
    this.bytes -= item.bytes
    if (this.taken > 64 && this.taken * 2 > this.items.length) {
      this.items = this.items.slice(this.taken)
      this.taken = 0
    }
    return item
  }
  /** Puts back what was taken, at its place. */
  putBack(items: readonly WaitingMessage[]): void {
    this.items = [...items, ...this.items.slice(this.taken)].sort((a, b) => a.seq - b.seq)
    this.taken = 0
    for (const i of items) this.bytes += i.bytes
  }
}

export class PeerQueue {
  readonly #read: ReadWaiting
  readonly #lanes = LANES.map(() => new Lane())
  /** Ended while they were in memory: not to be sent any more. */
  readonly #gone = new Set<string>()
  #turn = 0

  /** A new queue reads from disk whatever waits there. */
  constructor(read: ReadWaiting) {
    this.#read = read
  }

  /** A message that is on disk now, behind all others of its lane. */
  push(message: WaitingMessage): void {
    const lane = this.#lanes[laneOf(message.priority)]!
    // It was read from disk already, with others of its transaction.
    if (message.seq <= lane.readTo) return
    if (!lane.hasMore && lane.hasRoom) lane.add(message)
    else lane.hasMore = true
  }

  /** The next message, without taking it; undefined when nothing waits. */
  peek(): WaitingMessage | undefined {
    const lane = this.#next()
    return lane?.items[lane.taken]
  }
  take(): WaitingMessage | undefined {
    const lane = this.#next()
    if (!lane) return undefined
    this.#turn++
    return lane.shift()
  }

  /** Messages that were taken and have to wait again. */
  putBack(messages: readonly WaitingMessage[]): void {
    for (const [i, lane] of this.#lanes.entries()) {
      const own = messages.filter(m => laneOf(m.priority) === i)
      if (own.length > 0) lane.putBack(own)
    }
  }

  /** A message was delivered otherwise, expired or was taken back. */
  drop(id: string): void {
    const isHere = this.#lanes.some(lane => lane.items.some((m, i) => i >= lane.taken && m.id === id))
    if (isHere) this.#gone.add(id)
  }

  get isEmpty(): boolean {
    return this.#next() === undefined
  }

  #next(): Lane | undefined {
    for (const i of laneOrder(this.#turn)) {
      const lane = this.#lanes[i]!
      this.#fill(lane, LANES[i]!)
      if (lane.size > 0) return lane
    }
    return undefined
  }

  #fill(lane: Lane, priority: Priority): void {
    for (;;) {
      while (lane.size > 0 && this.#gone.delete(lane.items[lane.taken]!.id)) lane.shift()
      if (lane.size > 0 || !lane.hasMore) return
      const found = this.#read(priority, lane.readTo, LANE_MESSAGES)
      let n = 0
      for (; n < found.length && lane.hasRoom; n++) lane.add(found[n]!)
      lane.hasMore = n < found.length || found.length === LANE_MESSAGES
      if (found.length === 0) return
    }
  }
}
