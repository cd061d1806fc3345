/** Which messages were seen: bounded, and forgetting only what the clock window refuses anyway, unless there are too many. */
import { MAX_SEEN_MESSAGES } from '../limits.ts'

export class SeenMessages {
  /** Key, and when it may be forgotten: in the order they came. */
  readonly #until = new Map<string, number>()

  has(from: string, id: string): boolean {
    return this.#until.has(`${from} ${id}`)
  }
  /** @returns false when it was seen before */
  add(from: string, id: string, now: number, until: number): boolean {
    const key = `${from} ${id}`
    if (this.#until.has(key)) return false
    for (const [old, end] of this.#until) {
      if (end > now && this.#until.size < MAX_SEEN_MESSAGES) break
      this.#until.delete(old)
    }
    this.#until.set(key, until)
    return true
  }
}
