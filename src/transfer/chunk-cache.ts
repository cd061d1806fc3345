/**
 * Chunks of shared files that are read often and slowly, in memory. What the system's page cache holds, it gives at less cost than a second
 * copy in this process: serving 48 MiB to eight readers took 0.44 CPU seconds a GiB from the page cache, and 0.50 to 0.66 from here, even
 * without a copy. So a chunk is kept only when it is read again while its first reading is remembered, and the file took long to give it:
 * a network drive, a spinning disk, a machine short of memory. No more is remembered than fits: whoever reads a large file, even again and
 * again from one end to the other, costs a map entry a chunk and pushes nothing out. The least recently used go first; they go to a colder
 * tier if there is one. Pure.
 */
import type { Clock } from '../base/clock.ts'
import { chunkLength, chunkOffset, type Grid } from './grid.ts'

/** Memory for chunks that are read often and slowly. */
export const MAX_CACHE_BYTES: number = 64 * 1024 * 1024
/** A chunk whose reading took so long did not come from the page cache (0.1 to 0.3 ms), nor from a disk as fast as a network. */
const SLOW_MS = 5

export interface ChunkCacheOptions {
  /** Bytes of chunks in memory; 0 keeps nothing. */
  readonly maxBytes?: number
  /** How long the reading of a chunk must take for it to be kept. */
  readonly slowMs?: number
}
export const chunkCacheDefaults: Required<ChunkCacheOptions> = { maxBytes: MAX_CACHE_BYTES, slowMs: SLOW_MS }

export interface ChunkCacheDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly cold?: ColdTier | undefined
}

/** One file as the cache sees it. The object itself is the key. */
export interface CachedFile {
  readonly grid: Grid
  /** SHA-256 of a chunk: under which a colder tier keeps it. */
  readonly hashOf: (chunk: number) => Uint8Array
}

/** Where chunks go that leave memory (chunk-cache-disk.node.ts). */
export interface ColdTier {
  /** Whether it may be worth asking. */
  has(hash: Uint8Array): boolean
  /** Fills `target` with the chunk of this hash, checked; false when it is not there any more. Never rejects. */
  get(hash: Uint8Array, target: Uint8Array): Promise<boolean>
  /** Keeps a copy, perhaps. `bytes` may be used again when this resolves. Never rejects. */
  put(hash: Uint8Array, bytes: Uint8Array): Promise<void>
}

/** Readings of a chunk's beginning, by where the bytes came from, and what is held. */
export interface ChunkCacheStats {
  readonly memoryHits: number
  readonly coldHits: number
  readonly misses: number
  readonly bytes: number
  readonly maxBytes: number
  readonly kept: number
  readonly evicted: number
}

/** Reads `length` bytes at `offset` into `target`. */
type Load = (offset: number, length: number, target: Uint8Array) => Promise<void>

interface Entry {
  readonly file: CachedFile
  readonly chunk: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

export class ChunkCache {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #maxBytes: number
  readonly #slowMs: number
  readonly #cold: ColdTier | undefined
  readonly #ids = new WeakMap<CachedFile, number>()
  #lastId = 0
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>()
  /** Chunks that were begun lately and are not kept; oldest first. */
  readonly #begun = new Set<string>()
  #bytes = 0
  #memoryHits = 0
  #coldHits = 0
  #misses = 0
  #kept = 0
  #evicted = 0

  constructor(deps: ChunkCacheDeps, options: ChunkCacheOptions = {}) {
    const { maxBytes, slowMs } = { ...chunkCacheDefaults, ...options }
    this.#clock = deps.clock
    this.#cold = deps.cold
    this.#maxBytes = maxBytes
    this.#slowMs = slowMs
  }

  get stats(): ChunkCacheStats {
    return {
      memoryHits: this.#memoryHits,
      coldHits: this.#coldHits,
      misses: this.#misses,
      bytes: this.#bytes,
      maxBytes: this.#maxBytes,
      kept: this.#kept,
      evicted: this.#evicted
    }
  }

  /**
   * Reads through the cache: from memory, else from the colder tier, else with `load`.
   * @param load reads a part of the file; what it throws is thrown
   */
  async read(file: CachedFile, offset: number, length: number, target: Uint8Array, load: Load): Promise<void> {
    const chunks = chunksOf(file.grid, offset, length)
    const begun = chunks.filter(c => chunkOffset(file.grid, c) >= offset) // a chunk that is read in blocks counts once
    if (this.#copy(file, chunks, offset, length, target)) this.#memoryHits += begun.length
    else if (await this.#copyCold(file, chunks, offset, length, target)) this.#coldHits += begun.length
    else {
      this.#misses += begun.length
      const again = begun.filter(c => this.#noteBegun(file, c))
      const asked = this.#clock.monotonic()
      await load(offset, length, target)
      const isSlow = this.#clock.monotonic() - asked >= this.#slowMs * Math.max(1, again.length)
      if (isSlow) for (const c of again) await this.#keepWhole(file, c, offset, length, target, load)
    }
  }

  /** Forgets a file: it is not shared any more, or has changed. */
  drop(file: CachedFile): void {
    const prefix = `${this.#ids.get(file) ?? 0} `
    for (const [key, { bytes }] of this.#entries) {
      if (!key.startsWith(prefix)) continue
      this.#entries.delete(key)
      this.#bytes -= bytes.length
    }
    for (const key of this.#begun.keys()) if (key.startsWith(prefix)) this.#begun.delete(key)
  }

  /** Copies from memory, if all is there. */
  #copy(file: CachedFile, chunks: readonly number[], offset: number, length: number, target: Uint8Array): boolean {
    const found: Entry[] = []
    for (const c of chunks) {
      const entry = this.#entries.get(this.#key(file, c))
      if (!entry) return false
      found.push(entry)
    }
    for (const { chunk, bytes } of found) {
      const start = chunkOffset(file.grid, chunk)
      const from = Math.max(offset, start)
      const to = Math.min(offset + length, start + bytes.length)
      target.set(bytes.subarray(from - start, to - start), from - offset)
    }
    for (const entry of found) {
      const key = this.#key(file, entry.chunk)
      this.#entries.delete(key)
      this.#entries.set(key, entry)
    }
    return true
  }

  /** Brings chunks back from the colder tier, if it has all that memory has not, and copies. */
  async #copyCold(file: CachedFile, chunks: readonly number[], offset: number, length: number, target: Uint8Array): Promise<boolean> {
    const cold = this.#cold
    const missing = chunks.filter(c => !this.#entries.has(this.#key(file, c)))
    if (!cold || !missing.every(c => cold.has(file.hashOf(c)))) return false
    for (const c of missing) {
      const bytes = new Uint8Array(chunkLength(file.grid, c))
      if (!(await cold.get(file.hashOf(c), bytes))) return false
      this.#keep(file, c, bytes)
    }
    return this.#copy(file, chunks, offset, length, target)
  }

  /** Notes that a chunk was begun. @returns whether it was so lately */
  #noteBegun(file: CachedFile, chunk: number): boolean {
    if (chunkLength(file.grid, chunk) > this.#maxBytes) return false
    const key = this.#key(file, chunk)
    if (this.#begun.delete(key)) return true
    this.#begun.add(key)
    if (this.#begun.size * file.grid.chunkBytes > this.#maxBytes) this.#begun.delete(this.#begun.values().next().value!)
    return false
  }

  /** Keeps a chunk of which at least the beginning is in `target`; what is missing is read too, since it will be asked for next. */
  async #keepWhole(file: CachedFile, chunk: number, offset: number, length: number, target: Uint8Array, load: Load): Promise<void> {
    const from = chunkOffset(file.grid, chunk) - offset
    const bytes = new Uint8Array(chunkLength(file.grid, chunk))
    const here = Math.min(bytes.length, length - from)
    bytes.set(target.subarray(from, from + here))
    if (here < bytes.length) await load(offset + from + here, bytes.length - here, bytes.subarray(here))
    this.#keep(file, chunk, bytes)
  }

  #keep(file: CachedFile, chunk: number, bytes: Uint8Array<ArrayBuffer>): void {
    const key = this.#key(file, chunk)
    if (bytes.length > this.#maxBytes || this.#entries.has(key)) return
    this.#entries.set(key, { file, chunk, bytes })
    this.#bytes += bytes.length
    this.#kept++
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) break
      this.#entries.delete(oldest)
      this.#bytes -= entry.bytes.length
      this.#evicted++
      void this.#cold?.put(entry.file.hashOf(entry.chunk), entry.bytes)
    }
  }

  #key(file: CachedFile, chunk: number): string {
    let id = this.#ids.get(file)
    if (id === undefined) this.#ids.set(file, (id = ++this.#lastId))
    return `${id} ${chunk}`
  }
}

function chunksOf(grid: Grid, offset: number, length: number): number[] {
  const chunks: number[] = []
  for (let c = Math.floor(offset / grid.chunkBytes); chunkOffset(grid, c) < offset + length; c++) chunks.push(c)
  return chunks
}
