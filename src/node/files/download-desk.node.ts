/** The downloads of a node: starts them from any address, keeps those that ended for the screen, and tells of changes at a bearable pace. */
import { realpathSync, statSync } from 'node:fs'
import { equalBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { type Address, parseAddress } from '../../transfer/address.ts'
import { Download, type DownloadDeps } from '../../transfer/download.node.ts'
import type { FileSecret } from '../../transfer/file-cipher.node.ts'
import { MAX_DOWNLOADS } from '../../transfer/limits.ts'
import { forgetPlaintext, kithStem } from '../../transfer/part-file.node.ts'
import type { Plan } from '../../transfer/plan.node.ts'
import type { TorrentPlanDeps } from '../../transfer/plan-torrent.node.ts'
import type { TransferProtocol } from '../../transfer/protocol.ts'
import { createThrottle, type Throttle } from '../../transfer/throttle.ts'
import type { Link } from '../../wire/link.ts'
import { parseWei } from '../../wire/wei.ts'
import type { Hints } from '../networks.node.ts'
import type { NodeParts } from '../parts.node.ts'
import type { GetRequest } from '../types.ts'
import type { DownloadMemory } from './download-memory.node.ts'
import { checkGetRequest } from './request-checks.ts'

export interface DeskListeners {
  readonly onChanged: (download: Download) => void
  readonly onDone: (download: Download, request: GetRequest) => void
}

interface PlanContext {
  readonly note: (text: string) => void
  readonly signal: AbortSignal
  readonly notRoots: ReadonlySet<string>
}

/** Downloads that ended and are still shown. */
const MAX_ENDED = 100
/** A change is told at most so often per download; its end is always told. */
const TELL_MS = 250

export class DownloadDesk implements AsyncDisposable {
  readonly #parts: NodeParts
  readonly #listeners: DeskListeners
  readonly #downloads = new Map<string, Download>()

  /** Where requests that run are remembered; undefined: nowhere, they end with the process. */
  readonly #memory: DownloadMemory | undefined
  /** What all downloads may use together. */
  readonly #limit: Throttle | undefined
  readonly #endings = new Set<Promise<void>>()
  #closing = false

  constructor(parts: NodeParts, listeners: DeskListeners, memory?: DownloadMemory) {
    this.#parts = parts
    this.#listeners = listeners
    this.#memory = memory
    const { downloadLimit } = parts.config
    this.#limit = downloadLimit === undefined ? undefined : createThrottle(systemClock, downloadLimit)
  }

  /** Goes on with what an earlier run of this home had not finished. */
  resume(): void {
    for (const request of this.#memory?.all() ?? []) {
      try {
        this.start(request)
      } catch (error) {
        this.#parts.log.warn('a download could not be continued', { error })
        this.#memory?.forget(request)
        this.#tidy(request)
      }
    }
  }

  /** The key of an encrypted file is not kept, so its download does not go on by itself, and plaintext must not lie about until it does. */
  #tidy({ address: text, folder }: GetRequest): void {
    try {
      const address = parseAddress(text)
      if (address.kind === 'kith' && address.link.encrypted) forgetPlaintext(folder, kithStem(address.link.fileId))
    } catch (error) {
      this.#parts.log.debug('nothing was tidied up', { error })
    }
  }

  all(): Download[] {
    return [...this.#downloads.values()]
  }
  find(id: string): Download | undefined {
    return this.#downloads.get(id)
  }

  /** @throws BAD_LINK, BAD_RATE, BAD_ADDRESS, UNKNOWN_PROTOCOL, PATH_FORBIDDEN, DOWNLOAD_RUNNING, ALREADY_HERE, BAD_PRICE, WRONG_KEY */
  start(request: GetRequest): Download {
    const address = parseAddress(request.address)
    checkGetRequest(address, request)
    const folder = checkFolder(request.folder)
    const maxCostWei = request.maxCostWei === undefined ? undefined : parseWei(request.maxCostWei)
    const running = this.all().filter(d => d.finishedAt === undefined)
    if (running.some(d => d.options.address === request.address && d.options.folder === folder)) {
      throw new KithError('DOWNLOAD_RUNNING', 'this is being downloaded already', {}, { hint: 'kith status shows it' })
    }
    if (running.length >= MAX_DOWNLOADS)
      throw new KithError('TOO_MANY_DOWNLOADS', `${running.length} downloads are running`, {}, { hint: 'wait for one to end' })
    this.#refuseOwn(address)
    const download = new Download(
      this.#depsFor(address, request, () => download),
      {
        address: request.address,
        folder,
        maxCostWei,
        limit: request.limit,
        sequential: request.sequential,
        seed: request.seed,
        secret: secretOf(address, request)
      }
    )
    this.#downloads.set(download.id, download)
    this.#memory?.remember(request)
    const ending = download.ended.then(() => {
      const goesOnLater = this.#closing && download.state === 'cancelled'
      if (!goesOnLater) this.#memory?.forget(request)
      if (download.state === 'done') this.#listeners.onDone(download, request)
      this.#forgetOld()
    })
    this.#endings.add(ending)
    void ending.finally(() => this.#endings.delete(ending))
    return download
  }

  /** What this home seeds is here already. @throws ALREADY_HERE */
  #refuseOwn(address: Address): void {
    if (address.kind !== 'kith') return
    const own = this.#parts.shares.summaries().find(r => r.state === 'seeding' && equalBytes(r.summary.fileId, address.link.fileId))
    if (own)
      throw new KithError('ALREADY_HERE', `this home shares that file already: ${own.summary.path}`, {}, { hint: 'copy it from there' })
  }

  /** @throws UNKNOWN_DOWNLOAD */
  async cancel(id: string): Promise<void> {
    const download = this.#downloads.get(id)
    if (!download) throw new KithError('UNKNOWN_DOWNLOAD', 'there is no such download', {}, { hint: 'kith status lists them' })
    await download.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true
    await Promise.all(this.all().map(d => d[Symbol.asyncDispose]()))
    await Promise.allSettled(this.#endings)
  }

  #depsFor(address: Address, request: GetRequest, self: () => Download): DownloadDeps {
    const { finder, shares, payments, log, workers } = this.#parts
    let toldMs = Number.NEGATIVE_INFINITY
    let toldState = ''
    return {
      clock: systemClock,
      log: log.child('download'),
      payments: payments.gate,
      shares,
      workers,
      downloadLimit: this.#limit,
      announce: id => finder.announce(id),
      withdraw: id => finder.withdraw(id),
      plan: (note, signal, notRoots) => this.#plan(address, request, { note, signal, notRoots }),
      onChange: () => {
        const now = systemClock.monotonic()
        const { state } = self()
        if (state === toldState && now - toldMs < TELL_MS) return
        toldMs = now
        toldState = state
        this.#listeners.onChanged(self())
      }
    }
  }

  async #plan(address: Address, request: GetRequest, { note, signal, notRoots }: PlanContext): Promise<Plan> {
    const { networks, config } = this.#parts
    const allowed = this.#allowed(request.protocols)
    const hints: Hints = { peers: request.peers ?? [], trackers: request.trackers ?? [] }
    if (address.kind === 'kith') return await this.#planKith(address.link, request, hints, allowed, note, signal, notRoots)
    if (address.kind === 'url') {
      const http = this.#parts.protocols.find(p => p.name === 'http')! // it fetches https: URLs, too
      const { planUrl } = await import('../../transfer/plan-url.node.ts')
      return await planUrl({ clock: systemClock, http, probe: { proxy: config.proxy } }, address.url, signal)
    }
    if (address.kind === 'ed2k') {
      const [{ planEd2k }, { readEd2kPeers }, { protocol, networks: joined }] = await Promise.all([
        import('../../transfer/plan-ed2k.node.ts'),
        import('../../transfer/ed2k.node.ts'),
        networks.ed2k.service.open()
      ])
      const from = { given: readEd2kPeers(hints.peers), finders: joined.finders }
      return await planEd2k({ ed2k: protocol, ...from, announce: file => joined.announce(file), note }, address.text, signal)
    }
    const [{ planTorrent }, { readPeers }] = await Promise.all([
      import('../../transfer/plan-torrent.node.ts'),
      import('../../transfer/torrents.node.ts')
    ])
    const given = { peers: readPeers(hints.peers), trackers: hints.trackers, trust: 'given' as const }
    const { webtorrent } = networks
    const web: TorrentPlanDeps['web'] = allowed.includes(webtorrent.protocol)
      ? {
          join: (torrent, found, context) => webtorrent.joinTorrent(torrent, found, hints, context),
          fetchMetainfo: (magnet, soon) => webtorrent.fetchMetainfo(magnet, hints, soon)
        }
      : undefined
    const over = { bittorrent: allowed.includes(networks.bittorrent.protocol), http: allowed.some(p => p.name === 'http') }
    return await planTorrent({ bittorrent: networks.bittorrent.opened.protocol, over, given, web, note }, address, signal)
  }

  async #planKith(
    link: Link,
    request: GetRequest,
    hints: Hints,
    protocols: readonly TransferProtocol[],
    note: (text: string) => void,
    signal: AbortSignal,
    notRoots: ReadonlySet<string>
  ): Promise<Plan> {
    const { offers, finder, log, gate, networks, config } = this.#parts
    if (!request.isFromPeer) for (const via of link.via) gate.allow(via, 'user')
    const others = networks.all.filter(n => protocols.some(p => p.name === n.protocol.name)).flatMap(n => n.others(hints) ?? [])
    const choice = {
      ...(request.prefer === undefined ? {} : { prefer: request.prefer }),
      ...(request.protocols === undefined ? {} : { protocols: request.protocols }),
      restricted: config.restricted
    }
    const { planKith } = await import('../../transfer/plan-kith.node.ts')
    return await planKith({ ...offers, finder, log: log.child('download'), protocols, choice, others }, link, note, signal, notRoots)
  }

  #allowed(names: readonly string[] | undefined): readonly TransferProtocol[] {
    return this.#parts.protocols.filter(p => !names || names.length === 0 || names.includes(p.name))
  }

  #forgetOld(): void {
    const ended = this.all().filter(d => d.finishedAt !== undefined)
    for (const d of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) this.#downloads.delete(d.id)
  }
}

/**
 * What opens an encrypted file. @throws WRONG_KEY when a passphrase is missing
 */
function secretOf(address: Address, { passphrase }: GetRequest): FileSecret | undefined {
  if (address.kind !== 'kith' || address.link.encrypted === undefined) return undefined
  const { key } = address.link
  if (key) return { key }
  if (passphrase !== undefined) return { passphrase }
  const hint = 'add --passphrase, or --passphrase-file FILE'
  throw new KithError('WRONG_KEY', 'this file is locked by a passphrase', {}, { hint })
}

/** The real path of an existing folder. @throws PATH_FORBIDDEN */
function checkFolder(folder: string): string {
  try {
    const real = realpathSync(folder)
    if (statSync(real).isDirectory()) return real
  } catch {
    // said below
  }
  if (statSync(folder, { throwIfNoEntry: false })?.isFile()) {
    const hint = 'give the folder to put the file in: it gets the name under which it is shared'
    throw new KithError('PATH_FORBIDDEN', `${folder} is a file, not a folder`, { folder }, { hint })
  }
  throw new KithError('PATH_FORBIDDEN', `there is no folder ${folder}`, { folder }, { hint: 'create it first, or choose another with -o' })
}
