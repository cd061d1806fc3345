/**
 * The shares of a node: hashes files (and encrypts them first, if asked), puts them into the share book, announces them everywhere they
 * are served, and says their addresses. A file is offered as soon as its SHA-256 is known; what other protocols need follows.
 */
import { basename } from 'node:path'
import { getMimeType } from 'hono/utils/mime'
import { bytesToHex } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { DigestWants } from '../../transfer/digests.ts'
import { EncryptedStore } from '../../transfer/encrypted-store.node.ts'
import { type CoreDigest, type FileDigest, type HashProgress, hashFile, stampOf } from '../../transfer/hash-file.node.ts'
import type { ShareRecord, ShareSummary } from '../../transfer/share-store.node.ts'
import { torrentOf } from '../../transfer/torrents.node.ts'
import { MAX_NAME_BYTES } from '../../wire/limits.ts'
import { parseWei } from '../../wire/wei.ts'
import type { NodeParts } from '../parts.node.ts'
import { chooseProtocols } from '../protocols.ts'
import { parsePublicAddress } from '../public-address.ts'
import type { NodeEvent, ShareRequest, ShareView } from '../types.ts'
import { checkShareRequest } from './request-checks.ts'
import { ShareAddresses } from './share-addresses.node.ts'

/** What is hashed and how it is called, once encryption and options are settled. */
interface Task {
  readonly request: ShareRequest
  /** File that is served: the user's own, or its ciphertext. */
  readonly path: string
  readonly name: string
  readonly protocols: readonly string[]
  readonly price: bigint
}

const TELL_MS = 250

export class ShareDesk implements AsyncDisposable {
  readonly #parts: NodeParts
  readonly #emit: (event: NodeEvent) => void
  readonly #encrypted: EncryptedStore
  readonly #addresses: ShareAddresses
  /** Shares that are announced in other networks, by file id. */
  readonly #announced = new Map<string, AsyncDisposableStack>()
  readonly #tasks = new Set<Promise<unknown>>()

  constructor(parts: NodeParts, emit: (event: NodeEvent) => void) {
    this.#parts = parts
    this.#emit = emit
    // By name: a home that is moved keeps what it has.
    const shared = new Set(parts.shares.summaries().map(r => basename(r.summary.path)))
    this.#encrypted = new EncryptedStore(`${parts.config.folders.data}/encrypted`, path => shared.has(basename(path)))
    this.#addresses = new ShareAddresses(parts, this.#encrypted)
    parts.notices.shareStopped = (fileId, reason) => this.#onStopped(fileId, reason)
  }

  /** Publishes every share again; goes on in the background. */
  announceAll(): void {
    const seeding = this.#parts.shares.summaries().filter(r => r.state === 'seeding')
    const wanted = [...new Set(seeding.flatMap(r => r.summary.protocols))]
    const announce = async (): Promise<void> => {
      // Those that need no other protocol are announced at once.
      for (const { summary } of seeding) this.#track(this.#parts.finder.announce(summary.fileId))
      await this.#parts.networks.ready(wanted)
      for (const { summary } of seeding) this.#announce(summary)
    }
    this.#track(announce())
  }

  /** This node is reached elsewhere now: a relay gave it a slot, a port opened. */
  announceAddresses(): void {
    for (const { summary, state } of this.#parts.shares.summaries())
      if (state === 'seeding') this.#track(this.#parts.finder.announce(summary.fileId))
  }

  /**
   * @throws FILE_NOT_FOUND, NOT_A_FILE, FILE_EMPTY, FILE_CHANGED, BAD_PRICE, BAD_NAME, BAD_RATE, BAD_ADDRESS, PAYMENTS_OFF, UNKNOWN_PROTOCOL,
   * FREE_ONLY, PORT_UNAVAILABLE, WEBRTC_UNAVAILABLE, CANCELLED
   */
  async share(request: ShareRequest, signal?: AbortSignal): Promise<ShareView> {
    checkShareRequest(request)
    const price = parseWei(request.pricePerMb ?? '0')
    if (price > 0n && !this.#parts.payments.gate.terms) {
      throw new KithError('PAYMENTS_OFF', 'a price needs a wallet to be paid to', {}, { hint: 'kith wallet create' })
    }
    const { config, host } = this.#parts
    const chosen = request.protocols ?? config.protocols
    const fitting = chooseProtocols(chosen, { reachability: host.reachability, isPaid: price > 0n })
    const protocols = [...new Set([...fitting, ...(request.also ?? [])])]
    const opening = this.#parts.networks.ready(protocols) // beside the hashing
    this.#track(opening)
    if (request.protocols) for (const failure of await opening) throw failure // what was asked for by name is not left out silently
    const task = await this.#prepare(request, protocols, price, signal)
    const digest = await this.#hash(task, signal).catch(error => {
      this.#discard(task)
      throw error
    })
    await opening
    const record = makeRecord(task, digest)
    await this.#parts.shares.add(record).catch(error => {
      this.#discard(task)
      throw error
    })
    this.#addresses.writeTorrents(record)
    this.#announce(record)
    const view = this.#addresses.view(record)
    this.#emit({ type: 'share:added', share: view })
    return view
  }

  all(): ShareView[] {
    return this.#parts.shares.summaries().map(({ summary, state, uploaded }) => this.#addresses.view(summary, state, uploaded))
  }

  /** @throws UNKNOWN_SHARE, BAD_LINK */
  async unshare(id: string): Promise<ShareView> {
    const hex = fileIdOf(id)
    const view = this.all().find(s => s.fileId === hex)
    const record = view && (await this.#parts.shares.remove(hex))
    if (!record) {
      const hint = 'kith status lists what is shared'
      throw new KithError('UNKNOWN_SHARE', 'this node does not share such a file', { id: hex }, { hint })
    }
    await this.#withdraw(record.fileId)
    this.#encrypted.remove(record.path)
    this.#emit({ type: 'share:stopped', fileId: hex, reason: 'unshared' })
    return { ...view, state: 'stopped' }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#announced.values()].map(a => a.disposeAsync()))
  }

  /** Resolves when nothing goes on behind answers any more: announcements end with the networks, so close those first. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#tasks)
  }

  async #prepare(request: ShareRequest, protocols: readonly string[], price: bigint, signal: AbortSignal | undefined): Promise<Task> {
    const name = (request.name ?? basename(request.path)).toWellFormed()
    if (name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES)
      throw new KithError('BAD_NAME', 'the name is empty or longer than 1,024 bytes')
    if (!request.encrypt && request.passphrase === undefined) return { request, path: request.path, name, protocols, price }
    const isLent = request.lent === true
    const known = request.passphrase === undefined ? this.#encrypted.findOriginal(request.path, name, isLent) : undefined
    if (known) return { request, path: known.path, name: known.publicName, protocols, price }
    const { size } = stampOf(request.path)
    const tell = this.#progress(request.path, size)
    const entry = await this.#encrypted.add(request.path, name, request.passphrase, bytes => tell(bytes, size), signal, isLent)
    return { request, path: entry.path, name: entry.publicName, protocols, price }
  }

  async #hash(task: Task, signal: AbortSignal | undefined): Promise<FileDigest> {
    const { shares } = this.#parts
    const { path, request } = task
    const stamp = stampOf(path)
    const tell = this.#progress(request.path, stamp.size)
    let early: Promise<void> | undefined
    try {
      const digest = await hashFile(path, wantsOf(task.protocols), {
        known: shares.known(path, stamp),
        onCore: core => {
          early = this.#offerEarly(task, core)
          early.catch(() => {}) // heard of below, when hashing has ended: a full disk must not end the process before
        },
        onProgress: (p: HashProgress) => tell(p.done, p.total),
        ...(signal ? { signal } : {})
      })
      await early
      return digest
    } catch (error) {
      await early?.catch(() => {})
      throw error
    }
  }

  /** SHA-256 is done: the link holds, and protocols that need nothing else can serve. */
  async #offerEarly(task: Task, core: CoreDigest): Promise<void> {
    const record = makeRecord(task, { ...core, pieces: undefined, v2: undefined, ed2k: undefined })
    await this.#parts.shares.add(record)
    this.#track(this.#parts.finder.announce(record.fileId))
    const { fileId, link } = this.#addresses.view(record)
    this.#emit({ type: 'share:linked', path: task.request.path, fileId, link })
  }

  /** Ciphertext of a share that did not come to be is nobody's. */
  #discard({ path }: Task): void {
    if (!this.#parts.shares.summaries().some(r => r.summary.path === path)) this.#encrypted.remove(path)
  }

  #progress(path: string, size: number): (done: number, total: number) => void {
    const start = systemClock.monotonic()
    let shownMs = start
    return (done, total) => {
      const now = systemClock.monotonic()
      if (now - shownMs < TELL_MS && done < total) return
      shownMs = now
      const hashedBytes = Math.floor((size * done) / Math.max(1, total))
      this.#emit({ type: 'share:progress', path, hashedBytes, size, rate: Math.round((hashedBytes * 1000) / Math.max(1, now - start)) })
    }
  }

  /** In the DHTs, at trackers and servers: wherever this share is served. What was told of it before, with other options, ends. */
  #announce(record: ShareSummary): void {
    this.#track(this.#parts.finder.announce(record.fileId))
    const hex = bytesToHex(record.fileId)
    const before = this.#announced.get(hex)
    const stack = new AsyncDisposableStack()
    this.#announced.set(hex, stack)
    const tell = (): void => {
      if (stack.disposed) return
      for (const network of this.#parts.networks.all)
        if (record.protocols.includes(network.protocol.name)) stack.use(network.announce(record))
    }
    if (before) this.#track(before.disposeAsync().then(tell))
    else tell()
  }

  async #withdraw(fileId: Uint8Array): Promise<void> {
    const hex = bytesToHex(fileId)
    const announced = this.#announced.get(hex)
    this.#announced.delete(hex)
    await Promise.all([this.#parts.finder.withdraw(fileId), announced?.disposeAsync()])
  }

  #onStopped(fileId: Uint8Array, reason: string): void {
    this.#track(this.#withdraw(fileId))
    this.#emit({ type: 'share:stopped', fileId: bytesToHex(fileId), reason })
  }

  #track(task: Promise<unknown>): void {
    const p = task.catch(error => this.#parts.log.debug('background work failed', { error }))
    this.#tasks.add(p)
    void p.finally(() => this.#tasks.delete(p))
  }
}

/** Whoever shares the same file over BitTorrent or WebTorrent meets in one hybrid swarm. */
function wantsOf(protocols: readonly string[]): DigestWants {
  const torrent = protocols.includes('bittorrent') || protocols.includes('webtorrent')
  return { sha1: torrent, v2: torrent, ed2k: protocols.includes('ed2k') }
}

function makeRecord({ request, path, name, protocols, price }: Task, digest: FileDigest): ShareRecord {
  const trackers = request.trackers ?? []
  const { pieces, v2, size } = digest
  const torrent = pieces ? torrentOf({ name, size, pieces, v2, trackers }) : undefined
  const plain = torrent?.infoHashV2 && pieces ? torrentOf({ name, size, pieces, trackers }) : undefined
  return {
    ...digest,
    path,
    name,
    mime: getMimeType(name) ?? '',
    infoHash: torrent?.infoHash,
    infoHashV2: torrent?.infoHashV2,
    plainInfoHash: plain?.infoHash,
    pricePerMb: price,
    protocols,
    trackers,
    addedAt: systemClock.now(),
    uploadLimit: request.uploadLimit,
    creditBytes: request.creditBytes
  }
}

/** File id in hex from hex, CID or link. @throws BAD_LINK */
function fileIdOf(id: string): string {
  const address = parsePublicAddress(id)
  if (address.kind !== 'kith') throw new KithError('BAD_LINK', 'give the file id, CID or kith: link of a share')
  return bytesToHex(address.link.fileId)
}
