/**
 * Who has a file: asks the finder and the addresses in the link, gets each provider's signed offer, and hands the good ones on, each
 * seeder once. Keeps looking while the download runs, more and more slowly. Hostile answers cost a little time and are noted.
 */

import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { PeerTarget } from '../../net/rpc.ts'
import { MAX_PROVIDERS, PARALLEL_OFFERS } from '../limits.ts'
import { type FetchedOffer, fetchOffer, type OfferDeps } from '../offers.ts'
import type { ProviderFinder } from '../provider-finder.ts'

export interface ProvidersDeps extends OfferDeps {
  readonly finder: ProviderFinder
  readonly log: Logger
}

export interface Wanted {
  readonly fileId: Uint8Array
  /** Offers with another root or size are refused; undefined: whatever the first one says is returned to the caller to judge. */
  readonly root: Uint8Array | undefined
  readonly size: number | undefined
  /** Hex roots that turned out to be false. */
  readonly notRoots?: ReadonlySet<string>
  /** multiaddrs with /p2p/ from the link. */
  readonly via: readonly string[]
}

/**
 * Calls `onOffer` once for every provider with a valid offer, until aborted.
 */
export class Providers {
  readonly #deps: ProvidersDeps
  readonly #wanted: Wanted
  readonly #onOffer: (offer: FetchedOffer) => void
  readonly #onRound: () => void
  readonly #asked = new Set<string>()
  readonly #pending = new Set<Promise<void>>()

  /** @param onRound all who could be found have been asked once, and answered or did not */
  constructor(deps: ProvidersDeps, wanted: Wanted, onOffer: (offer: FetchedOffer) => void, onRound: () => void = () => {}) {
    this.#deps = deps
    this.#wanted = wanted
    this.#onOffer = onOffer
    this.#onRound = onRound
  }

  /** Runs until aborted; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    for (let pauseMs = 1_000; !signal.aborted; pauseMs = Math.min(2 * pauseMs, 30_000)) {
      try {
        for (const via of this.#wanted.via) await this.#consider(targetOf(via), signal)
        for await (const p of this.#deps.finder.find(this.#wanted.fileId, signal)) await this.#consider(p, signal)
        await Promise.all(this.#pending)
        this.#onRound()
        await this.#deps.clock.sleep(pauseMs, signal)
      } catch (error) {
        if (signal.aborted) break
        this.#deps.log.debug('looking for providers failed', { error })
        await this.#deps.clock.sleep(pauseMs, signal).catch(() => {})
      }
    }
    await Promise.allSettled(this.#pending)
  }

  /** Does not ask this provider again: it is in use already. */
  skip(peerId: string): void {
    this.#asked.add(peerId)
  }
  /** Asks this provider again in the next round. */
  retry(peerId: string): void {
    this.#asked.delete(peerId)
  }

  async #consider(target: PeerTarget | undefined, signal: AbortSignal): Promise<void> {
    if (!target || target.peerId === this.#deps.signer.peerId || this.#asked.has(target.peerId) || this.#asked.size >= MAX_PROVIDERS) return
    this.#asked.add(target.peerId)
    while (this.#pending.size >= PARALLEL_OFFERS) await Promise.race(this.#pending)
    const task = this.#ask(target, signal)
    this.#pending.add(task)
    void task.finally(() => this.#pending.delete(task))
  }

  async #ask(target: PeerTarget, signal: AbortSignal): Promise<void> {
    try {
      const fetched = await fetchOffer(this.#deps, target, this.#wanted.fileId, signal)
      const { root, size, notRoots } = this.#wanted
      if (notRoots?.has(bytesToHex(fetched.offer.root))) return
      if ((root && !equalBytes(fetched.offer.root, root)) || (size !== undefined && fetched.offer.size !== size)) {
        this.#deps.log.debug('offer for another content', { peer: target.peerId })
        return
      }
      if (!signal.aborted) this.#onOffer(fetched)
    } catch (error) {
      this.#deps.log.debug('no offer from provider', { peer: target.peerId, error })
      if (codeOf(error) === 'PEER_UNREACHABLE' || codeOf(error) === 'PEER_TIMEOUT' || codeOf(error) === 'RATE_LIMITED')
        this.#asked.delete(target.peerId)
    }
  }
}

/** A multiaddr with /p2p/ at its end to a target; undefined when it names no peer. */
export function targetOf(multiaddr: string): PeerTarget | undefined {
  const m = /\/p2p\/([1-9A-HJ-NP-Za-km-z]{20,90})$/.exec(multiaddr)
  return m ? { peerId: m[1]!, addresses: [multiaddr] } : undefined
}
