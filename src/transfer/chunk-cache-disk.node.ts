/**
 * The colder tier of the chunk cache: chunks in files of a folder of its own, for shares that lie on something slower (a network drive, a
 * spinning disk). A chunk's file is named for its SHA-256 and checked against it when read, so what a crash or a power cut leaves is never
 * served, and nothing needs to be synced. The least recently used go when the size limit is reached; nothing outside the folder, and
 * nothing in it with another kind of name, is ever touched.
 */
import { hash } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import type { ColdTier } from './chunk-cache.ts'

/** Chunks being written at once; more are not kept. */
export const MAX_CACHE_WRITES = 4

export interface DiskCacheStats {
  readonly hits: number
  /** Asked for, but gone or damaged. */
  readonly misses: number
  readonly bytes: number
  readonly maxBytes: number
  readonly chunks: number
  readonly evicted: number
}

export class DiskCache implements ColdTier, AsyncDisposable {
  readonly #folder: string
  readonly #maxBytes: number
  /** Bytes by hex hash; least recently used first. After a restart: in the order of writing. */
  readonly #sizes = new Map<string, number>()
  readonly #work = new Set<Promise<void>>()
  #ended = false
  #bytes = 0
  #serial = 0
  #hits = 0
  #misses = 0
  #evicted = 0

  private constructor(folder: string, maxBytes: number) {
    this.#folder = folder
    this.#maxBytes = maxBytes
  }

  /** Opens the cache in `folder`, which one process may use at a time, with what it held. @throws what the file system says about the folder */
  static async open(folder: string, options: { readonly maxBytes: number }): Promise<DiskCache> {
    const cache = new DiskCache(folder, options.maxBytes)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await cache.#scan()
    return cache
  }

  get stats(): DiskCacheStats {
    const { size: chunks } = this.#sizes
    return { hits: this.#hits, misses: this.#misses, bytes: this.#bytes, maxBytes: this.#maxBytes, chunks, evicted: this.#evicted }
  }

  has(id: Uint8Array): boolean {
    return this.#sizes.has(bytesToHex(id))
  }

  async get(id: Uint8Array, target: Uint8Array): Promise<boolean> {
    const hex = bytesToHex(id)
    const good = this.#sizes.get(hex) === target.length && (await readAll(this.#pathOf(hex), target)) && equalBytes(sha256(target), id)
    if (good) {
      this.#hits++
      const size = this.#sizes.get(hex)
      if (size !== undefined && this.#sizes.delete(hex)) this.#sizes.set(hex, size)
    } else {
      this.#misses++
      await this.#remove(hex)
    }
    return good
  }

  put(id: Uint8Array, bytes: Uint8Array): Promise<void> {
    const hex = bytesToHex(id)
    if (this.#ended || this.#sizes.has(hex) || this.#work.size >= MAX_CACHE_WRITES || bytes.length > this.#maxBytes)
      return Promise.resolve()
    const work = this.#write(hex, bytes)
      .catch(() => {}) // a full or broken disk: the chunk is still where it came from
      .finally(() => this.#work.delete(work))
    this.#work.add(work)
    return work
  }

  /** Ends writing; the chunks stay for the next time. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await Promise.all(this.#work)
  }

  async #write(hex: string, bytes: Uint8Array): Promise<void> {
    const tmp = join(this.#folder, `tmp-${++this.#serial}`)
    try {
      await using file = await open(tmp, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
      await mkdir(join(this.#folder, hex.slice(0, 2)), { mode: 0o700 }).catch(() => {})
      await rename(tmp, this.#pathOf(hex))
    } catch (error) {
      await rm(tmp, { force: true })
      throw error
    }
    if (this.#sizes.has(hex)) return
    this.#sizes.set(hex, bytes.length)
    this.#bytes += bytes.length
    await this.#shrink()
  }

  async #shrink(): Promise<void> {
    for (const hex of this.#sizes.keys()) {
      if (this.#bytes <= this.#maxBytes) return
      this.#evicted++
      await this.#remove(hex)
    }
  }

  async #remove(hex: string): Promise<void> {
    const size = this.#sizes.get(hex)
    if (size === undefined) return
    this.#sizes.delete(hex)
    this.#bytes -= size
    await rm(this.#pathOf(hex), { force: true }).catch(() => {})
  }

  /** Finds what is there, removes what a crash left half written, and what is too much. */
  async #scan(): Promise<void> {
    const found: { readonly hex: string; readonly size: number; readonly at: number }[] = []
    for (const name of await readdir(this.#folder)) {
      if (/^tmp-[0-9]+$/.test(name)) await rm(join(this.#folder, name), { force: true })
      if (!/^[0-9a-f]{2}$/.test(name)) continue
      for (const hex of await readdir(join(this.#folder, name)).catch(() => [])) {
        if (!/^[0-9a-f]{64}$/.test(hex) || !hex.startsWith(name)) continue
        const facts = await lstat(this.#pathOf(hex)).catch(() => undefined)
        if (facts?.isFile()) found.push({ hex, size: facts.size, at: facts.mtimeMs })
      }
    }
    for (const { hex, size } of found.sort((a, b) => a.at - b.at)) {
      this.#sizes.set(hex, size)
      this.#bytes += size
    }
    await this.#shrink()
  }

  #pathOf(hex: string): string {
    return join(this.#folder, hex.slice(0, 2), hex)
  }
}

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer')

/** Fills `target` with a whole file of exactly its size; false when that cannot be. */
async function readAll(path: string, target: Uint8Array): Promise<boolean> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    for (let at = 0; at < target.length; ) {
      const { bytesRead } = await file.read(target, at, target.length - at, at)
      if (bytesRead === 0) return false
      at += bytesRead
    }
    return true
  } catch {
    return false
  }
}
