/**
 * What a running node offers to the API, the CLI and tests. Every view is plain JSON (amounts are wei as decimal strings, bytes are
 * hex, times are ms since 1970), so that the same value goes through the API unchanged.
 */

import type { AskEvent, AskService } from './ask-types.ts'

export interface KithNode extends AsyncDisposable {
  readonly events: {
    /** Calls back with every event until the signal aborts. Progress is emitted at most four times a second per transfer. */
    on(listener: (event: NodeEvent) => void, signal?: AbortSignal): () => void
  }
  info(): NodeInfo
  status(): Promise<StatusView>
  /** Hashes a file (unless it is known and unchanged) and seeds it. @throws FILE_NOT_FOUND, NOT_A_FILE, FILE_EMPTY, BAD_PRICE, PAYMENTS_OFF */
  share(request: ShareRequest, signal?: AbortSignal): Promise<ShareView>
  shares(): ShareView[]
  /**
   * What is known about a file before fetching it: who has it, over which protocols, at what price, in the shape of spec 004's DHT answer.
   * @throws BAD_LINK, NO_SOURCES
   */
  inspect(address: string, signal?: AbortSignal): Promise<FileInfo>
  /** Stops seeding by file id (hex or CID) or link; the file is not touched. @throws UNKNOWN_SHARE */
  unshare(id: string): Promise<ShareView>
  /** Torrents of others that are seeded on. */
  torrents(): TorrentView[]
  /** Stops seeding a torrent by info-hash (hex) or magnet link; its files are not touched. @throws UNKNOWN_SHARE, BAD_LINK, BAD_MAGNET */
  dropTorrent(id: string): Promise<TorrentView>
  /** Starts (or resumes) a download and returns at once. @throws BAD_LINK, PATH_FORBIDDEN, DOWNLOAD_RUNNING */
  get(request: GetRequest): Promise<DownloadView>
  downloads(): DownloadView[]
  download(id: string): DownloadView | undefined
  /** Stops a download; what arrived stays on disk for the next `get`. @throws UNKNOWN_DOWNLOAD */
  cancel(id: string): Promise<void>
  readonly wallet: WalletService
  /** Messages, peers, groups and tasks. */
  readonly ask: AskService
  /** Manual settlement of everything queued. */
  settleAll(): Promise<SettlementReport[]>
}

/** Wallet as the CLI sees it. Secrets go in and out only here, never through events or logs. */
export interface WalletService {
  view(): Promise<WalletView>
  /** Creates a wallet from the recovery phrase of this home (or a new phrase). @throws WALLET_EXISTS */
  create(request: { readonly phrase?: string; readonly passphrase?: string }): Promise<WalletView & { readonly phrase?: string }>
  /** Transfers coin. @throws LOW_FUNDS, INVALID_ADDRESS, PAYMENT_FAILED */
  send(to: string, wei: string): Promise<{ readonly tx: string }>
  receipts(): Promise<ReceiptView[]>
  /** A transfer proof (spec 004) for one receipt, as JSON that a third party can check alone. @throws UNKNOWN_RECEIPT */
  proof(receiptId: string): Promise<Record<string, unknown>>
}

export interface NodeInfo {
  readonly version: string
  readonly home: string
  readonly peerId: string
  /** multiaddrs others can dial, with /p2p/ at the end. */
  readonly addresses: readonly string[]
  readonly startedAt: number
}

export interface ShareRequest {
  /** Absolute path of a regular file. */
  readonly path: string
  readonly name?: string
  /** wei per MB, decimal. "0" or absent: free. */
  readonly pricePerMb?: string
  /** Subset of http, https, bittorrent, webtorrent, ed2k, kith; by default what fits this node's reachability. */
  readonly protocols?: readonly string[]
  /** Store and offer only ciphertext: the key is in the link's fragment, or made from the passphrase. */
  readonly encrypt?: boolean
  readonly passphrase?: string
  /** BitTorrent trackers to announce to; none by default. */
  readonly trackers?: readonly string[]
  /** Bytes per second over all uploads of this share. */
  readonly uploadLimit?: number
  /** Unpaid bytes that strangers may take of this share; default 1 MiB. */
  readonly creditBytes?: number
  /** By this node itself, for a message or a task: another share than the user's own of the same file. Only with `encrypt`, and not over the API. */
  readonly lent?: boolean
  /** By this node itself, for a file that came by ed2k: protocols beside those that fit. Not over the API. */
  readonly also?: readonly string[]
}

export interface ShareView {
  readonly fileId: string
  readonly cid: string
  readonly root: string
  readonly name: string
  readonly path: string
  readonly size: number
  readonly pricePerMb: string
  readonly protocols: readonly string[]
  readonly state: 'seeding' | 'hashing' | 'changed' | 'missing' | 'stopped'
  readonly link: string
  readonly magnet: string | undefined
  readonly infoHash: string | undefined
  readonly infoHashV2: string | undefined
  /** ed2k:// link. */
  readonly ed2k: string | undefined
  readonly encrypted: boolean
  /** Shared by this node for a message or a task, and taken back when that is over. */
  readonly lent: boolean
  readonly torrentPath: string | undefined
  /** The same torrent without BitTorrent v2: aria2 and Transmission 3 cannot read a hybrid. */
  readonly plainMagnet: string | undefined
  readonly plainTorrentPath: string | undefined
  readonly httpUrls: readonly string[]
  readonly uploadedBytes: number
  readonly addedAt: number
}

/** A torrent that others made and that is seeded on to its own swarm. */
export interface TorrentView {
  /** 20 bytes: v1's, or the front of v2's. */
  readonly infoHash: string
  readonly infoHashV2: string | undefined
  readonly name: string
  /** Of the file or folder. */
  readonly path: string
  readonly size: number
  /** With bytes. */
  readonly files: number
  readonly protocols: readonly string[]
  readonly state: 'seeding' | 'changed' | 'missing' | 'stopped'
  readonly magnet: string
  readonly torrentPath: string
  readonly uploadedBytes: number
  readonly addedAt: number
}

export interface GetRequest {
  /** Link, file id (hex), CID, magnet, path of a .torrent file, or http(s) URL. */
  readonly address: string
  /** Absolute folder to put the file in. */
  readonly folder: string
  /** Most this download may cost, wei, decimal. Absent: the configured budget. "0": free sources only. */
  readonly maxCostWei?: string
  readonly seed?: boolean
  /** Only these protocols. */
  readonly protocols?: readonly string[]
  /** Tried first where a seeder offers several. */
  readonly prefer?: string
  /** Bytes per second. */
  readonly limit?: number
  /** In order from the front, for watching while it comes. */
  readonly sequential?: boolean
  /** For a link that was made with a passphrase. */
  readonly passphrase?: string
  /** BitTorrent peers ("host:port") to ask as well: also for kith: links, when a seeder offers BitTorrent. */
  readonly peers?: readonly string[]
  /** BitTorrent trackers to ask as well. */
  readonly trackers?: readonly string[]
  /** The address was named by a peer, not by the user: what is in it opens no way into this machine or the local network. */
  readonly isFromPeer?: boolean
}

export interface DownloadView {
  readonly id: string
  readonly address: string
  readonly state: 'finding' | 'fetching' | 'waiting' | 'checking' | 'settling' | 'done' | 'failed' | 'cancelled'
  /** In plain words: what it is doing or waiting for. */
  readonly message: string
  readonly fileId: string | undefined
  readonly name: string | undefined
  readonly size: number | undefined
  readonly path: string | undefined
  readonly receivedBytes: number
  readonly verifiedBytes: number
  /** Verified bytes that an earlier run had already brought. */
  readonly resumedBytes: number
  /** Bytes per second over the last seconds. */
  readonly rate: number
  readonly etaSeconds: number | undefined
  readonly chunkCount: number
  readonly chunksDone: number
  readonly sources: readonly SourceView[]
  readonly owedWei: string
  readonly paidWei: string
  readonly settlement: SettlementReport | undefined
  readonly sha256Matches: boolean | undefined
  readonly startedAt: number
  readonly finishedAt: number | undefined
  readonly error: ErrorView | undefined
}

export interface SourceView {
  readonly key: string
  readonly protocol: string
  /** Short name for people: PeerId end, or host. */
  readonly peer: string
  readonly seeder: string | undefined
  readonly state: 'connecting' | 'active' | 'idle' | 'unpaid' | 'lost' | 'dropped'
  readonly chunks: number
  readonly bytes: number
  readonly rate: number
  readonly badChunks: number
  readonly pricePerMb: string
  readonly owedWei: string
  /** Why it was dropped or is idle. */
  readonly note: string | undefined
}

export interface SettlementReport {
  readonly state: 'nothing-owed' | 'confirmed' | 'sent' | 'queued' | 'failed'
  readonly tx: string | undefined
  readonly invoiceId: string | undefined
  readonly totalWei: string
  readonly gasUsed: string | undefined
  readonly payees: readonly { readonly seeder: string; readonly wallet: string; readonly amountWei: string; readonly bytes: number }[]
  readonly reason?: string
}

export interface WalletView {
  readonly exists: boolean
  readonly address: string | undefined
  readonly chainId: number | undefined
  readonly rpc: string | undefined
  readonly balanceWei: string | undefined
  /** Receipts: what we owe, paid, are owed and were paid. */
  readonly owedWei: string
  readonly paidWei: string
  readonly earnedWei: string
  readonly queuedWei: string
  readonly problem: string | undefined
}

export interface ReceiptView {
  readonly id: string
  readonly role: 'payer' | 'payee'
  readonly fileId: string
  readonly counterparty: string
  readonly from: string
  readonly to: string
  readonly bytes: number
  readonly pricePerMb: string
  readonly amountWei: string
  readonly protocols: readonly string[]
  readonly chunks: number
  readonly countersigned: boolean
  readonly state: 'open' | 'sent' | 'paid'
  readonly tx: string | undefined
  readonly time: number
}

export interface PeerView {
  readonly peerId: string
  readonly address: string
  readonly direction: 'inbound' | 'outbound'
  readonly since: number
}

export interface StatusView {
  readonly node: NodeInfo & { readonly uptimeSeconds: number; readonly capacityBytes: number; readonly usedBytes: number }
  readonly peers: readonly PeerView[]
  readonly shares: readonly ShareView[]
  /** Torrents of others that are seeded on. */
  readonly torrents: readonly TorrentView[]
  readonly downloads: readonly DownloadView[]
  readonly wallet: WalletView
}

export interface ErrorView {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

/** Spec 004's protocol-aware file metadata, merged from signed offers. Names are the spec's. */
export interface FileInfo {
  readonly file_hash: string
  readonly file_name: string | undefined
  readonly file_size: number | undefined
  readonly total_chunks: number | undefined
  readonly chunk_size: number
  readonly created_at: number | undefined
  readonly mime_type: string | undefined
  /** By protocol name. */
  readonly seeders: Readonly<Record<string, readonly SeederInfo[]>>
  readonly total_seeders: number
  readonly seeders_by_protocol: Readonly<Record<string, number>>
}

export interface SeederInfo {
  readonly peer_id: string
  readonly multiaddr: string
  readonly wallet: string | undefined
  /** "all", or ranges "first-last". */
  readonly chunks: 'all' | readonly string[]
  /** wei per MB, decimal. */
  readonly price_per_mb: string
}

export type NodeEvent =
  | AskEvent
  /** SHA-256 is done: the link works already, other protocols follow when their hashes are there. */
  | { readonly type: 'share:linked'; readonly path: string; readonly fileId: string; readonly link: string }
  | { readonly type: 'share:progress'; readonly path: string; readonly hashedBytes: number; readonly size: number; readonly rate: number }
  | { readonly type: 'share:added'; readonly share: ShareView }
  | { readonly type: 'share:stopped'; readonly fileId: string; readonly reason: string }
  | { readonly type: 'download:changed'; readonly download: DownloadView }
  | { readonly type: 'upload:progress'; readonly fileId: string; readonly bytes: number }
