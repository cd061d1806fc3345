/** What we keep for others: who has which file. Bounded, for five hours, in memory only. Pure. */
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { MAX_STORED_PER_ADDRESS, MAX_STORED_PER_FILE, MAX_STORED_SOURCES, STORED_MS } from './limits.ts'
import type { KeptSource } from './sources.ts'

interface Entry {
  readonly source: KeptSource
  readonly untilMs: number
}

export class SourceStore {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** By file and client; the oldest come first. */
  readonly #files = new Map<string, Map<string, Entry>>()
  readonly #countsByHost = new Map<string, number>()
  #size = 0

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** Sources of all files. */
  get size(): number {
    return this.#size
  }

  /** One for each client, and one for each address and port. @returns false when it was left out */
  add(target: Uint8Array, source: KeptSource): boolean {
    const file = bytesToHex(target)
    const client = bytesToHex(source.client)
    this.#expire(file)
    const entries = this.#files.get(file) ?? new Map<string, Entry>()
    for (const [key, { source: s }] of entries)
      if (key === client || (s.host === source.host && s.tcpPort === source.tcpPort)) this.#drop(file, entries, key)
    if ((this.#countsByHost.get(source.host) ?? 0) >= MAX_STORED_PER_ADDRESS) return false
    if (entries.size >= MAX_STORED_PER_FILE) this.#drop(file, entries, entries.keys().next().value!)
    if (this.#size >= MAX_STORED_SOURCES) return false
    entries.set(client, { source, untilMs: this.#clock.monotonic() + STORED_MS })
    this.#files.set(file, entries)
    this.#countsByHost.set(source.host, (this.#countsByHost.get(source.host) ?? 0) + 1)
    this.#size++
    return true
  }

  /** At most `most` of a file, the newest. `size` 0 means any. */
  sources(target: Uint8Array, size: number, most: number): KeptSource[] {
    const file = bytesToHex(target)
    this.#expire(file)
    const all = [...(this.#files.get(file)?.values() ?? [])].map(e => e.source)
    return all.filter(s => size === 0 || s.size === 0 || s.size === size).slice(-most)
  }

  /** How full the place for a file is, in percent. */
  load(target: Uint8Array): number {
    const count = this.#files.get(bytesToHex(target))?.size ?? 0
    return Math.min(100, Math.ceil((100 * count) / MAX_STORED_PER_FILE))
  }

  /** Forgets what is too old: called now and then. */
  sweep(): void {
    for (const file of [...this.#files.keys()]) this.#expire(file)
  }

  #expire(file: string): void {
    const entries = this.#files.get(file)
    const now = this.#clock.monotonic()
    for (const [key, { untilMs }] of entries ?? []) {
      if (untilMs > now) break // they are in the order in which they came
      this.#drop(file, entries!, key)
    }
  }

  #drop(file: string, entries: Map<string, Entry>, key: string): void {
    const entry = entries.get(key)
    if (!entry) return
    entries.delete(key)
    if (entries.size === 0) this.#files.delete(file)
    this.#size--
    const { host } = entry.source
    const left = this.#countsByHost.get(host)! - 1
    if (left > 0) this.#countsByHost.set(host, left)
    else this.#countsByHost.delete(host)
  }
}
