/** Keeps provider records alive: each is published at once, then every hour, a few at a time, with longer and longer waits while it fails. */
import type { CID } from 'multiformats/cid'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { Dht } from './dht.ts'
import {
  CONFIRM_ATTEMPTS,
  CONFIRM_TIMEOUT_MS,
  CONFIRM_WAIT_MS,
  PUBLISH_PARALLEL,
  PUBLISH_RETRY_MAX_MS,
  PUBLISH_RETRY_MS,
  PUBLISH_TIMEOUT_MS
} from './limits.ts'

interface Entry {
  readonly first: Promise<void>
  readonly stop: AbortController
  readonly task: Promise<void>
}

export interface PublisherDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly dht: Dht
  /** PeerId text of this node. */
  readonly peerId: string
}

export interface PublisherOptions {
  /** Time between publications of a record. */
  readonly republishMs: number
  /** Look a first publication up until somebody names us. */
  readonly confirm: boolean
}

export class Publisher implements AsyncDisposable {
  readonly #deps: PublisherDeps
  readonly #options: PublisherOptions
  readonly #entries = new Map<string, Entry>()
  #running = 0
  readonly #waiting: (() => void)[] = []

  constructor(deps: PublisherDeps, options: PublisherOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** Begins to publish, if it does not do so already. Resolves after the first success, or when it was removed before that. */
  add(key: string, cid: CID): Promise<void> {
    const known = this.#entries.get(key)
    if (known) return known.first
    const stop = new AbortController()
    const { promise: first, resolve } = Promise.withResolvers<void>()
    const task = this.#keep(cid, resolve, stop.signal).finally(resolve)
    this.#entries.set(key, { first, stop, task })
    return first
  }

  async remove(key: string): Promise<void> {
    const entry = this.#entries.get(key)
    if (!entry) return
    this.#entries.delete(key)
    entry.stop.abort()
    await entry.task
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const { stop } of entries) stop.abort()
    await Promise.allSettled(entries.map(e => e.task))
  }

  /** Ends only by the signal. */
  async #keep(cid: CID, onPublished: () => void, signal: AbortSignal): Promise<void> {
    const { clock, dht, log } = this.#deps
    let retryMs = PUBLISH_RETRY_MS
    let isKnown = false
    while (!signal.aborted) {
      try {
        await this.#tablePeers(signal)
        const sent = await this.#inTurn(() => this.#publish(cid, signal), signal)
        log.debug('provider record published', { cid: cid.toString(), nodes: sent })
        if (sent > 0) {
          if (this.#options.confirm && !isKnown && !(await this.#confirm(cid, signal)))
            log.warn('no node names us as a provider yet', { cid: cid.toString() })
          isKnown = true
          onPublished()
          retryMs = PUBLISH_RETRY_MS
          await clock.sleep(this.#options.republishMs, signal)
        } else {
          await clock.sleep(retryMs, signal)
          retryMs = Math.min(retryMs * 2, PUBLISH_RETRY_MAX_MS)
        }
      } catch (cause) {
        if (!signal.aborted) log.debug('publication failed', { cause })
      }
    }
    await dht.cancelReprovide(cid).catch(() => {})
  }

  /** @returns how many nodes took the record */
  async #publish(cid: CID, signal: AbortSignal): Promise<number> {
    let sent = 0
    try {
      for await (const event of this.#deps.dht.provide(cid, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(PUBLISH_TIMEOUT_MS)])
      })) {
        if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') sent++
      }
    } catch (cause) {
      if (sent === 0) this.#deps.log.debug('publication failed', { cause })
    }
    return sent
  }

  /**
   * Asks for the record until another node names us. Records are sent without an answer, so this alone tells that somebody took one, and
   * that our addresses are such that others may use them.
   */
  async #confirm(cid: CID, signal: AbortSignal): Promise<boolean> {
    const { clock, dht, peerId } = this.#deps
    for (let attempt = 0; attempt < CONFIRM_ATTEMPTS; attempt++) {
      try {
        for await (const event of dht.findProviders(cid, { signal: AbortSignal.any([signal, AbortSignal.timeout(CONFIRM_TIMEOUT_MS)]) })) {
          if (event.name !== 'PEER_RESPONSE' || event.from.toString() === peerId) continue
          if (event.providers.some(p => p.id.toString() === peerId)) return true
        }
      } catch {
        // ended by its time, or because we close
      }
      await clock.sleep(CONFIRM_WAIT_MS * 2 ** attempt, signal)
    }
    return false
  }

  /** Resolves when the routing table has a peer. */
  async #tablePeers(signal: AbortSignal): Promise<void> {
    const { routingTable } = this.#deps.dht
    if (routingTable.size > 0) return
    const listening = new AbortController()
    try {
      await new Promise<void>((resolve, reject) => {
        routingTable.addEventListener('peer:add', () => resolve(), { once: true, signal: listening.signal })
        signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: listening.signal })
        if (signal.aborted) reject(signal.reason)
      })
    } finally {
      listening.abort()
    }
  }

  async #inTurn<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#running >= PUBLISH_PARALLEL) await new Promise<void>(resolve => this.#waiting.push(resolve))
    else this.#running++
    try {
      signal.throwIfAborted()
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running--
    }
  }
}
