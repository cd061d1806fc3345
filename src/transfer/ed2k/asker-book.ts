/** Who asked for which file lately, or was found to have it: what source exchange tells others. Bounded; the oldest are forgotten. */
import { bytesToHex } from '../../base/bytes.ts'
import { MAX_KNOWN_ASKERS, MAX_KNOWN_FILES } from './limits.ts'
import { type Ed2kPeer, peerKey } from './peers.ts'

export class AskerBook {
  readonly #files = new Map<string, Map<string, Ed2kPeer>>()

  add(hash: Uint8Array, peer: Ed2kPeer): void {
    const file = bytesToHex(hash)
    const peers = this.#files.get(file) ?? new Map<string, Ed2kPeer>()
    this.#files.delete(file)
    this.#files.set(file, peers)
    if (this.#files.size > MAX_KNOWN_FILES) this.#files.delete(this.#files.keys().next().value!)
    peers.delete(peerKey(peer))
    peers.set(peerKey(peer), peer)
    if (peers.size > MAX_KNOWN_ASKERS) peers.delete(peers.keys().next().value!)
  }

  /** All but the one who asks. */
  of(hash: Uint8Array, asker: string): Ed2kPeer[] {
    return [...(this.#files.get(bytesToHex(hash)) ?? [])].flatMap(([key, peer]) => (key === asker ? [] : [peer]))
  }
}
