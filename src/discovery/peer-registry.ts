/**
 * The distributed peer registry (spec 001): who is behind an entity id, where, what it can do, and who keeps messages for it. The DHT says who
 * might know (keys SHA-256 of "peer:" + id and "cap:" + name), neighbours and their neighbours are asked too, and signed records decide.
 */
import { sha256 } from '#hash'
import { bytesToHex, equalBytes, hexToBytes, utf8 } from '../base/bytes.ts'
import { encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { peerIdToBytes, peerIdToText } from '../identity/peer-id.ts'
import { didOfKey, keyOfDid } from '../wire/did-key.ts'
import { MAX_RECORD_AGE_MS, MAX_RECORD_BYTES, MAX_RECORD_DEPTH } from '../wire/limits.ts'
import { PEER_RECORD_DOMAIN, type PeerRecord, peerRecordCodec } from '../wire/peer-record.ts'
import { signedCodec } from '../wire/signed.ts'
import {
  MAX_CAPABILITY_PEERS,
  MAX_KNOWN_RECORD_BYTES,
  MAX_KNOWN_RECORDS,
  MAX_RECORD_ADDRESSES,
  MAX_RECORD_ASKS,
  MAX_RECORD_GREETINGS,
  RECORD_ASKS_BURST,
  RECORD_ASKS_PER_SECOND,
  RENEW_RECORD_MS
} from './limits.ts'
import { askForRecord, serveRecords } from './peer-registry-ask.ts'
import { RecordCache } from './peer-registry-cache.ts'
import { type CheckedRecord, checkPeerRecord } from './peer-registry-check.ts'
import { RecordSearch } from './peer-registry-search.ts'
import type { Announcement, FoundPeer, PeerRegistryDeps, PeerRegistryEvents } from './peer-registry-types.ts'

/** DHT keys (research of spec 001's origin): of an entity, and of a capability or skill. */
export const peerKey = (entityId: string): Promise<Uint8Array> => Promise.resolve(sha256(utf8(`peer:${entityId}`)))
export const capabilityKey = (name: string): Promise<Uint8Array> => Promise.resolve(sha256(utf8(`cap:${name}`)))

export class PeerRegistry implements AsyncDisposable {
  readonly events: Emitter<PeerRegistryEvents>
  readonly #deps: PeerRegistryDeps
  readonly #cache = new RecordCache({ maxRecords: MAX_KNOWN_RECORDS, maxBytes: MAX_KNOWN_RECORD_BYTES })
  readonly #search: RecordSearch
  /** Where peers were found, by PeerId, oldest first. */
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #closing = new AbortController()
  readonly #tasks = new Set<Promise<unknown>>()
  readonly #asks: TokenBucket
  /** Peers that are being asked who they are, or will be. */
  readonly #greeting = new Set<string>()
  readonly #toGreet: string[] = []
  #greeters = 0
  #announcement: Announcement = {}
  #own: Uint8Array = new Uint8Array()
  #sequence = 0
  /** By hex of the key: until it was published once. */
  readonly #announced = new Map<string, Promise<void>>()
  /** Entities for which this instance answers in the DHT. */
  readonly #kept = new Set<string>()
  #server: Disposable | undefined

  constructor(deps: PeerRegistryDeps) {
    this.#deps = deps
    this.events = new Emitter(cause => deps.log.warn('a listener threw', { cause }))
    this.#asks = new TokenBucket(deps.clock, RECORD_ASKS_PER_SECOND, RECORD_ASKS_BURST)
    this.#search = new RecordSearch(deps, {
      add: (found, isToldByItself, addresses) => this.#add(found, isToldByItself, addresses),
      own: () => ({ sequence: this.#sequence }),
      keyOf: peerKey,
      neighbours: () => this.neighbours().map(n => n.peerId)
    })
  }

  /** Signs a record that says this, serves it, and announces its keys in the DHT. @throws BAD_ANNOUNCEMENT */
  async publish(announcement: Announcement): Promise<void> {
    const { self, clock, network } = this.#deps
    const names = [...(announcement.capabilities ?? []), ...(announcement.agents ?? []).flatMap(a => a.skills)]
    this.#sequence = Math.max(clock.now(), this.#sequence + 1)
    const body = bodyOf(announcement, self.certificate, this.#sequence, clock.now() + MAX_RECORD_AGE_MS)
    const bytes = encode(signedCodec, await self.sign(PEER_RECORD_DOMAIN, body))
    // What others would refuse is refused here.
    await checkPeerRecord(bytes, clock.now()).catch(cause => {
      throw new KithError('BAD_ANNOUNCEMENT', 'this cannot be told in a peer record', {}, { cause })
    })
    this.#announcement = announcement
    this.#own = bytes
    const keys = await Promise.all([peerKey(self.entityId), ...[...new Set(names)].map(capabilityKey)])
    const kept = await Promise.all([...this.#kept].map(peerKey))
    await this.#announceOnly([...keys, ...kept])
    // Asking tells neighbours that there is something newer to ask for.
    if (this.#server) for (const { peerId } of network.peers()) this.#greet(peerId)
  }

  /** Resolves when everything that is announced was published once; never while there are no DHT peers. */
  async announced(): Promise<void> {
    await Promise.all(this.#announced.values())
  }

  /** What is known of an entity without asking anybody. */
  known(entityId: string): FoundPeer | undefined {
    const known = this.#cache.get(entityId)
    return known && this.#view(known)
  }

  /** The same by a PeerId that says so itself. */
  knownPeer(peerId: string): FoundPeer | undefined {
    const known = this.#cache.ofPeer(peerId)
    return known && this.#view(known)
  }

  /** Connected peers whose record is known. */
  neighbours(): FoundPeer[] {
    const peers = new Set(this.#deps.network.peers().map(p => p.peerId))
    return [...peers].flatMap(p => this.knownPeer(p) ?? [])
  }

  /**
   * Looks an entity up: here, at its last known place, with neighbours and in the DHT. A record that has expired is the answer only when
   * there is no better one. `refresh`: look for a newer one even if a fresh one is known. @throws BAD_ENTITY, or the signal's reason
   */
  async find(entityId: string, signal?: AbortSignal, options: { readonly refresh?: boolean } = {}): Promise<FoundPeer | undefined> {
    const key = keyOfDid(entityId)
    if (!key) throw new KithError('BAD_ENTITY', 'not the did:key of an Ed25519 key')
    const known = this.#cache.get(entityId)
    if (known && this.#isFresh(known) && !options.refresh) return this.#view(known)
    if (entityId === this.#deps.self.entityId) return undefined
    const newerThan = options.refresh ? known?.record.sequence : undefined
    const how = { depth: MAX_RECORD_DEPTH, last: known?.peerId, newerThan, signal: this.#until(signal) }
    const found = await this.#search.find(entityId, key, how)
    signal?.throwIfAborted()
    const best = found ?? this.#cache.get(entityId)
    return best && this.#view(best)
  }

  /** Yields each peer once that says to have a capability, or an agent with a skill of this name: known ones first. Never throws. */
  async *findByCapability(name: string, signal?: AbortSignal): AsyncGenerator<FoundPeer, void, undefined> {
    const seen = new Set<string>([this.#deps.self.entityId])
    const offers = (p: FoundPeer): boolean => p.isFresh && (p.capabilities.includes(name) || p.agents.some(a => a.skills.includes(name)))
    for (const known of this.#cache.all().map(k => this.#view(k))) {
      if (seen.size > MAX_CAPABILITY_PEERS) return
      if (!offers(known) || seen.has(known.entityId)) continue
      seen.add(known.entityId)
      yield known
    }
    for await (const found of this.#search.providers(await capabilityKey(name), this.#until(signal))) {
      const peer = this.#view(found)
      if (!offers(peer) || seen.has(peer.entityId)) continue
      seen.add(peer.entityId)
      yield peer
      if (seen.size > MAX_CAPABILITY_PEERS) return
    }
  }

  /**
   * Holds on to the record of an entity, so that it is not forgotten; `answerFor` also says in the DHT that this instance can tell it: for
   * those whose messages it keeps. `keep: false` ends both.
   */
  async keep(entityId: string, options: { readonly keep?: boolean; readonly answerFor?: boolean } = {}): Promise<void> {
    const on = options.keep ?? true
    this.#cache.keep(entityId, on)
    const known = this.#cache.get(entityId)
    if (on && known) this.#deps.memory?.saveRecord(entityId, known.bytes)
    if (!on) this.#deps.memory?.removeRecord(entityId)
    const key = await peerKey(entityId)
    if (on && options.answerFor) {
      this.#kept.add(entityId)
      this.#announce(key)
    } else if (this.#kept.delete(entityId)) await this.#withdraw(bytesToHex(key))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#server?.[Symbol.dispose]()
    this.#server = undefined
    await this.#search[Symbol.asyncDispose]()
    await Promise.all([...this.#announced.keys()].map(k => this.#withdraw(k)))
    await Promise.allSettled(this.#tasks)
  }

  /** Begins: reads what is remembered, answers others, asks who is there and who comes. For `openPeerRegistry`. */
  async open(announcement: Announcement): Promise<void> {
    const { network, memory, clock, log } = this.#deps
    for (const bytes of memory?.records() ?? []) {
      const found = await checkPeerRecord(bytes, clock.now()).catch(cause => log.debug('a remembered record is not used', { cause }))
      if (!found) continue
      this.#cache.keep(found.entityId, true)
      this.#cache.add(found, false)
    }
    await this.publish(announcement)
    this.#server = serveRecords(this.#deps, {
      own: () => this.#own,
      asked: (peerId, sequence) => this.#asked(peerId, sequence),
      known: key => this.#answer(key),
      search: async (key, depth, asker, signal) => {
        const found = await this.#search.find(didOfKey(key), key, { depth, except: asker, near: true, signal: this.#until(signal) })
        return found?.bytes
      }
    })
    network.events.on('peer:connected', ({ peerId }) => this.#greet(peerId), this.#closing.signal)
    for (const { peerId } of network.peers()) this.#greet(peerId)
    this.#track(this.#renew())
  }

  /** What others are told about an entity. */
  #answer(key: Uint8Array): Uint8Array | undefined {
    if (equalBytes(key, keyOfDid(this.#deps.self.entityId)!)) return this.#own
    const known = this.#cache.get(didOfKey(key))
    return known && (this.#isFresh(known) || this.#cache.isKept(known.entityId)) ? known.bytes : undefined
  }

  /** Asks a peer who it is, in its turn: a bounded number at a time, and in a second. A peer that waits already is not noted twice. */
  #greet(peerId: string): void {
    if (this.#greeting.has(peerId) || this.#greeting.size >= MAX_RECORD_GREETINGS || this.#closing.signal.aborted) return
    this.#greeting.add(peerId)
    this.#toGreet.push(peerId)
    if (this.#greeters < MAX_RECORD_ASKS) this.#track(this.#greetAll())
  }

  async #greetAll(): Promise<void> {
    const { signal } = this.#closing
    this.#greeters++
    for (let peerId = this.#toGreet.shift(); peerId !== undefined && !signal.aborted; peerId = this.#toGreet.shift()) {
      try {
        await this.#asks.take(1, signal)
        const found = await askForRecord(this.#deps, { peerId }, { sequence: this.#sequence }, signal)
        if (found?.peerId === peerId) this.#add(found, true)
      } catch (cause) {
        if (!signal.aborted) this.#deps.log.debug('a peer does not say who it is', { peer: peerId, cause })
      }
      this.#greeting.delete(peerId)
    }
    this.#greeters--
  }

  /** Who asks us has a record too; if we do not know it, or an older one, we ask back. */
  #asked(peerId: string, sequence: number): void {
    if (sequence > (this.#cache.ofPeer(peerId)?.record.sequence ?? 0)) this.#greet(peerId)
  }

  async #renew(): Promise<void> {
    const { clock, log } = this.#deps
    const signal = this.#closing.signal
    while (!signal.aborted) {
      await clock.sleep(RENEW_RECORD_MS, signal).catch(() => {})
      if (!signal.aborted) await this.publish(this.#announcement).catch(cause => log.warn('own record not renewed', { cause }))
    }
  }

  #add(found: CheckedRecord, isToldByItself: boolean, addresses?: readonly string[]): CheckedRecord {
    if (addresses && addresses.length > 0) {
      this.#addresses.delete(found.peerId)
      this.#addresses.set(found.peerId, addresses)
      if (this.#addresses.size > MAX_RECORD_ADDRESSES) this.#addresses.delete(this.#addresses.keys().next().value!)
    }
    if (found.entityId === this.#deps.self.entityId) return found
    const before = this.#cache.get(found.entityId)
    const isProved = (): boolean => this.#cache.ofPeer(found.peerId)?.entityId === found.entityId
    const wasProved = isProved()
    const now = this.#cache.add(found, isToldByItself)
    if ((now === found && before !== found) || (isProved() && !wasProved)) {
      if (this.#cache.isKept(found.entityId)) this.#deps.memory?.saveRecord(now.entityId, now.bytes)
      this.events.emit('peer:found', { peer: this.#view(now), isProved: isProved() })
    }
    return now
  }

  #view({ entityId, peerId, record }: CheckedRecord): FoundPeer {
    return {
      entityId,
      peerId,
      addresses: this.#addresses.get(peerId) ?? [],
      relaysFor: record.relaysFor,
      capabilities: record.capabilities,
      agents: record.agents.map(a => ({ did: didOfKey(a.key), certificate: a.certificate, skills: a.skills })),
      prekey: record.prekey,
      via: record.via.map(v => ({ peerId: peerIdToText(v.peerId), entityId: didOfKey(v.entityKey) })),
      isFresh: record.expiresAt > this.#deps.clock.now(),
      record
    }
  }

  #isFresh = (known: CheckedRecord): boolean => known.record.expiresAt > this.#deps.clock.now()

  #until(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal
  }

  async #announceOnly(keys: readonly Uint8Array[]): Promise<void> {
    const wanted = new Set(keys.map(bytesToHex))
    await Promise.all([...this.#announced.keys()].filter(k => !wanted.has(k)).map(k => this.#withdraw(k)))
    for (const key of keys) this.#announce(key)
  }

  #announce(key: Uint8Array): void {
    const { finder, log } = this.#deps
    const hex = bytesToHex(key)
    if (!finder || this.#announced.has(hex) || this.#closing.signal.aborted) return
    const first = finder.announce(key).catch(cause => log.debug('not announced', { cause }))
    this.#announced.set(hex, first)
  }

  async #withdraw(hex: string): Promise<void> {
    this.#announced.delete(hex)
    await this.#deps.finder?.withdraw(hexToBytes(hex)).catch(cause => this.#deps.log.debug('not withdrawn', { cause }))
  }

  #track(task: Promise<unknown>): void {
    this.#tasks.add(task)
    void task.finally(() => this.#tasks.delete(task))
  }
}

/**
 * Signs and serves this instance's record and begins to learn those of others. Dispose it before finder and host.
 * @throws BAD_ANNOUNCEMENT
 */
export async function openPeerRegistry(deps: PeerRegistryDeps, announcement: Announcement = {}): Promise<PeerRegistry> {
  const registry = new PeerRegistry(deps)
  try {
    await registry.open(announcement)
  } catch (error) {
    await registry[Symbol.asyncDispose]()
    throw error
  }
  return registry
}

/** @throws BAD_ANNOUNCEMENT */
function bodyOf(told: Announcement, certificate: Uint8Array, sequence: number, expiresAt: number): Uint8Array {
  try {
    const record: PeerRecord = {
      certificate,
      sequence,
      expiresAt,
      relaysFor: told.relaysFor ?? 'nobody',
      agents: told.agents ?? [],
      capabilities: told.capabilities ?? [],
      prekey: told.prekey,
      via: (told.via ?? []).map(v => ({ peerId: peerIdToBytes(v.peerId), entityKey: keyOfDid(v.entityId) ?? new Uint8Array() }))
    }
    const body = encode(peerRecordCodec, record)
    if (body.length > MAX_RECORD_BYTES) throw new KithError('WIRE_RANGE', 'a peer record is too long', { length: body.length })
    return body
  } catch (cause) {
    throw new KithError('BAD_ANNOUNCEMENT', 'this cannot be told in a peer record', {}, { cause })
  }
}
