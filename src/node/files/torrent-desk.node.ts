/** The torrents of others that this node seeds on after a download with `--seed`: kept, announced to their own swarms, shown, ended. */
import { KithError } from '../../base/errors.ts'
import type { Download } from '../../transfer/download.node.ts'
import { describeTorrent } from '../../transfer/plan-torrent.node.ts'
import { displayName } from '../../transfer/safe-name.ts'
import { type KeptTorrent, magnetOfKept, type TorrentBook } from '../../transfer/torrent-book.node.ts'
import type { NodeParts } from '../parts.node.ts'
import { parsePublicAddress } from '../public-address.ts'
import type { GetRequest, TorrentView } from '../types.ts'

export class TorrentDesk implements AsyncDisposable {
  readonly #parts: NodeParts
  readonly #book: TorrentBook
  /** By info-hash. */
  readonly #announced = new Map<string, AsyncDisposable>()
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(parts: NodeParts) {
    this.#parts = parts
    this.#book = parts.torrents
    parts.notices.torrentStopped = ({ infoHash }) => this.#track(this.#withdraw(infoHash))
  }

  /** Tells every swarm that we are back; goes on in the background. */
  announceAll(): void {
    for (const torrent of this.#book.all()) if (torrent.state === 'seeding') this.#track(this.#announce(torrent))
  }

  /** Seeds what a download of a torrent brought. Nothing when it was no torrent. @throws TOO_MANY_SHARES, DISK_FULL */
  async keep({ plan, path, placed }: Download, { trackers = [] }: GetRequest): Promise<void> {
    if (!plan?.torrent || path === undefined) return
    const { over } = plan.torrent
    const kept = await this.#book.keep({ file: plan.torrent.file(), path, files: placed, protocols: over, trackers })
    await this.#withdraw(kept.infoHash) // it may have been seeded from elsewhere until now
    await this.#announce(kept)
  }

  all(): TorrentView[] {
    return this.#book.all().map(t => this.#view(t))
  }

  /** Stops seeding a torrent; its files are not touched. @param id info-hash in hex, or a magnet link @throws UNKNOWN_SHARE, BAD_MAGNET */
  async drop(id: string): Promise<TorrentView> {
    const found = this.#book.find(hashOf(id))
    const view = found && this.#view(found)
    if (!view || !(await this.#book.remove(view.infoHash)))
      throw new KithError('UNKNOWN_SHARE', 'this node does not seed such a torrent', { id }, { hint: 'kith status lists what is shared' })
    await this.#withdraw(view.infoHash)
    return { ...view, state: 'stopped' }
  }

  /** Stops seeding the torrents that this file came from. */
  async dropFile(path: string): Promise<void> {
    for (const torrent of this.#book.all()) if (torrent.path === path) await this.drop(torrent.infoHash)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#tasks, ...[...this.#announced.values()].map(a => a[Symbol.asyncDispose]())])
  }

  /** Over WebTorrent only where there is a tracker for it: nobody could come, and the native library need not be loaded. */
  async #announce(torrent: KeptTorrent): Promise<void> {
    const { bittorrent, webtorrent } = this.#parts.networks
    const stack = new AsyncDisposableStack()
    this.#announced.set(torrent.infoHash, { [Symbol.asyncDispose]: () => stack.disposeAsync() })
    if (torrent.protocols.includes('bittorrent')) stack.use(bittorrent.announceTorrent(torrent))
    const isWeb = !torrent.private && [...torrent.webTrackers, ...torrent.given.filter(t => /^wss?:/i.test(t))].length > 0
    if (!isWeb || !torrent.protocols.includes('webtorrent')) return
    await this.#parts.networks.ready(['webtorrent'])
    if (!stack.disposed) stack.use(webtorrent.announceTorrent(torrent))
  }

  async #withdraw(infoHash: string): Promise<void> {
    const announced = this.#announced.get(infoHash)
    this.#announced.delete(infoHash)
    await announced?.[Symbol.asyncDispose]()
  }

  #track(task: Promise<unknown>): void {
    const p = task.catch(error => this.#parts.log.debug('background work failed', { error }))
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }

  #view(t: KeptTorrent): TorrentView {
    return {
      infoHash: t.infoHash,
      infoHashV2: t.infoHashV2 ?? undefined,
      name: displayName(t.name),
      path: t.path,
      size: t.size,
      files: t.files.length,
      protocols: t.protocols,
      state: t.state,
      magnet: magnetOfKept(t),
      torrentPath: this.#book.torrentPath(t.infoHash),
      uploadedBytes: t.uploaded,
      addedAt: t.addedAt
    }
  }
}

/** Hex of 20 or 32 bytes. @throws BAD_MAGNET */
function hashOf(id: string): string {
  if (/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/i.test(id)) return id.toLowerCase()
  const address = parsePublicAddress(id)
  if (address.kind === 'magnet') return describeTorrent(address).hash.replace(/^bt[im]h:/, '')
  throw new KithError('BAD_LINK', 'give the info-hash or the magnet link of a torrent')
}
