/** PeerIds that this node has nothing to do with at the moment: who that is, is asked each time, so that a ban ends when it ends. */

export class RefusedPeers {
  #isRefused: ((peerId: string) => boolean) | undefined

  /** From now on whom `isRefused` names; undefined: nobody. */
  set(isRefused: ((peerId: string) => boolean) | undefined): void {
    this.#isRefused = isRefused
  }

  has(peerId: string): boolean {
    return this.#isRefused?.(peerId) ?? false
  }
}
