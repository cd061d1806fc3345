/**
 * What a download needs to know before the first chunk, whatever the address was: the grid, the hashes that decide, and a feed that
 * brings sources while it runs. `plan-kith`, `plan-url` and `plan-torrent` make one.
 */
import type { Ed2kNames } from './digests.ts'
import type { ChunkHashes } from './disk/chunk-verifier.node.ts'
import type { Grid } from './grid.ts'
import type { FetchedOffer } from './offers.ts'
import type { PartHeader } from './part-file.node.ts'
import type { ForeignTorrent, Source } from './protocol.ts'
import type { SourceStats } from './source-entry.ts'

export interface Plan {
  /** Short, safe and unique for the content: names the part file. */
  readonly stem: string
  readonly header: PartHeader
  readonly grid: Grid
  readonly hashes: ChunkHashes
  /** Display name as published; made safe before it touches the disk. */
  readonly name: string
  readonly mime: string
  /** SHA-256 the finished file must have; undefined when only the chunk hashes decide (a foreign torrent) or nothing does. */
  readonly fileId: Uint8Array | undefined
  /** Merkle root; undefined for foreign torrents and plain URLs. */
  readonly root: Uint8Array | undefined
  /** SHA-256 of each chunk, for serving the hash list on; undefined for foreign content. */
  readonly chunkHashes: Uint8Array | undefined
  /** False while the root is only a seeder's proposal (a bare file id): nothing is paid before the whole file matched. */
  readonly rootIsTrusted: boolean
  /** A torrent with several files: where each lies in the concatenated content. */
  readonly files: readonly { readonly path: readonly string[]; readonly offset: number; readonly length: number }[] | undefined
  /** A torrent by its own hash: its swarm gets the pieces that are there already. `file` makes its .torrent, for seeding it later. */
  readonly torrent?: ForeignTorrent & {
    readonly pieces: Uint8Array | undefined
    /** Subset of bittorrent, webtorrent: where it may be served. */
    readonly over: readonly string[]
    file(): Uint8Array
  }
  /** An ed2k link: other clients get the parts that are there already. `announce` tells servers and Kad so, until disposed. */
  readonly ed2k?: Ed2kNames & { announce?(): AsyncDisposable }
  /**
   * A chunk that `source` brought is wrong: replaces what is wrong in `bytes`, the chunk from its start, if the protocol can tell that.
   * @returns true when something was replaced, and it is to be checked again
   */
  mend?(chunk: number, bytes: Uint8Array, source: Source): Promise<boolean>
  /** Brings sources until aborted. Never throws. */
  feed(context: FeedContext, signal: AbortSignal): Promise<void>
}

/** What a feed may use of the download. */
export interface FeedContext {
  readonly grid: Grid
  /** Bytes of the file that are not verified yet. */
  bytesLeft(): number
  /** Whether another source would be taken. */
  wantsMore(): boolean
  /** Hands a source over; false when it is not wanted any more. */
  add(source: Source, offer?: FetchedOffer): boolean
  /** Asks the bill before anything is opened. @throws PAYMENTS_OFF, OVER_BUDGET, WRONG_CHAIN, INVALID_ADDRESS */
  admit(offer: FetchedOffer): void
  /** One line for the user: why nothing comes, who was refused. */
  note(text: string): void
  /** What a source has brought so far, and how fast; undefined when it is not known. */
  statsOf(source: Source): SourceStats | undefined
  /** Takes a source out without blame: closed when what it has under way has arrived. `onDropped` is not called. */
  retire(source: Source, note: string): Promise<void>
  /** Calls back when a source was dropped, with its error code. */
  onDropped(listener: (source: Source, code: string) => void): void
  /** Calls back when a source brings little although it could; once for each. */
  onSlow(listener: (source: Source) => void): void
}
