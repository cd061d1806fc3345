/** Files of tasks go as this node shares and fetches any file: encrypted, with the key in the link, which only the other side is told. */
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { FileContent, TaskFile, TaskFiles } from '../agents/types.ts'
import { KithError } from '../base/errors.ts'
import { safeName } from '../transfer/safe-name.ts'
import type { DownloadView, KithNode } from './types.ts'

type Node = Pick<KithNode, 'share' | 'get' | 'download' | 'cancel' | 'events'>

/** @param folder of this node alone: what others send is put there until the node ends */
export class NodeTaskFiles implements TaskFiles, Disposable {
  readonly #node: () => Node
  readonly #folder: string

  constructor(node: () => Node, folder: string) {
    this.#node = node
    this.#folder = folder
    rmSync(folder, { recursive: true, force: true })
  }

  async putFile(content: FileContent, signal?: AbortSignal): Promise<TaskFile> {
    const path = 'path' in content ? content.path : this.#write(content.bytes, content.name)
    const name = content.name ?? basename(path)
    const { link } = await this.#node().share({ path, name, encrypt: true }, signal)
    return { link, name, size: statSync(path).size }
  }

  async getFile(file: TaskFile, signal?: AbortSignal): Promise<string> {
    const node = this.#node()
    const started = await node.get({ address: file.link, folder: this.#place(), maxCostWei: '0' })
    const ended = await this.#ended(started, signal)
    if (ended.state !== 'done' || ended.path === undefined)
      throw new KithError(
        ended.error?.code ?? 'NO_SOURCES',
        `the file of a task could not be fetched: ${ended.error?.message ?? ended.message}`
      )
    return ended.path
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #ended(started: DownloadView, signal?: AbortSignal): Promise<DownloadView> {
    const node = this.#node()
    const { promise, resolve, reject } = Promise.withResolvers<DownloadView>()
    const stop = new AbortController()
    const look = (view: DownloadView | undefined): void => {
      if (view && ['done', 'failed', 'cancelled'].includes(view.state)) resolve(view)
    }
    node.events.on(e => {
      if (e.type === 'download:changed' && e.download.id === started.id) look(e.download)
    }, stop.signal)
    signal?.addEventListener(
      'abort',
      () => {
        void node.cancel(started.id).catch(() => {})
        reject(signal.reason)
      },
      { once: true, signal: stop.signal }
    )
    look(node.download(started.id))
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
