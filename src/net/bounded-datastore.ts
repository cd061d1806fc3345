/**
 * The memory behind libp2p's peer store and DHT, with a number for everything that strangers can put there (threats DH4, DH8). libp2p's
 * own MemoryDatastore has no bound, and reads every entry for each query.
 *
 * A key like `/dht/provider/FILE/PEER` belongs to the rule with its prefix; `FILE` is its group and `PEER` its author. When a group or
 * the whole rule is full a random other entry makes room, so that neither the first nor the last to come can hold all places; for a rule
 * without groups it is the entry unused for longest. What `keep` names never makes room.
 */
import type { Libp2pInit } from 'libp2p'

type Datastore = NonNullable<Libp2pInit['datastore']>
type Key = Parameters<Datastore['put']>[0]
type Pair = { key: Key; value: Uint8Array }

export interface DatastoreRule {
  /** Begins and ends with "/". */
  readonly prefix: string
  readonly max: number
  readonly maxBytes: number
  /** Entries with the same next segment. */
  readonly maxPerGroup?: number
  /** Entries with the same last segment. */
  readonly maxPerAuthor?: number
  /** Entries that are never pushed out and do not count. */
  readonly keep?: (key: string) => boolean
}

/** One rule's entries, oldest first. */
class Shelf {
  readonly rule: DatastoreRule
  readonly entries = new Map<string, Pair>()
  readonly groups = new Map<string, Set<string>>()
  readonly authors = new Map<string, number>()
  readonly #random: () => number

  constructor(rule: DatastoreRule, random: () => number) {
    this.rule = rule
    this.#random = random
  }

  put(text: string, pair: Pair): void {
    const { rule } = this
    if (pair.value.length > rule.maxBytes) throw named('ValueTooLargeError', 'value is larger than this store keeps')
    if (this.entries.has(text)) this.entries.delete(text)
    else {
      if (!this.#makeRoom(text)) throw named('QuotaError', 'this store keeps no more for that author')
      this.#count(text, 1)
    }
    this.entries.set(text, pair)
  }

  get(text: string): Pair | undefined {
    const pair = this.entries.get(text)
    if (pair && this.rule.maxPerGroup === undefined) {
      this.entries.delete(text)
      this.entries.set(text, pair)
    }
    return pair
  }

  delete(text: string): void {
    if (this.entries.delete(text)) this.#count(text, -1)
  }

  /** Entries under a prefix; from the group alone when it names one. */
  *under(prefix: string): Generator<Pair> {
    const group = this.rule.maxPerGroup === undefined ? undefined : segments(prefix, this.rule)[0]
    const keys = group ? [...(this.groups.get(group) ?? [])] : [...this.entries.keys()]
    for (const text of keys) {
      const pair = text.startsWith(prefix) ? this.entries.get(text) : undefined
      if (pair) yield pair
    }
  }

  #makeRoom(text: string): boolean {
    const { rule } = this
    if (rule.keep?.(text)) return true
    const [group = '', author = ''] = segments(text, rule)
    if (rule.maxPerAuthor !== undefined && (this.authors.get(author) ?? 0) >= rule.maxPerAuthor) return false
    const siblings = this.groups.get(group)
    if (rule.maxPerGroup !== undefined && siblings && siblings.size >= rule.maxPerGroup && !this.#dropRandom(siblings)) return false
    if (this.entries.size < rule.max) return true
    return rule.maxPerGroup === undefined ? this.#dropOldest() : this.#dropRandom(this.entries.keys(), this.entries.size)
  }

  #dropOldest(): boolean {
    for (const text of this.entries.keys()) {
      if (this.rule.keep?.(text)) continue
      this.delete(text)
      return true
    }
    return false
  }

  #dropRandom(keys: Iterable<string>, size: number = (keys as Set<string>).size): boolean {
    let skip = Math.floor(this.#random() * size)
    let victim: string | undefined
    for (const text of keys) {
      if (!this.rule.keep?.(text)) victim = text
      if (skip-- <= 0 && victim !== undefined) break
    }
    if (victim === undefined) return false
    this.delete(victim)
    return true
  }

  #count(text: string, n: 1 | -1): void {
    if (this.rule.maxPerGroup === undefined) return
    const [group = '', author = ''] = segments(text, this.rule)
    const siblings = this.groups.get(group) ?? new Set()
    if (n === 1) this.groups.set(group, siblings.add(text))
    else if (siblings.delete(text) && siblings.size === 0) this.groups.delete(group)
    const entries = (this.authors.get(author) ?? 0) + n
    if (entries === 0) this.authors.delete(author)
    else this.authors.set(author, entries)
  }
}

export class BoundedDatastore implements Datastore {
  readonly #shelves: readonly Shelf[]

  /** @param rules the first whose prefix fits counts; a rule with the prefix "/" takes the rest */
  constructor(rules: readonly DatastoreRule[], random: () => number = Math.random) {
    this.#shelves = rules.map(rule => new Shelf(rule, random))
  }

  /** Entries of the rule with this prefix. */
  size(prefix: string): number {
    return this.#shelves.find(s => s.rule.prefix === prefix)?.entries.size ?? 0
  }

  put(key: Key, value: Uint8Array): Key {
    const text = key.toString()
    this.#shelf(text).put(text, { key, value })
    return key
  }
  get(key: Key): Uint8Array {
    const pair = this.#shelf(key.toString()).get(key.toString())
    if (!pair) throw named('NotFoundError', 'not found')
    return pair.value
  }
  has(key: Key): boolean {
    return this.#shelf(key.toString()).entries.has(key.toString())
  }
  delete(key: Key): void {
    this.#shelf(key.toString()).delete(key.toString())
  }

  async *putMany(source: Iterable<Pair> | AsyncIterable<Pair>): AsyncGenerator<Key> {
    for await (const { key, value } of source) yield this.put(key, value)
  }
  async *getMany(source: Iterable<Key> | AsyncIterable<Key>): AsyncGenerator<Pair> {
    for await (const key of source) yield { key, value: this.get(key) }
  }
  async *deleteMany(source: Iterable<Key> | AsyncIterable<Key>): AsyncGenerator<Key> {
    for await (const key of source) {
      this.delete(key)
      yield key
    }
  }
  batch(): ReturnType<Datastore['batch']> {
    const steps: (() => void)[] = []
    return {
      put: (key, value) => void steps.push(() => this.put(key, value)),
      delete: key => void steps.push(() => this.delete(key)),
      commit: () => {
        for (const step of steps.splice(0)) step()
      }
    }
  }

  async *query({ prefix = '/', filters = [], orders = [], offset = 0, limit }: Parameters<Datastore['query']>[0]): AsyncGenerator<Pair> {
    const found: Pair[] = []
    for (const shelf of this.#shelves) {
      if (!shelf.rule.prefix.startsWith(prefix) && !prefix.startsWith(shelf.rule.prefix)) continue
      for (const pair of shelf.under(prefix)) if (filters.every(f => f(pair))) found.push(pair)
    }
    for (const order of orders) found.sort(order)
    yield* found.slice(offset, limit === undefined ? undefined : offset + limit)
  }
  async *queryKeys(query: Parameters<Datastore['queryKeys']>[0]): AsyncGenerator<Key> {
    const { filters = [], orders = [], ...rest } = query
    const inner = {
      ...rest,
      filters: filters.map(f => (pair: Pair) => f(pair.key)),
      orders: orders.map(o => (a: Pair, b: Pair) => o(a.key, b.key))
    }
    for await (const { key } of this.query(inner)) yield key
  }

  #shelf(text: string): Shelf {
    const shelf = this.#shelves.find(s => text.startsWith(s.rule.prefix))
    if (!shelf) throw named('QuotaError', 'this store keeps nothing under that prefix')
    return shelf
  }
}

const segments = (text: string, rule: DatastoreRule): string[] => text.slice(rule.prefix.length).split('/').filter(Boolean)

/** libp2p tells errors of stores apart by name. */
const named = (name: string, message: string): Error => Object.assign(new Error(message), { name })
