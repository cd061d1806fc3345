/**
 * What a transfer protocol is to the rest of the system: something that opens sources, and something that serves shares.
 * The scheduler knows nothing else about HTTP, BitTorrent or any protocol that comes later.
 *
 * A source fetches a run of chunks straight into slots (fixed 256 KiB pieces of shared memory) and hands each over as soon as
 * it is full. It never decides whether bytes are good: only `verify` does. test/kits/transfer-protocol.ts is the behaviour
 * that every implementation must show.
 */
import type { Range } from '../wire/ranges.ts'
import type { Ed2kNames, V2Digest } from './digests.ts'
import type { Grid } from './grid.ts'

export interface Slot {
  /** Exactly `grid.chunkBytes` long; a chunk fills it from 0. Backed by shared memory. */
  readonly bytes: Uint8Array<SharedArrayBuffer>
}

/** What the scheduler gives a source for one run. */
export interface Delivery {
  readonly grid: Grid
  /** Contiguous chunks, in the order they are to be delivered. */
  readonly run: Range
  /** Asked before each chunk is begun: false when another source took it over; the source then ends the run early. */
  wants(chunk: number): boolean
  /** The slot to fill for a chunk. A promise when all are in use: stop reading from the socket until it resolves. */
  slot(chunk: number): Slot | Promise<Slot>
  /** Says that `n` more bytes have arrived in slots: feeds rates and the stall timer. */
  received(n: number): void
  /** The chunk's slot is full. It belongs to the scheduler now; the source must not touch it again. */
  complete(chunk: number): void
}

/** One way to get chunks of one file from one place. Owned by the scheduler, disposed when it is dropped. */
export interface Source extends AsyncDisposable {
  /** Unique within a download, for logs and the journal: "http 192.0.2.1:8080". Never shown unescaped. */
  readonly key: string
  /** Protocol name as in offers: "http", "bittorrent". */
  readonly protocol: string
  /** Hex instance key of the Kith seeder behind it; undefined for plain mirrors and foreign peers, which are never paid. */
  readonly seeder: string | undefined
  /** How many `fetch` calls may run at once. */
  readonly parallel: number
  /** Longest run it wants in one call, in chunks. */
  readonly maxRun: number
  /** True once it can never bring anything again (its connection ended); the scheduler then drops it. Tell with `onChange`. */
  readonly ended?: boolean
  /** Whether it has this chunk now. */
  has(chunk: number): boolean
  /**
   * Fetches a run. Resolves when every wanted chunk is complete or no longer wanted. Slots that were asked for but not
   * completed are taken back by the scheduler when the promise settles.
   * @throws PAYMENT_REQUIRED (settle, then go on), SOURCE_BUSY (try later), SOURCE_LOST (connection gone),
   *   SOURCE_LIED (broke the protocol: wrong range, too long, not requested), or any KithError
   */
  fetch(delivery: Delivery, signal: AbortSignal): Promise<void>
  /** Calls back when `has` may answer differently (a partial seeder got more). */
  onChange(listener: () => void, signal: AbortSignal): void
}

/** Proves to a seeder who is asking (DESIGN §6): handed out over libp2p, used by HTTP and BitTorrent. */
export interface Ticket {
  /** 16 random bytes. */
  readonly id: Uint8Array
  /** 32 random bytes; the HMAC key. */
  readonly key: Uint8Array
  /** ms since 1970. */
  readonly expiresAt: number
}

/** Where a source can be found. */
export interface Endpoint {
  /** Address at which the seeder was authenticated, or the user's own host; "" when the seeder is only reached through a relay. */
  readonly host: string
  /** libp2p PeerId text of the seeder; undefined for foreign sources. */
  readonly peerId?: string | undefined
  readonly port: number
  /** Offer's protocol-specific bytes (bittorrent: info-hash). */
  readonly extra: Uint8Array
  readonly fileId: Uint8Array
  readonly grid: Grid
  readonly seeder: string | undefined
  readonly ticket: Ticket | undefined
}

/** The downloader's half of a protocol. */
export interface TransferProtocol extends AsyncDisposable {
  readonly name: string
  /** Connects, and returns a source that is ready to fetch. @throws SOURCE_LOST, SOURCE_LIED, FORBIDDEN_ADDRESS */
  openSource(endpoint: Endpoint, signal: AbortSignal): Promise<Source>
}

/** A torrent that others made, as its swarm knows it: peers get this and not a torrent of our own. */
export interface ForeignTorrent {
  /** The info dictionary as it was received. */
  readonly info: Uint8Array
  /** 20 bytes: v1's, or the front of v2's when the torrent has no v1. */
  readonly infoHash: Uint8Array
  /** 32 bytes; undefined without v2. */
  readonly infoHashV2: Uint8Array | undefined
  /** BEP 27: its peers are not told of each other. */
  readonly private: boolean
  /** Trees of its files, as far as they are known: what hash requests (BEP 52) are answered from. */
  readonly trees: readonly FileTree[]
}

/** A file's place in the content of a torrent of v2, and its tree. */
export interface FileTree extends V2Digest {
  /** Piece at which the file begins. */
  readonly firstChunk: number
  /** Bytes of the file. */
  readonly size: number
}

/** A file that this node seeds, as the serving half of a protocol sees it. */
export interface Share {
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly grid: Grid
  /** Display name; protocols put it in headers and metadata, escaped. */
  readonly name: string
  readonly mime: string
  /** wei per MB; 0n is free. */
  readonly pricePerMb: bigint
  /** SHA-1 of every 256 KiB piece, concatenated; undefined when BitTorrent was not asked for. */
  readonly pieces: Uint8Array | undefined
  /** BitTorrent v2's tree; undefined when it was not asked for. */
  readonly v2?: V2Digest | undefined
  /** Set for a torrent that others made, whose pieces may be of any length: it is served as it is. */
  readonly torrent?: ForeignTorrent | undefined
  /** eDonkey's hashes; undefined when ed2k was not asked for. */
  readonly ed2k?: Ed2kNames | undefined
  /** Whether a chunk can be served now (a running download has some). */
  has(chunk: number): boolean
  /**
   * Reads `length` bytes at `offset` into `target` (a part of one or more chunks that `has`).
   * @throws FILE_CHANGED when the file on disk is no longer what was shared; the share ends itself then
   */
  read(offset: number, length: number, target: Uint8Array): Promise<void>
  /** Calls back with each chunk that becomes available. */
  onChunk(listener: (chunk: number) => void, signal: AbortSignal): void
}

/** The shares of this node, looked up by what a request names. */
export interface ShareIndex {
  byFileId(hex: string): Share | undefined
  /** By 20-byte info-hash: v1, or v2 cut to 20 bytes. */
  byInfoHash(hex: string): Share | undefined
  byEd2k?(hex: string): Share | undefined
}

/** Decides whether bytes of a paid file may be served. Given to servers by `transfer/upload-gate.ts`. */
export interface UploadGate {
  /**
   * Asks to serve `bytes` of one chunk. Free files are always served.
   * Waits for the upload limit; the caller aborts `signal` when its connection ends.
   * @returns undefined when served bytes may flow; else why not, in words for the other side (402)
   */
  admit(share: Share, customer: Customer | undefined, chunk: number, bytes: number, signal: AbortSignal): Promise<string | undefined>
  /** Looks a ticket up: the same `ticket` object each time, while it is known. undefined: unknown, expired or for another file. */
  customerOf(ticketId: Uint8Array, share: Share): Customer | undefined
  /** Bytes that left, for figures. */
  sent(protocol: string, bytes: number): void
}

/** Who is asking, as proven by a ticket. */
export interface Customer {
  /** libp2p PeerId text. */
  readonly peerId: string
  /** Hex instance key. */
  readonly instance: string
  /** 20 bytes; zeros when the downloader has no wallet. */
  readonly wallet: Uint8Array
  /** IP address at which the ticket was asked for. */
  readonly address: string
  readonly ticket: Ticket
}
