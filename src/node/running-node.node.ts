/** A running node: shares, downloads, status and wallet over the open parts. What it shows is plain JSON (types.ts). */
import { readdirSync, statfsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { bytesToHex } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import { scopeOfIp } from '../net/address-scope.ts'
import { parseAddress } from '../transfer/address.ts'
import type { DigestWants } from '../transfer/digests.ts'
import type { Download } from '../transfer/download.node.ts'
import { type FileDigest, hashFile, stampOf } from '../transfer/hash-file.node.ts'
import type { ShareRecord } from '../transfer/share-store.node.ts'
import { torrentOf, writeTorrent } from '../transfer/torrents.node.ts'
import { MAX_NAME_BYTES } from '../wire/limits.ts'
import { parseWei } from '../wire/wei.ts'
import { type DeskListeners, DownloadDesk } from './download-desk.node.ts'
import type { DownloadMemory } from './download-memory.node.ts'
import type { NodeParts } from './parts.node.ts'
import type {
  DownloadView,
  GetRequest,
  KithNode,
  NodeEvent,
  NodeInfo,
  SettlementReport,
  ShareRequest,
  ShareView,
  StatusView,
  WalletService
} from './types.ts'
import { version } from './version.ts'
import { downloadView, settlementReport, shareView } from './views.node.ts'
import { createWalletService } from './wallet-service.node.ts'

const PROTOCOLS = ['http', 'bittorrent']

export class RunningNode implements KithNode {
  readonly wallet: WalletService
  readonly #parts: NodeParts
  readonly #stack: AsyncDisposableStack
  readonly #startedAt = systemClock.now()
  readonly #emitter: Emitter<{ event: NodeEvent }>
  readonly #desk: DownloadDesk
  /** Shares that are announced at BitTorrent trackers, by file id. */
  readonly #atTrackers = new Map<string, AsyncDisposable>()
  /** Work that goes on behind answers; ended before the parts close. */
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(parts: NodeParts, stack: AsyncDisposableStack, memory?: DownloadMemory) {
    this.#parts = parts
    this.#stack = stack
    this.#emitter = new Emitter(error => parts.log.warn('an event listener threw', { error }))
    const listeners: DeskListeners = {
      onChanged: d => this.#emit({ type: 'download:changed', download: downloadView(d) }),
      onDone: (d, request) => this.#onDone(d, request)
    }
    this.#desk = new DownloadDesk(parts, listeners, memory)
    stack.use(this.#desk)
    this.wallet = createWalletService(parts)
    parts.notices.shareStopped = (fileId, reason) => this.#onShareStopped(fileId, reason)
    parts.notices.admitted = (fileId, bytes) => this.#onAdmitted(bytesToHex(fileId), bytes)
  }

  readonly events: KithNode['events'] = { on: (listener, signal) => this.#emitter.on('event', listener, signal) }

  /** Publishes every share again; goes on in the background. */
  announceAll(): void {
    for (const { record, state } of this.#parts.shares.records()) if (state === 'seeding') this.#announce(record)
  }

  /** Ports on which files are served. */
  get ports(): { readonly http: number; readonly bittorrent: number } {
    return { http: this.#parts.httpPort, bittorrent: this.#parts.torrents.port }
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
    return { node, peers: host.peers(), shares, downloads: this.downloads(), wallet: await this.wallet.view() }
  }

  async share(request: ShareRequest, signal?: AbortSignal): Promise<ShareView> {
    const { shares, payments } = this.#parts
    const price = parseWei(request.pricePerMb ?? '0')
    if (price > 0n && !payments.gate.terms) {
      throw new KithError('PAYMENTS_OFF', 'a price needs a wallet to be paid to', {}, { hint: 'kith wallet create' })
    }
    const protocols = readProtocols(request.protocols)
    const digest = await this.#hash(request.path, { sha1: protocols.includes('bittorrent'), v2: false, ed2k: false }, signal)
    const record = makeRecord(request, digest, protocols, price)
    await shares.add(record)
    this.#writeTorrent(record)
    this.#announce(record)
    const view = this.#shareView(record)
    this.#emit({ type: 'share:added', share: view })
    return view
  }

  shares(): ShareView[] {
    return this.#parts.shares.records().map(({ record, state, uploaded }) => this.#shareView(record, state, uploaded))
  }

  async unshare(id: string): Promise<ShareView> {
    const hex = fileIdOf(id)
    const view = this.shares().find(s => s.fileId === hex)
    const record = view && (await this.#parts.shares.remove(hex))
    if (!record)
      throw new KithError(
        'UNKNOWN_SHARE',
        'this node does not share such a file',
        { id: hex },
        { hint: 'kith status lists what is shared' }
      )
    await this.#withdraw(record.fileId)
    this.#emit({ type: 'share:stopped', fileId: hex, reason: 'unshared' })
    return { ...view, state: 'stopped' }
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
    await this.#desk[Symbol.asyncDispose]()
    await Promise.allSettled([...this.#atTrackers.values()].map(a => a[Symbol.asyncDispose]()))
    await this.#stack.disposeAsync()
    await Promise.allSettled(this.#tasks)
  }

  #emit(event: NodeEvent): void {
    this.#emitter.emit('event', event)
  }

  #track(task: Promise<unknown>): void {
    const p = task.catch(error => this.#parts.log.debug('background work failed', { error }))
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }

  async #hash(path: string, wants: DigestWants, signal: AbortSignal | undefined): Promise<FileDigest> {
    const stamp = stampOf(path)
    const { size } = stamp
    let shownMs = systemClock.monotonic()
    return hashFile(path, wants, {
      known: this.#parts.shares.known(path, stamp),
      onProgress: ({ done, total, rate }) => {
        const now = systemClock.monotonic()
        if (now - shownMs < 250 && done < total) return
        shownMs = now
        const ofFile = (work: number): number => Math.floor((work * size) / total)
        this.#emit({ type: 'share:progress', path, hashedBytes: ofFile(done), size, rate: ofFile(rate) })
      },
      signal
    })
  }

  #shareView(record: ShareRecord, state: 'seeding' | 'changed' | 'missing' = 'seeding', uploaded = 0): ShareView {
    const { host, httpPort } = this.#parts
    const hosts = [...new Set(host.addresses().flatMap(a => /^\/ip[46]\/([^/]+)\//.exec(a)?.[1] ?? []))]
    // Sandboxes and test machines have nothing but documentation addresses, which nobody dials: then loopback serves this machine at least.
    const outer = hosts.filter(h => !['loopback', 'unusable'].includes(scopeOfIp(h)))
    const shown = outer.length > 0 ? outer : hosts
    const hex = bytesToHex(record.fileId)
    const via = host.addresses().filter(a => a.includes('/tcp/') && !a.includes('/ws') && shown.some(h => a.includes(`/${h}/`)))
    const withHttp = record.protocols.includes('http') && record.pricePerMb === 0n
    const torrent =
      record.pieces && record.protocols.includes('bittorrent')
        ? torrentOf({ ...record, size: record.stamp.size, pieces: record.pieces })
        : undefined
    return shareView(record, {
      state,
      uploaded,
      via: via.slice(0, 4),
      magnet: torrent?.magnet,
      httpUrls: withHttp ? shown.map(h => `http://${h.includes(':') ? `[${h}]` : h}:${httpPort}/${hex}`) : [],
      torrentPath: torrent && this.#torrentPath(record)
    })
  }

  #torrentFolder(): string {
    return join(this.#parts.config.folders.data, 'torrents')
  }
  #torrentPath(record: ShareRecord): string | undefined {
    if (!record.infoHash) return undefined
    const suffix = `-${bytesToHex(record.infoHash).slice(0, 8)}.torrent`
    const found = listFolder(this.#torrentFolder()).find(f => f.endsWith(suffix))
    return found && join(this.#torrentFolder(), found)
  }
  #writeTorrent(record: ShareRecord): void {
    if (!record.pieces || !record.infoHash) return
    const { bytes } = torrentOf({ ...record, size: record.stamp.size, pieces: record.pieces })
    writeTorrent(this.#torrentFolder(), record.name, record.infoHash, bytes)
  }

  /** In the DHT, and at the share's own trackers. */
  #announce(record: ShareRecord): void {
    const { finder, torrents } = this.#parts
    this.#track(finder.announce(record.fileId))
    const hex = bytesToHex(record.fileId)
    if (!record.infoHash || record.trackers.length === 0 || this.#atTrackers.has(hex)) return
    this.#atTrackers.set(hex, torrents.protocol.announceShare(record.infoHash, record.trackers, 'given'))
  }

  async #withdraw(fileId: Uint8Array): Promise<void> {
    const hex = bytesToHex(fileId)
    const announced = this.#atTrackers.get(hex)
    this.#atTrackers.delete(hex)
    await Promise.all([this.#parts.finder.withdraw(fileId), announced?.[Symbol.asyncDispose]()])
  }

  #onShareStopped(fileId: Uint8Array, reason: string): void {
    this.#track(this.#withdraw(fileId))
    this.#emit({ type: 'share:stopped', fileId: bytesToHex(fileId), reason })
  }

  readonly #shownMs = new Map<string, number>()
  #onAdmitted(fileId: string, bytes: number): void {
    this.#parts.shares.countUpload(fileId, bytes)
    const now = systemClock.monotonic()
    if (now - (this.#shownMs.get(fileId) ?? 0) < 250) return
    this.#shownMs.set(fileId, now)
    this.#emit({ type: 'upload:progress', fileId, bytes })
  }

  /** `--seed`: what was fetched is shared on, free of charge. */
  #onDone(download: Download, request: GetRequest): void {
    if (!request.seed || !download.path || download.plan?.files) return
    this.#track(this.share({ path: download.path, ...(download.plan ? { name: download.plan.name } : {}) }))
  }
}

function makeRecord(request: ShareRequest, digest: FileDigest, protocols: readonly string[], price: bigint): ShareRecord {
  const name = (request.name ?? basename(request.path)).toWellFormed()
  if (name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw new KithError('BAD_NAME', 'the name is empty or longer than 1,024 bytes')
  const trackers = request.trackers ?? []
  const torrent =
    digest.pieces && protocols.includes('bittorrent') ? torrentOf({ name, size: digest.size, pieces: digest.pieces, trackers }) : undefined
  return {
    ...digest,
    path: request.path,
    name,
    mime: '',
    infoHash: torrent?.infoHash,
    pricePerMb: price,
    protocols,
    trackers,
    addedAt: systemClock.now(),
    uploadLimit: request.uploadLimit,
    creditBytes: request.creditBytes
  }
}

function readProtocols(wanted: readonly string[] | undefined): readonly string[] {
  if (!wanted || wanted.length === 0) return PROTOCOLS
  const unknown = wanted.find(p => !PROTOCOLS.includes(p))
  if (unknown !== undefined)
    throw new KithError(
      'UNKNOWN_PROTOCOL',
      `there is no protocol ${JSON.stringify(unknown.slice(0, 32))}`,
      {},
      { hint: `choose from ${PROTOCOLS.join(', ')}` }
    )
  return [...new Set(wanted)]
}

/** File id in hex from hex, CID or link. @throws BAD_LINK */
function fileIdOf(id: string): string {
  const address = parseAddress(id)
  if (address.kind !== 'kith') throw new KithError('BAD_LINK', 'give the file id, CID or kith: link of a share')
  return bytesToHex(address.link.fileId)
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
