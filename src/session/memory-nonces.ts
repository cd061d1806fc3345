/** A NonceStore that ends with the process: for tests, and where nothing is kept (a browser in private mode). */
import type { NonceStore } from './replay-window.ts'

interface Sender {
  readonly nonces: Set<string>
  /** By date, lowest first. */
  readonly byDate: { readonly timestamp: number; readonly nonce: string }[]
  mark: number
}

export class MemoryNonces implements NonceStore {
  readonly isDurable: boolean
  readonly #senders = new Map<string, Sender>()

  /** @param isDurable true for a test that keeps the object over a restart */
  constructor(isDurable = false) {
    this.isDurable = isDurable
  }

  has(sender: string, nonce: string): boolean {
    return this.#senders.get(sender)?.nonces.has(nonce) ?? false
  }
  count(sender: string): number {
    return this.#senders.get(sender)?.nonces.size ?? 0
  }
  senders(): number {
    return this.#senders.size
  }
  add(sender: string, nonce: string, timestamp: number): void {
    const s = this.#open(sender)
    let at = s.byDate.length
    while (at > 0 && s.byDate[at - 1]!.timestamp > timestamp) at--
    s.byDate.splice(at, 0, { timestamp, nonce })
    s.nonces.add(nonce)
  }
  removeOldest(sender: string): number | undefined {
    const s = this.#senders.get(sender)
    const oldest = s?.byDate.shift()
    if (oldest) s?.nonces.delete(oldest.nonce)
    return oldest?.timestamp
  }
  markOf(sender: string): number {
    return this.#senders.get(sender)?.mark ?? 0
  }
  setMark(sender: string, timestamp: number): void {
    this.#open(sender).mark = timestamp
  }
  prune(timestamp: number): void {
    for (const [sender, s] of this.#senders) {
      while (s.byDate[0] && s.byDate[0].timestamp < timestamp) s.nonces.delete(s.byDate.shift()!.nonce)
      if (s.nonces.size === 0 && s.mark < timestamp) this.#senders.delete(sender)
    }
  }

  #open(sender: string): Sender {
    let s = this.#senders.get(sender)
    if (!s) this.#senders.set(sender, (s = { nonces: new Set(), byDate: [], mark: 0 }))
    return s
  }
}
