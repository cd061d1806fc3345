/** Looks for records: at a last known place, with neighbours, and with those whom the DHT names. The first fresh one wins. */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { PeerTarget, Rpc } from '../net/rpc.ts'
import type { PeerRecordRequest } from '../wire/peer-record-request.ts'
import { FIND_PEER_TIMEOUT_MS, MAX_PEER_FINDS, MAX_RECORD_ASKS, MAX_RECORD_NEIGHBOURS, MAX_RECORD_PROVIDERS } from './limits.ts'
import { merge } from './merge.ts'
import { askForRecord } from './peer-registry-ask.ts'
import type { CheckedRecord } from './peer-registry-check.ts'
import type { KeyFinder, Neighbourhood } from './peer-registry-types.ts'

export interface RecordSearchDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly rpc: Rpc
  readonly network: Neighbourhood
  readonly finder?: KeyFinder | undefined
}

export interface RecordSearchBook {
  /** Remembers a record. @returns the newest that is known of its entity */
  add(found: CheckedRecord, isToldByItself: boolean, addresses?: readonly string[]): CheckedRecord
  /** The question to a peer for its own record. */
  own(): PeerRecordRequest
  /** DHT key of an entity. */
  keyOf(entityId: string): Promise<Uint8Array>
  /** PeerIds of neighbours whose record is known. */
  neighbours(): readonly string[]
}

export interface FindOptions {
  /** How many further peers neighbours may have asked in turn. */
  readonly depth: number
  /** PeerId where the entity was last. */
  readonly last?: string | undefined
  /** PeerId that is not asked: it asks us. */
  readonly except?: string
  /** Ask neighbours only. */
  readonly near?: boolean
  /** A record that is not newer than this is not what is looked for, unless there is no better one. */
  readonly newerThan?: number | undefined
  readonly signal: AbortSignal
}

type Found = AsyncGenerator<CheckedRecord, void, undefined>

export class RecordSearch implements AsyncDisposable {
  readonly #deps: RecordSearchDeps
  readonly #book: RecordSearchBook
  readonly #finds = new Map<string, Promise<CheckedRecord | undefined>>()
  readonly #tasks = new Set<Promise<void>>()

  constructor(deps: RecordSearchDeps, book: RecordSearchBook) {
    this.#deps = deps
    this.#book = book
  }

  /**
   * One search for an entity at a time: a second caller gets what the first finds. For a neighbour (`near`) a search that runs already is
   * not waited for, or two peers that ask each other would. @returns the best record found, which may have expired
   */
  find(entityId: string, key: Uint8Array, options: FindOptions): Promise<CheckedRecord | undefined> {
    const running = this.#finds.get(entityId)
    if (running) return options.near ? Promise.resolve(undefined) : running
    if (this.#finds.size >= MAX_PEER_FINDS) return Promise.resolve(undefined)
    const task = this.#find(entityId, key, options)
      .catch(cause => {
        if (!options.signal.aborted) this.#deps.log.debug('search failed', { cause })
        return undefined
      })
      .finally(() => this.#finds.delete(entityId))
    this.#finds.set(entityId, task)
    return task
  }

  /** Own records of those whom the DHT names for a key, as they come. */
  async *providers(key: Uint8Array, signal: AbortSignal): Found {
    const ending = new AbortController()
    const limit = AbortSignal.any([signal, ending.signal, AbortSignal.timeout(FIND_PEER_TIMEOUT_MS)])
    try {
      yield* this.#named(key, p => this.#ask(p, this.#book.own(), limit), limit)
    } finally {
      ending.abort()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#finds.values(), ...this.#tasks])
  }

  async #find(entityId: string, key: Uint8Array, options: FindOptions): Promise<CheckedRecord | undefined> {
    const ending = new AbortController()
    const signal = AbortSignal.any([options.signal, ending.signal, AbortSignal.timeout(FIND_PEER_TIMEOUT_MS)])
    const request = { key, depth: 0 }
    const from: Found[] = [this.#fromNeighbours(key, options, signal)]
    if (!options.near) {
      from.push(this.#named(await this.#book.keyOf(entityId), p => this.#ask(p, request, signal), signal))
      if (options.last !== undefined) from.push(this.#one(this.#ask({ peerId: options.last }, this.#book.own(), signal)))
    }
    let best: CheckedRecord | undefined
    try {
      for await (const found of merge(from)) {
        if (found.entityId !== entityId) continue
        if (!best || found.record.sequence > best.record.sequence) best = found
        if (best.record.expiresAt > this.#deps.clock.now() && best.record.sequence > (options.newerThan ?? -1)) return best
      }
      return best
    } finally {
      ending.abort()
    }
  }

  /** A few neighbours, those first that say who they are. */
  #fromNeighbours(key: Uint8Array, { depth, except }: FindOptions, signal: AbortSignal): Found {
    const connected = this.#deps.network.peers().map(p => p.peerId)
    const peers = [...new Set([...this.#book.neighbours(), ...connected])].filter(p => p !== except).slice(0, MAX_RECORD_NEIGHBOURS)
    return merge(peers.map(peerId => this.#one(this.#ask({ peerId }, { key, depth }, signal))))
  }

  async *#one(asked: Promise<CheckedRecord | undefined>): Found {
    const found = await asked
    if (found) yield found
  }

  /** Asks those whom the DHT names, a few at a time; yields what they tell while the DHT is still being searched. */
  async *#named(key: Uint8Array, ask: (target: PeerTarget) => Promise<CheckedRecord | undefined>, signal: AbortSignal): Found {
    const ending = new AbortController()
    const found: CheckedRecord[] = []
    let wake = Promise.withResolvers<void>()
    let isOver = false
    const asking = this.#askProviders(key, ask, AbortSignal.any([signal, ending.signal]), record => {
      found.push(record)
      wake.resolve()
    }).finally(() => {
      isOver = true
      wake.resolve()
      this.#tasks.delete(asking)
    })
    this.#tasks.add(asking)
    try {
      while (true) {
        while (found.length > 0) yield found.shift()!
        if (isOver) return
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
    } finally {
      ending.abort()
    }
  }

  /** Never throws. */
  async #askProviders(
    key: Uint8Array,
    ask: (target: PeerTarget) => Promise<CheckedRecord | undefined>,
    signal: AbortSignal,
    onFound: (found: CheckedRecord) => void
  ): Promise<void> {
    const asked = new Set<Promise<void>>()
    let providers = 0
    try {
      for await (const provider of this.#deps.finder?.find(key, signal) ?? []) {
        const task: Promise<void> = ask(provider)
          .then(record => void (record && onFound(record)))
          .finally(() => asked.delete(task))
        asked.add(task)
        if (asked.size >= MAX_RECORD_ASKS) await Promise.race(asked)
        if (++providers >= MAX_RECORD_PROVIDERS || signal.aborted) break
      }
    } catch (cause) {
      this.#deps.log.debug('the DHT was not searched', { cause })
    }
    await Promise.all(asked)
  }

  /** Asks one peer; what it says wrongly counts as nothing. Its own record must be for the PeerId that was asked. Never throws. */
  async #ask(target: PeerTarget, request: PeerRecordRequest, signal: AbortSignal): Promise<CheckedRecord | undefined> {
    try {
      const found = await askForRecord(this.#deps, target, request, signal)
      if (!found) return undefined
      if ('sequence' in request && found.peerId !== target.peerId)
        throw new KithError('BAD_RECORD', 'a peer tells the record of another as its own')
      const isToldByItself = found.peerId === target.peerId
      return this.#book.add(found, isToldByItself, isToldByItself ? target.addresses : undefined)
    } catch (cause) {
      if (!signal.aborted) this.#deps.log.debug('no record from a peer', { peer: target.peerId, cause })
      return undefined
    }
  }
}
