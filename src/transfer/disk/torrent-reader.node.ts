/**
 * Reads the content of a torrent from the files that it became: one, or those of a folder, with zeros where pad files were. While size, time
 * and inode of a file stay as they were, its bytes are served as they are; once they differ, each piece is hashed before it is served, and
 * the first wrong one ends it (threats CH16).
 */
import { type FileHandle, open } from 'node:fs/promises'
import { KithError } from '../../base/errors.ts'
import { chunkLength, chunkOffset, type Grid } from '../grid.ts'
import type { FileStamp } from '../hash-file.node.ts'

/** A file on disk and its place in the content of the torrent. */
export interface PlacedFile {
  readonly path: string
  readonly offset: number
  /** Its size, and what tells whether it is still the same. */
  readonly stamp: FileStamp
}

/** Files of one torrent that are open at a time. */
const OPEN_FILES = 16
/** How long a file is taken for unchanged after a look at it. */
const CHECK_MS = 100

interface OpenFile {
  readonly handle: Promise<FileHandle>
  uses: number
  checkedMs: number
}

export class TorrentReader implements AsyncDisposable {
  readonly #grid: Grid
  /** With bytes, in the order of their offsets. */
  readonly #files: readonly PlacedFile[]
  readonly #isPiece: (piece: number, bytes: Uint8Array) => boolean
  readonly #onGone: (reason: 'changed' | 'missing') => void
  readonly #open = new Map<PlacedFile, OpenFile>()
  #suspicious = false
  #ended = false

  /** @param onGone told once, when the files are not what was fetched */
  constructor(
    grid: Grid,
    files: readonly PlacedFile[],
    isPiece: (piece: number, bytes: Uint8Array) => boolean,
    onGone: (reason: 'changed' | 'missing') => void
  ) {
    this.#grid = grid
    this.#files = files.filter(f => f.stamp.size > 0).sort((a, b) => a.offset - b.offset)
    this.#isPiece = isPiece
    this.#onGone = onGone
  }

  /** Behind the end are zeros. @see Share.read. @throws FILE_CHANGED */
  async read(offset: number, length: number, target: Uint8Array): Promise<void> {
    if (!this.#suspicious) await this.#fill(offset, length, target)
    if (this.#suspicious) await this.#readChecked(offset, length, target) // found out just now, perhaps
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    const open = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(open.map(async o => (await o.handle.catch(() => undefined))?.close()))
  }

  async #readChecked(offset: number, length: number, target: Uint8Array): Promise<void> {
    const grid = this.#grid
    const piece = new Uint8Array(grid.chunkBytes)
    if (offset + length > grid.size) target.fill(0)
    for (let c = Math.floor(offset / grid.chunkBytes); chunkOffset(grid, c) < Math.min(grid.size, offset + length); c++) {
      const start = chunkOffset(grid, c)
      const bytes = piece.subarray(0, chunkLength(grid, c))
      await this.#fill(start, bytes.length, bytes)
      if (!this.#isPiece(c, bytes)) this.#end('changed')
      const from = Math.max(offset, start)
      const to = Math.min(offset + length, start + bytes.length)
      target.set(bytes.subarray(from - start, to - start), from - offset)
    }
  }

  async #fill(offset: number, length: number, target: Uint8Array): Promise<void> {
    let at = offset
    for (let i = this.#firstAt(offset); at < offset + length; i++) {
      const file = this.#files[i]
      const begin = Math.min(file?.offset ?? Number.POSITIVE_INFINITY, offset + length)
      if (begin > at) target.fill(0, at - offset, begin - offset)
      at = Math.max(at, begin)
      if (!file || at >= offset + length) return
      const end = Math.min(offset + length, file.offset + file.stamp.size)
      await this.#readFile(file, at - file.offset, target.subarray(at - offset, end - offset))
      at = end
    }
  }

  /** Index of the first file that ends behind `offset`. */
  #firstAt(offset: number): number {
    let low = 0
    for (let high = this.#files.length; low < high; ) {
      const middle = (low + high) >> 1
      const { offset: begin, stamp } = this.#files[middle]!
      if (begin + stamp.size <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  async #readFile(file: PlacedFile, from: number, target: Uint8Array): Promise<void> {
    const entry = this.#take(file)
    try {
      const handle = await entry.handle.catch(() => this.#end('missing'))
      if (performance.now() - entry.checkedMs > CHECK_MS) await this.#look(file, handle, entry)
      for (let at = 0; at < target.length; ) {
        const { bytesRead } = await handle.read(target, at, target.length - at, from + at)
        if (bytesRead === 0) this.#end('changed')
        at += bytesRead
      }
    } finally {
      entry.uses--
    }
  }

  #take(file: PlacedFile): OpenFile {
    if (this.#ended) throw changed(file.path)
    const entry = this.#open.get(file) ?? { handle: open(file.path, 'r'), uses: 0, checkedMs: Number.NEGATIVE_INFINITY }
    this.#open.delete(file)
    this.#open.set(file, entry)
    entry.uses++
    for (const [other, { handle, uses }] of this.#open) {
      if (this.#open.size <= OPEN_FILES) break
      if (uses > 0) continue
      this.#open.delete(other)
      void handle.then(
        h => h.close(),
        () => {}
      )
    }
    return entry
  }

  async #look({ path, stamp }: PlacedFile, handle: FileHandle, entry: OpenFile): Promise<void> {
    const s = await handle.stat({ bigint: true }).catch(() => this.#end('changed'))
    if (Number(s.size) < stamp.size || this.#ended) this.#end('changed', path)
    this.#suspicious ||= Number(s.size) !== stamp.size || s.mtimeNs.toString() !== stamp.mtime || s.ino.toString() !== stamp.inode
    entry.checkedMs = performance.now()
  }

  #end(reason: 'changed' | 'missing', path = this.#files[0]?.path ?? ''): never {
    if (!this.#ended) {
      this.#ended = true
      this.#onGone(reason)
    }
    throw changed(path)
  }
}

const changed = (path: string): KithError => new KithError('FILE_CHANGED', `${path} is no longer what was fetched`, { path })
