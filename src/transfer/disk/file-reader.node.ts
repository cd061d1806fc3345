/**
 * Reads a shared file for serving, and notices when it is no longer what was shared (threats CH16): while size, time and inode stay the
 * same, bytes are served as they are; once they differ, every chunk is hashed before it is served, and the first wrong one
 * ends the share. (The reader of the bytes verifies them in any case.)
 */
import { hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { equalBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import type { CachedFile, ChunkCache } from '../chunk-cache.ts'
import { chunkLength, chunkOffset, type Grid } from '../grid.ts'
import type { FileStamp } from '../hash-file.node.ts'

/** How long the file is taken for unchanged after a look at it. */
const CHECK_MS = 100

export class FileReader implements AsyncDisposable {
  readonly #path: string
  readonly #grid: Grid
  readonly #stamp: FileStamp
  readonly #hashOf: (chunk: number) => Uint8Array
  readonly #cache: ChunkCache | undefined
  readonly #cached: CachedFile
  readonly #onChanged: (reason: 'changed' | 'missing') => void
  #file: Promise<FileHandle> | undefined
  #suspicious = false
  #checkedMs = -1
  #ended = false

  /**
   * @param onChanged told once, when the file is not what was shared or is gone
   * @param cache shared by all readers of a node
   */
  constructor(
    path: string,
    grid: Grid,
    stamp: FileStamp,
    hashOf: (chunk: number) => Uint8Array,
    onChanged: (reason: 'changed' | 'missing') => void,
    cache?: ChunkCache
  ) {
    this.#path = path
    this.#grid = grid
    this.#stamp = stamp
    this.#hashOf = hashOf
    this.#onChanged = onChanged
    this.#cache = cache
    this.#cached = { grid, hashOf }
  }

  /** @see Share.read. @throws FILE_CHANGED */
  async read(offset: number, length: number, target: Uint8Array): Promise<void> {
    const file = await this.#open()
    if (performance.now() - this.#checkedMs > CHECK_MS) await this.#look(file)
    if (this.#suspicious) return this.#readChecked(file, offset, length, target)
    const load = (at: number, n: number, into: Uint8Array): Promise<void> => readFully(file, into, n, at).catch(() => this.#end('changed'))
    await (this.#cache ? this.#cache.read(this.#cached, offset, length, target, load) : load(offset, length, target))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    this.#cache?.drop(this.#cached)
    const file = await this.#file?.catch(() => undefined)
    this.#file = undefined
    await file?.close()
  }

  async #open(): Promise<FileHandle> {
    if (this.#ended) throw changed(this.#path)
    this.#file ??= open(this.#path, constants.O_RDONLY)
    try {
      return await this.#file
    } catch {
      this.#file = undefined
      return this.#end('missing')
    }
  }

  async #look(file: FileHandle): Promise<void> {
    const s = await file.stat({ bigint: true })
    if (Number(s.size) < this.#grid.size) this.#end('changed')
    this.#suspicious ||=
      Number(s.size) !== this.#stamp.size || s.mtimeNs.toString() !== this.#stamp.mtime || s.ino.toString() !== this.#stamp.inode
    if (this.#suspicious) this.#cache?.drop(this.#cached)
    this.#checkedMs = performance.now()
  }

  async #readChecked(file: FileHandle, offset: number, length: number, target: Uint8Array): Promise<void> {
    const chunk = new Uint8Array(this.#grid.chunkBytes)
    for (let c = Math.floor(offset / this.#grid.chunkBytes); chunkOffset(this.#grid, c) < offset + length; c++) {
      const start = chunkOffset(this.#grid, c)
      const bytes = chunk.subarray(0, chunkLength(this.#grid, c))
      await readFully(file, bytes, bytes.length, start).catch(() => this.#end('changed'))
      if (!equalBytes(hash('sha256', bytes, 'buffer'), this.#hashOf(c))) this.#end('changed')
      const from = Math.max(offset, start)
      const to = Math.min(offset + length, start + bytes.length)
      target.set(bytes.subarray(from - start, to - start), from - offset)
    }
  }

  #end(reason: 'changed' | 'missing'): never {
    if (!this.#ended) {
      this.#ended = true
      this.#onChanged(reason)
    }
    throw changed(this.#path)
  }
}

const changed = (path: string): KithError =>
  new KithError('FILE_CHANGED', `${path} is no longer what was shared`, { path }, { hint: 'share it again to offer the new content' })

async function readFully(file: FileHandle, target: Uint8Array, length: number, offset: number): Promise<void> {
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(target, at, length - at, offset + at)
    if (bytesRead === 0) throw new KithError('FILE_CHANGED', 'the file is shorter than it was')
    at += bytesRead
  }
}
