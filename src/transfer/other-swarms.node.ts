/** The swarms of other programs beside the Kith seeders of a download. */
import { bytesToHex } from '../base/bytes.ts'
import type { Logger } from '../base/log.ts'
import { MAX_OTHER_HASHES_BYTES, MAX_OTHER_SWARMS } from './limits.ts'
import type { FetchedOffer } from './offers.ts'
import type { FeedContext } from './plan.node.ts'

/** Peers of other programs that have the same file, over a protocol that names it by a hash in an offer: fetched from beside the seeders. */
export interface OtherSwarm {
  /** As in offers: "bittorrent", "webtorrent", "ed2k". */
  readonly protocol: string
  /** Joins them; their sources come to `add`, and are never paid. `extra` is an offer's: info-hash or ed2k hash; any bytes, check it. */
  open(extra: Uint8Array, context: FeedContext): AsyncDisposable
}

export interface OthersDeps {
  readonly others?: readonly OtherSwarm[] | undefined
  readonly log: Logger
}

/** The swarms of other programs that offers name, each joined once. A false offer may name any, so there are only a few. */
export class Others implements AsyncDisposable {
  readonly #deps: OthersDeps
  readonly #context: FeedContext
  readonly #stack = new AsyncDisposableStack()
  readonly #joined = new Map<OtherSwarm, Set<string>>()

  constructor(deps: OthersDeps, context: FeedContext) {
    this.#deps = deps
    this.#context = context
  }

  join({ offer, peerId }: Pick<FetchedOffer, 'peerId'> & { readonly offer: Pick<FetchedOffer['offer'], 'protocols'> }): void {
    for (const swarm of this.#deps.others ?? []) {
      const extra = offer.protocols.find(p => p.name === swarm.protocol)?.extra
      const joined = this.#joined.get(swarm) ?? new Set()
      this.#joined.set(swarm, joined)
      if (!extra?.length || extra.length > MAX_OTHER_HASHES_BYTES || joined.has(bytesToHex(extra)) || joined.size >= MAX_OTHER_SWARMS)
        continue
      joined.add(bytesToHex(extra))
      try {
        this.#stack.use(swarm.open(extra, this.#context))
      } catch (error) {
        this.#deps.log.debug('a swarm was not joined', { peer: peerId, protocol: swarm.protocol, error })
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}
