/** The sequence numbers that are durable here, as the ranges that an `ack` tells. */
import { MAX_ACK_RANGES } from './limits.ts'

export class AckRanges {
  /** Ascending, never touching each other. */
  #ranges: [number, number][] = []

  /** Numbers mostly come in order, so the end is looked at first. */
  add(sequenceNum: number): void {
    let at = this.#ranges.length
    while (at > 0 && this.#ranges[at - 1]![0] > sequenceNum) at--
    const before = this.#ranges[at - 1]
    const after = this.#ranges[at]
    if (before && sequenceNum <= before[1]) return
    const joinsBefore = before?.[1] === sequenceNum - 1
    const joinsAfter = after?.[0] === sequenceNum + 1
    if (joinsBefore && joinsAfter) {
      before[1] = after[1]
      this.#ranges.splice(at, 1)
    } else if (joinsBefore) before[1] = sequenceNum
    else if (joinsAfter) after[0] = sequenceNum
    else this.#ranges.splice(at, 0, [sequenceNum, sequenceNum])
    if (this.#ranges.length > MAX_ACK_RANGES) this.#ranges.shift()
  }

  /** [first, last] each, ascending; a copy. */
  list(): [number, number][] {
    return this.#ranges.map(([first, last]) => [first, last])
  }
}
