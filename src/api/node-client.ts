/**
 * What one can ask of a node, whether it runs in this process (local-client.ts) or in another (client.ts).
 * The routes of the API are this interface over HTTP, one to one.
 */
import type { AskService } from '../node/ask-types.ts'
import type {
  DownloadView,
  FileInfo,
  GetRequest,
  NodeEvent,
  NodeInfo,
  ReceiptView,
  SettlementReport,
  ShareRequest,
  ShareView,
  StatusView,
  TorrentView,
  WalletView
} from '../node/types.ts'

export interface CreateWalletRequest {
  readonly phrase?: string
  readonly passphrase?: string
}

export interface SendRequest {
  readonly to: string
  readonly wei: string
}

export interface EventFilter {
  /** Only changes of this download. The first event is how it is now, so nothing is missed. */
  readonly download?: string
}

export interface NodeClient {
  info(signal?: AbortSignal): Promise<NodeInfo>
  status(signal?: AbortSignal): Promise<StatusView>
  /** Listens from the moment the promise resolves; ends when the signal aborts or the node stops. @throws UNKNOWN_DOWNLOAD, API_BUSY */
  events(filter: EventFilter, signal: AbortSignal): Promise<AsyncIterable<NodeEvent>>
  shares(signal?: AbortSignal): Promise<readonly ShareView[]>
  /** Resolves when the file is hashed and offered. An abort stops the hashing. */
  share(request: ShareRequest, signal?: AbortSignal): Promise<ShareView>
  /** Who has a file, over which protocols, at what price. @throws BAD_LINK, NO_SOURCES */
  inspect(address: string, signal?: AbortSignal): Promise<FileInfo>
  /** @throws UNKNOWN_SHARE */
  unshare(id: string, signal?: AbortSignal): Promise<ShareView>
  /** Torrents of others that are seeded on. */
  torrents(signal?: AbortSignal): Promise<readonly TorrentView[]>
  /** @param id info-hash in hex, or a magnet link @throws UNKNOWN_SHARE, BAD_LINK, BAD_MAGNET */
  dropTorrent(id: string, signal?: AbortSignal): Promise<TorrentView>
  downloads(signal?: AbortSignal): Promise<readonly DownloadView[]>
  /** Starts or resumes a download and returns at once. */
  get(request: GetRequest, signal?: AbortSignal): Promise<DownloadView>
  /** @throws UNKNOWN_DOWNLOAD */
  download(id: string, signal?: AbortSignal): Promise<DownloadView>
  /** Stops a download; what arrived stays on disk. @throws UNKNOWN_DOWNLOAD */
  cancel(id: string, signal?: AbortSignal): Promise<DownloadView>
  wallet(signal?: AbortSignal): Promise<WalletView>
  createWallet(request: CreateWalletRequest, signal?: AbortSignal): Promise<WalletView & { readonly phrase?: string }>
  send(request: SendRequest, signal?: AbortSignal): Promise<{ readonly tx: string }>
  receipts(signal?: AbortSignal): Promise<readonly ReceiptView[]>
  proof(receiptId: string, signal?: AbortSignal): Promise<Record<string, unknown>>
  settle(signal?: AbortSignal): Promise<readonly SettlementReport[]>
  /** Messages, peers, groups and tasks. */
  readonly ask: AskService
  /** Asks the process that holds the home to end. */
  stop(signal?: AbortSignal): Promise<void>
}
