/**
 * Which AICH root a file has when its link does not say. Clients name one; it is taken when at least two addresses named it and nine of ten
 * agree. It only says what to fetch again: whether a part is right is still for its MD4 to say. Pure.
 */
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { MAX_AICH_VOTERS, MIN_AICH_VOTES } from './limits.ts'

export class AichVotes {
  /** Root in hex, by address. */
  readonly #votes = new Map<string, string>()

  /** @param address one vote for each; the last counts @param root 20 bytes */
  add(address: string, root: Uint8Array): void {
    if (this.#votes.size < MAX_AICH_VOTERS || this.#votes.has(address)) this.#votes.set(address, bytesToHex(root))
  }

  get agreed(): Uint8Array | undefined {
    const counts = new Map<string, number>()
    for (const root of this.#votes.values()) counts.set(root, (counts.get(root) ?? 0) + 1)
    for (const [root, n] of counts) if (n >= MIN_AICH_VOTES && n >= 0.9 * this.#votes.size) return hexToBytes(root)
    return undefined
  }
}
