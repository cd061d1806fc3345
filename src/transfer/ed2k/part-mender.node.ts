/**
 * Mends a part whose hash was wrong: recovery data (AICH) from a client that has it tells which of its blocks of 180 KiB are, and only those
 * are fetched again, from somebody else if there is anybody. Spec: docs/wire/ed2k.md §7
 */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { Grid } from '../grid.ts'
import { AICH_BLOCK_BYTES, partLength } from '../hashing/aich.ts'
import { MAX_BAD_CHUNKS } from '../limits.ts'
import type { Source } from '../protocol.ts'
import { MEND_MS, MENDING_SOURCES, RECOVERY_MS } from './limits.ts'
import type { ByteRange } from './parts.ts'
import type { PeerSource } from './source.node.ts'
import { blocksThatDiffer, rightBlocks } from './wrong-blocks.ts'

export interface PartMenderDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly grid: Grid
  /** AICH root, 20 bytes, as the link or the clients say; undefined while it is not known. */
  root(): Uint8Array | undefined
  /** Clients that are connected. */
  sources(): Iterable<PeerSource>
  /** This one sent too much that was wrong; it is dropped. */
  onLiar(source: PeerSource): void
}

export class PartMender {
  readonly #deps: PartMenderDeps
  /** Blocks that a client sent to mend something, and that were wrong again. */
  readonly #bad = new WeakMap<PeerSource, number>()

  constructor(deps: PartMenderDeps) {
    this.#deps = deps
  }

  /**
   * @param bytes what arrived, as long as the part; wrong blocks of it are replaced
   * @param culprit who sent it: asked last
   * @returns true when every block of it is now as the root wants it; false when that cannot be had: it is to be fetched as a whole
   */
  async mend(part: number, bytes: Uint8Array, culprit: Source, signal: AbortSignal): Promise<boolean> {
    const { grid, log } = this.#deps
    const root = this.#deps.root()
    const length = partLength(grid.size, part)
    if (!root || length <= AICH_BLOCK_BYTES) return false
    const right = await this.#blockHashes(root, part, culprit, signal)
    if (!right) return false
    const content = bytes.subarray(0, length)
    let wrong = blocksThatDiffer(part, content, right)
    const isWorth = wrong.length > 0 && wrong.length * 2 <= right.length / 20
    for (const source of isWorth ? this.#asked(culprit, s => s.has(part)) : []) {
      if (signal.aborted || wrong.length === 0) break
      const failure = await this.#within(MEND_MS, signal, s => source.refill(part, bytes, wrong, s))
      const still = blocksThatDiffer(part, content, right)
      // Of what it did not send at all nobody knows how it would have been.
      if (failure === undefined && still.length > 0) this.#blame(source, still)
      wrong = still
    }
    log.debug('a part was mended', { part, blocksLeft: wrong.length, worth: isWorth })
    return isWorth && wrong.length === 0
  }

  async #blockHashes(root: Uint8Array, part: number, culprit: Source, signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (const source of this.#asked(culprit, s => s.mayRecover(root))) {
      if (signal.aborted) return undefined
      let right: Uint8Array | undefined
      await this.#within(RECOVERY_MS, signal, async s => {
        right = rightBlocks(root, this.#deps.grid.size, part, await source.askRecovery(part, root, s))
      })
      if (right) return right
    }
    return undefined
  }

  /** A few that can help; the one that sent the part only after all others. */
  #asked(culprit: Source, can: (source: PeerSource) => boolean): PeerSource[] {
    const able = [...this.#deps.sources()].filter(can)
    return [...able.filter(s => s !== culprit), ...able.filter(s => s === culprit)].slice(0, MENDING_SOURCES)
  }

  /** @returns why it failed */
  async #within(ms: number, signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<unknown> {
    const late = new AbortController()
    const all = AbortSignal.any([signal, late.signal])
    const timer = this.#deps.clock.sleep(ms, all).then(
      () => late.abort(new KithError('SOURCE_STALLED', 'too late')),
      () => {}
    )
    try {
      await work(all)
      return undefined
    } catch (error) {
      return error ?? 'failed'
    } finally {
      late.abort()
      await timer
    }
  }

  #blame(source: PeerSource, wrong: readonly ByteRange[]): void {
    const count = (this.#bad.get(source) ?? 0) + 1
    this.#bad.set(source, count)
    this.#deps.log.debug('blocks to mend a part were wrong, too', { source: source.key, blocks: wrong.length, count })
    if (count < MAX_BAD_CHUNKS) return
    this.#deps.onLiar(source)
    source.drop(new KithError('SOURCE_LIED', `sent ${count} times wrong blocks to mend a part`))
  }
}
