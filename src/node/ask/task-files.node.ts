/** Files of tasks go as this node shares and fetches any file: encrypted, with the key in the link, which only the other side is told. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { FileContent, TaskFile, TaskFiles } from '../../agents/types.ts'
import { KithError } from '../../base/errors.ts'
import type { EntityId } from '../../messaging/types.ts'
import { parseAddress } from '../../transfer/address.ts'
import { safeName } from '../../transfer/safe-name.ts'
import { formatLink } from '../../wire/link.ts'
import { MAX_TASK_FILE_BYTES } from '../limits.ts'
import type { DownloadView, KithNode } from '../types.ts'

type Node = Pick<KithNode, 'share' | 'get' | 'download' | 'cancel' | 'events'>

/** What encryption adds to a file, at most. */
const encrypted = (bytes: number): number => bytes + bytes / 1024 + 65_536

/** Whether an address in a link may be dialled that this peer named (undefined: nobody who is known). */
export type MayDial = (address: string, from: EntityId | undefined) => boolean

export class NodeTaskFiles implements TaskFiles, Disposable {
  readonly #node: () => Node
  readonly #folder: string
  readonly #mayDial: MayDial

  /** @param folder of this node alone: what others send is put there until the node ends */
  constructor(node: () => Node, folder: string, mayDial: MayDial) {
    this.#node = node
    this.#folder = folder
    this.#mayDial = mayDial
    rmSync(folder, { recursive: true, force: true })
  }

  async putFile(content: FileContent, signal?: AbortSignal): Promise<TaskFile> {
    const isOurs = 'bytes' in content
    const path = isOurs ? this.#write(content.bytes, content.name) : content.path
    const name = content.name ?? basename(path)
    try {
      const { link } = await this.#node().share({ path, name, encrypt: true, lent: true }, signal)
      return { link, name, size: statSync(path).size }
    } finally {
      // What is shared is the ciphertext.
      if (isOurs) this.dropFile(path)
    }
  }

  isStill(path: string, { name, size }: TaskFile, since: number): boolean {
    const now = statSync(path, { throwIfNoEntry: false })
    return now?.isFile() === true && now.size === size && basename(path) === name && now.ctimeMs < since
  }

  /**
   * The link comes from a peer: only a `kith:` link is followed, never a URL or path, which would make this node ask or read what the peer
   * cannot; addresses in it are dialled only where the peer could send us anyway; and no more is fetched than was said.
   * @throws BAD_LINK, TOO_LARGE, NO_SOURCES, and the codes of `kith get`
   */
  async getFile(file: TaskFile, signal?: AbortSignal, from?: EntityId): Promise<string> {
    signal?.throwIfAborted()
    const address = parseAddress(file.link)
    if (address.kind !== 'kith') throw new KithError('BAD_LINK', 'the file of a task is named by a kith: link')
    const maxBytes = encrypted(Math.min(file.size, MAX_TASK_FILE_BYTES))
    if (file.size > MAX_TASK_FILE_BYTES || (address.link.size ?? 0) > maxBytes) throw tooLarge()
    const place = this.#place()
    try {
      const link = { ...address.link, via: address.link.via.filter(via => this.#mayDial(via, from)) }
      const started = await this.#node().get({ address: formatLink(link), folder: place, maxCostWei: '0', isFromPeer: true })
      const ended = await this.#ended(started, maxBytes, signal)
      if (ended.state === 'done' && ended.path !== undefined) return ended.path
      const why = `the file of a task could not be fetched: ${ended.error?.message ?? ended.message}`
      throw new KithError(ended.error?.code ?? 'NO_SOURCES', why)
    } catch (error) {
      rmSync(place, { recursive: true, force: true })
      throw error
    }
  }

  dropFile(path: string): void {
    const place = dirname(path)
    if (dirname(place) === this.#folder) rmSync(place, { recursive: true, force: true })
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #ended(started: DownloadView, maxBytes: number, signal?: AbortSignal): Promise<DownloadView> {
    const node = this.#node()
    const { promise, resolve, reject } = Promise.withResolvers<DownloadView>()
    const stop = new AbortController()
    const look = (view: DownloadView | undefined): void => {
      if ((view?.size ?? 0) > maxBytes) giveUp(tooLarge())
      else if (view && ['done', 'failed', 'cancelled'].includes(view.state)) resolve(view)
    }
    const giveUp = (reason: unknown): void => {
      stop.abort()
      // It ends before its folder is removed.
      const gone = (): void => reject(reason)
      node.cancel(started.id).then(gone, gone)
    }
    node.events.on(e => {
      if (e.type === 'download:changed' && e.download.id === started.id) look(e.download)
    }, stop.signal)
    signal?.addEventListener('abort', () => giveUp(signal.reason), { once: true, signal: stop.signal })
    if (signal?.aborted) giveUp(signal.reason)
    else look(node.download(started.id))
    return promise.finally(() => stop.abort())
  }

  #write(bytes: Uint8Array, name: string): string {
    const path = join(this.#place(), safeName(name, 'file'))
    writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' })
    return path
  }
  #place(): string {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    return mkdtempSync(join(this.#folder, 'task-'))
  }
}

const tooLarge = (): KithError => new KithError('TOO_LARGE', 'a file of a task is larger than was said, or than such files may be')
