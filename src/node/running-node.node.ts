/** A running node: shares, downloads, status and wallet over the open parts. What it shows is plain JSON (types.ts). */
import { statfsSync } from 'node:fs'
import { bytesToHex } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { Emitter } from '../base/events.ts'
import type { Download } from '../transfer/download.node.ts'
import type { AskEvent, AskService } from './ask-types.ts'
import { type DeskListeners, DownloadDesk } from './files/download-desk.node.ts'
import type { DownloadMemory } from './files/download-memory.node.ts'
import { inspectAddress } from './files/inspect.node.ts'
import { ShareDesk } from './files/share-desk.node.ts'
import { TorrentDesk } from './files/torrent-desk.node.ts'
import type { NodeParts } from './parts.node.ts'
import type {
  DownloadView,
  FileInfo,
  GetRequest,
  KithNode,
  NodeEvent,
  NodeInfo,
  SettlementReport,
  ShareRequest,
  ShareView,
  StatusView,
  TorrentView,
  WalletService
} from './types.ts'
import { version } from './version.ts'
import { downloadView, settlementReport } from './views.node.ts'
import { createWalletService } from './wallet-service.node.ts'

export class RunningNode implements KithNode {
  readonly wallet: WalletService
  readonly ask: AskService
  readonly #parts: NodeParts
  readonly #stack: AsyncDisposableStack
  readonly #startedAt = systemClock.now()
  readonly #emitter: Emitter<{ event: NodeEvent }>
  readonly #desk: DownloadDesk
  readonly #shareDesk: ShareDesk
  readonly #torrentDesk: TorrentDesk
  readonly #closing = new AbortController()
  /** Work that goes on behind answers; ended before the parts close. */
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(parts: NodeParts, ask: AskService, stack: AsyncDisposableStack, memory?: DownloadMemory) {
    this.#parts = parts
    this.ask = ask
    this.#stack = stack
    this.#emitter = new Emitter(error => parts.log.warn('an event listener threw', { error }))
    const listeners: DeskListeners = {
      onChanged: d => this.#emit({ type: 'download:changed', download: downloadView(d) }),
      onDone: (d, request) => this.#onDone(d, request)
    }
    this.#desk = new DownloadDesk(parts, listeners, memory)
    stack.use(this.#desk)
    this.#shareDesk = new ShareDesk(parts, event => this.#emit(event))
    this.#torrentDesk = new TorrentDesk(parts)
    this.wallet = createWalletService(parts)
    parts.host.events.on('addresses:changed', () => this.#shareDesk.announceAddresses(), this.#closing.signal)
    parts.notices.admitted = (fileId, bytes) => this.#onAdmitted(bytesToHex(fileId), bytes)
  }

  readonly events: KithNode['events'] = { on: (listener, signal) => this.#emitter.on('event', listener, signal) }

  /** What messaging noticed. */
  tell(event: AskEvent): void {
    this.#emit(event)
  }

  /** Publishes every share again; goes on in the background. */
  announceAll(): void {
    this.#shareDesk.announceAll()
    this.#torrentDesk.announceAll()
  }

  /** Ports on which files are served; 0: not yet. */
  get ports(): { readonly http: number; readonly bittorrent: number; readonly ed2k: number } {
    const { bittorrent, ed2k } = this.#parts.networks
    return { http: this.#parts.httpPort, bittorrent: bittorrent.opened.port, ed2k: ed2k.service.opened?.port ?? 0 }
  }

  /** Goes on with the downloads that this home had not finished when it was last up. */
  resumeDownloads(): void {
    this.#desk.resume()
  }

  info(): NodeInfo {
    const { config, identity, host } = this.#parts
    return { version, home: config.folders.home, peerId: identity.peerId, addresses: host.addresses(), startedAt: this.#startedAt }
  }

  async status(): Promise<StatusView> {
    const { host, config } = this.#parts
    const shares = this.shares()
    const usedBytes = shares.reduce((n, s) => n + s.size, 0)
    const { bavail, bsize } = statfsSync(config.folders.data)
    const node = {
      ...this.info(),
      uptimeSeconds: Math.floor((systemClock.now() - this.#startedAt) / 1000),
      capacityBytes: config.capacityBytes ?? usedBytes + bavail * bsize,
      usedBytes
    }
    return { node, peers: host.peers(), shares, torrents: this.torrents(), downloads: this.downloads(), wallet: await this.wallet.view() }
  }

  share(request: ShareRequest, signal?: AbortSignal): Promise<ShareView> {
    return this.#shareDesk.share(request, signal)
  }
  shares(): ShareView[] {
    return this.#shareDesk.all()
  }
  async unshare(id: string): Promise<ShareView> {
    const view = await this.#shareDesk.unshare(id)
    await this.#torrentDesk.dropFile(view.path)
    return view
  }
  torrents(): TorrentView[] {
    return this.#torrentDesk.all()
  }
  dropTorrent(id: string): Promise<TorrentView> {
    return this.#torrentDesk.drop(id)
  }
  inspect(address: string, signal?: AbortSignal): Promise<FileInfo> {
    return inspectAddress(this.#parts, address, signal)
  }

  async get(request: GetRequest): Promise<DownloadView> {
    return downloadView(this.#desk.start(request))
  }
  downloads(): DownloadView[] {
    return this.#desk.all().map(downloadView)
  }
  download(id: string): DownloadView | undefined {
    const found = this.#desk.find(id)
    return found && downloadView(found)
  }
  cancel(id: string): Promise<void> {
    return this.#desk.cancel(id)
  }

  async settleAll(): Promise<SettlementReport[]> {
    return (await this.#parts.payments.pay.settleAll()).map(settlementReport)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#desk[Symbol.asyncDispose]()
    await Promise.allSettled(this.#tasks)
    await Promise.all([this.#shareDesk[Symbol.asyncDispose](), this.#torrentDesk[Symbol.asyncDispose]()])
    await this.#stack.disposeAsync()
    await this.#shareDesk.settled()
  }

  #emit(event: NodeEvent): void {
    this.#emitter.emit('event', event)
  }

  #track(task: Promise<unknown>): void {
    const p = task.catch(error => this.#parts.log.debug('background work failed', { error }))
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }

  readonly #shownMs = new Map<string, number>()
  #onAdmitted(fileId: string, bytes: number): void {
    this.#parts.shares.countUpload(fileId, bytes)
    const now = systemClock.monotonic()
    if (now - (this.#shownMs.get(fileId) ?? 0) < 250) return
    this.#shownMs.set(fileId, now)
    this.#emit({ type: 'upload:progress', fileId, bytes })
  }

  /**
   * `--seed`: what was fetched is shared on, free of charge. A torrent goes on in its own swarm; a file has Kith's addresses, too; one that
   * came by an ed2k link is served over ed2k in any case.
   */
  #onDone(download: Download, request: GetRequest): void {
    const path = download.sealedPath ?? download.path
    if (!request.seed || !path) return
    this.#track(this.#torrentDesk.keep(download, request))
    const { plan } = download
    if (plan?.files) return
    const also = plan?.ed2k ? ['ed2k'] : []
    this.#track(this.share({ path, also, ...(plan ? { name: plan.name } : {}) }, this.#closing.signal))
  }
}
