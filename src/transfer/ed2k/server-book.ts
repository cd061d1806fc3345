/**
 * What a server knows: who is logged in, which files they offered, and who has which. All of it is bounded, lives in memory and goes when
 * its client goes. Pure.
 */
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { type Crypt, HIGH_ID_FROM } from './hello.ts'
import {
  MAX_FILE_BYTES,
  MAX_FOUND_SOURCES,
  MAX_SEARCH_RESULTS,
  MAX_SERVER_CLIENT_FILES,
  MAX_SERVER_FILE_SOURCES,
  MAX_SERVER_FILES,
  MAX_SERVER_NAME_BYTES
} from './limits.ts'
import { type FileRecord, PARTIAL } from './server-files.ts'
import { matcherOf, type Search } from './server-search.ts'

/** Somebody who is logged in. */
export interface ServerClient {
  /** From 2^24 on its address. */
  readonly id: number
  readonly port: number
  readonly userHash: Uint8Array
  readonly crypt: Crypt
  /** Hashes of its files in hex. */
  readonly files: Set<string>
}

interface KnownFile {
  readonly hash: Uint8Array
  readonly name: string
  readonly lowerName: string
  readonly size: number
  readonly kind: string
  /** Whether each has all of it. */
  readonly holders: Map<ServerClient, boolean>
  completeSources: number
}

export class ServerBook {
  readonly #clients = new Set<ServerClient>()
  readonly #lowIds = new Map<number, ServerClient>()
  readonly #files = new Map<string, KnownFile>()
  #lastLowId = 0

  get clients(): number {
    return this.#clients.size
  }
  get files(): number {
    return this.#files.size
  }

  /** @param address how the client is seen, if it can be connected to there; undefined gives it a low id */
  join(who: Pick<ServerClient, 'port' | 'userHash' | 'crypt'>, address: number | undefined): ServerClient {
    const id = address !== undefined && address >= HIGH_ID_FROM ? address : this.#lowId()
    const client: ServerClient = { ...who, id, files: new Set() }
    this.#clients.add(client)
    if (id < HIGH_ID_FROM) this.#lowIds.set(id, client)
    return client
  }

  leave(client: ServerClient): void {
    if (!this.#clients.delete(client)) return
    this.#lowIds.delete(client.id)
    for (const hex of client.files) {
      const file = this.#files.get(hex)
      if (!file) continue
      if (file.holders.get(client)) file.completeSources--
      file.holders.delete(client)
      if (file.holders.size === 0) this.#files.delete(hex)
    }
    client.files.clear()
  }

  /** Takes what fits: the first name of a file stays, a file of another size under the same hash is left out. @returns how many were taken */
  offer(client: ServerClient, records: readonly FileRecord[]): number {
    return records.filter(record => this.#offerOne(client, record)).length
  }

  /** Those who have a file, without the one who asks; low ids only for who can be connected to. */
  sourcesOf(asker: ServerClient, hash: Uint8Array, size: number): ServerClient[] {
    const file = this.#files.get(bytesToHex(hash))
    const found: ServerClient[] = []
    if (!file || (size !== 0 && size !== file.size)) return found
    for (const holder of file.holders.keys()) {
      if (holder === asker || (holder.id < HIGH_ID_FROM && asker.id < HIGH_ID_FROM)) continue
      found.push(holder)
      if (found.length === MAX_FOUND_SOURCES) break
    }
    return found
  }

  byLowId(id: number): ServerClient | undefined {
    return this.#lowIds.get(id)
  }

  search(search: Search): FileRecord[] {
    const isWanted = matcherOf(search)
    const found: FileRecord[] = []
    for (const { hash, name, lowerName, size, kind, holders, completeSources } of this.#files.values()) {
      const sources = holders.size
      if (!isWanted({ name: lowerName, size, kind, sources, completeSources })) continue
      const [first] = holders.keys()
      found.push({ hash, name, size, kind, id: first?.id ?? 0, port: first?.port ?? 0, sources, completeSources })
      if (found.length === MAX_SEARCH_RESULTS) break
    }
    return found
  }

  #offerOne(client: ServerClient, { hash, name, size, kind, id, port }: FileRecord): boolean {
    const hex = bytesToHex(hash)
    if (!this.#clients.has(client) || size === 0 || size > MAX_FILE_BYTES) return false
    if (utf8(name).length > MAX_SERVER_NAME_BYTES || utf8(kind).length > MAX_SERVER_NAME_BYTES) return false
    if (!client.files.has(hex) && client.files.size >= MAX_SERVER_CLIENT_FILES) return false
    const known = this.#files.get(hex)
    if (!known && this.#files.size >= MAX_SERVER_FILES) return false
    const file = known ?? { hash, name, lowerName: name.toLowerCase(), size, kind, holders: new Map(), completeSources: 0 }
    if (file.size !== size || (!file.holders.has(client) && file.holders.size >= MAX_SERVER_FILE_SOURCES)) return false
    const isComplete = !(id === PARTIAL.id && port === PARTIAL.port)
    file.completeSources += Number(isComplete) - Number(file.holders.get(client) ?? false)
    file.holders.set(client, isComplete)
    client.files.add(hex)
    this.#files.set(hex, file)
    return true
  }

  #lowId(): number {
    do this.#lastLowId = (this.#lastLowId % (HIGH_ID_FROM - 1)) + 1
    while (this.#lowIds.has(this.#lastLowId))
    return this.#lastLowId
  }
}
