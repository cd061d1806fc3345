/** A web seed of a torrent with several files: each piece is put together from ranges of the files that it covers, and zeros of pad files. */
import { KithError } from '../../base/errors.ts'
import { chunkLength, chunkOffset, type Grid } from '../grid.ts'
import type { RangeSource } from '../http/source.node.ts'
import type { Delivery, Source } from '../protocol.ts'
import { MAX_RUN_BYTES, MAX_WEB_SEED_FILES } from './limits.ts'
import type { TorrentFile } from './metainfo.ts'

/** Asks a server for one file of the torrent. @throws when it is not there, or of another size */
export type OpenSeedFile = (file: TorrentFile, signal: AbortSignal) => Promise<RangeSource>

interface Placed {
  readonly file: TorrentFile
  readonly offset: number
}

/** One range of one file, and where in a piece it belongs. */
interface Part {
  readonly placed: Placed
  readonly from: number
  readonly at: number
  readonly length: number
}

/** Requests at a time: each is for a part of one piece. */
const PARALLEL = 4

/** Opens the first file, so that a dead server is known before anything is assigned to it. @throws what `openFile` throws */
export async function openFolderSeed(
  url: string,
  grid: Grid,
  files: readonly TorrentFile[],
  openFile: OpenSeedFile,
  signal: AbortSignal
): Promise<Source> {
  const source = new FolderSeed(url, grid, files, openFile)
  try {
    await source.connect(signal)
    return source
  } catch (error) {
    await source[Symbol.asyncDispose]()
    throw error
  }
}

class FolderSeed implements Source {
  readonly key: string
  readonly protocol = 'http'
  readonly seeder = undefined
  readonly parallel: number = PARALLEL
  readonly maxRun: number
  readonly #grid: Grid
  /** With bytes that a server has, in order. */
  readonly #files: readonly Placed[]
  readonly #openFile: OpenSeedFile
  /** The file used last is last. */
  readonly #open = new Map<Placed, Promise<RangeSource>>()
  readonly #busy = new Map<Placed, number>()
  readonly #gone = new AbortController()

  constructor(url: string, grid: Grid, files: readonly TorrentFile[], openFile: OpenSeedFile) {
    this.key = `http ${url}`
    this.maxRun = Math.max(1, Math.floor(MAX_RUN_BYTES / grid.chunkBytes))
    this.#grid = grid
    this.#openFile = openFile
    let offset = 0
    this.#files = files
      .map(file => {
        const placed = { file, offset }
        offset += file.length
        return placed
      })
      .filter(({ file }) => !file.pad && file.length > 0)
  }

  has(): boolean {
    return true
  }
  onChange(): void {}

  async connect(signal: AbortSignal): Promise<void> {
    const [first] = this.#files
    if (!first) throw new KithError('SOURCE_CHANGED', 'the torrent has no bytes')
    await this.#sourceOf(first, signal)
  }

  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#gone.signal])
    const { first, count } = delivery.run
    for (let c = first; c < first + count && delivery.wants(c); c++) {
      either.throwIfAborted()
      const { bytes } = await delivery.slot(c)
      bytes.fill(0, 0, chunkLength(this.#grid, c)) // where pad files are
      for (const part of this.#partsOf(c)) {
        await this.#read(part, bytes.subarray(part.at, part.at + part.length), either)
        delivery.received(part.length)
      }
      delivery.complete(c)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gone.abort(new KithError('SOURCE_LOST', 'the source was closed'))
    const open = [...this.#open.values()]
    this.#open.clear()
    await Promise.allSettled(open.map(async o => (await o)[Symbol.asyncDispose]()))
  }

  #partsOf(chunk: number): Part[] {
    const begin = chunkOffset(this.#grid, chunk)
    const end = begin + chunkLength(this.#grid, chunk)
    const parts: Part[] = []
    for (let i = this.#firstAt(begin); i < this.#files.length && this.#files[i]!.offset < end; i++) {
      const placed = this.#files[i]!
      const from = Math.max(begin, placed.offset)
      const to = Math.min(end, placed.offset + placed.file.length)
      parts.push({ placed, from: from - placed.offset, at: from - begin, length: to - from })
    }
    return parts
  }

  /** Index of the first file that ends behind `offset`. */
  #firstAt(offset: number): number {
    let low = 0
    for (let high = this.#files.length; low < high; ) {
      const middle = (low + high) >> 1
      const { file, offset: begin } = this.#files[middle]!
      if (begin + file.length <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  async #read({ placed, from }: Part, target: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#busy.set(placed, (this.#busy.get(placed) ?? 0) + 1)
    try {
      const source = await this.#sourceOf(placed, signal)
      await source.read(from, target, signal)
    } finally {
      const left = this.#busy.get(placed)! - 1
      if (left > 0) this.#busy.set(placed, left)
      else this.#busy.delete(placed)
    }
  }

  /** What opens for one run must not end with it when another waits for the same file: only disposal stops it. */
  async #sourceOf(placed: Placed, signal: AbortSignal): Promise<RangeSource> {
    const opening = this.#open.get(placed) ?? this.#openFile(placed.file, this.#gone.signal)
    opening.catch(() => {
      if (this.#open.get(placed) === opening) this.#open.delete(placed)
    })
    this.#open.delete(placed)
    this.#open.set(placed, opening)
    for (const [other, source] of this.#open) {
      if (this.#open.size <= MAX_WEB_SEED_FILES) break
      if (this.#busy.has(other) || other === placed) continue
      this.#open.delete(other)
      void source.then(
        s => s[Symbol.asyncDispose](),
        () => {}
      )
    }
    const source = await opening
    signal.throwIfAborted()
    return source
  }
}
