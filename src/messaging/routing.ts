/**
 * Messages without a link to the recipient: sealed to a prekey of it, they go to it directly if it can be reached after all, else to those
 * it chose (mailboxes, relays), else from neighbour to neighbour, at most 8 of them, each envelope once through each. This is also how we
 * carry those of others. Whoever carries sees who it is for and how long it is, not what it says or who wrote it.
 */
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { decode, encode } from '../base/codec.ts'
import { codeOf, hasCode, KithError } from '../base/errors.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import type { PeerTarget, RpcContext } from '../net/rpc.ts'
import { type Prekey, readPrekey } from '../session/prekeys.ts'
import { openSealed, sealTo } from '../session/sealed.ts'
import { didOfKey, keyOfDid } from '../wire/did-key.ts'
import { MAX_CLOCK_SKEW_MS, MAX_ENVELOPE_AGE_MS, MAX_ENVELOPE_BYTES, MAX_HOPS } from '../wire/limits.ts'
import { MESSAGE_RELAY_METHOD, type RelayAnswer, relayAnswerCodec } from '../wire/relay-answer.ts'
import { envelopeHeadBytes, type SealedEnvelope, sealedEnvelopeCodec } from '../wire/sealed-envelope.ts'
import {
  CARRY_BYTES_BURST,
  CARRY_BYTES_PER_SECOND,
  CARRY_DIRECT_MS,
  CARRY_HOP_MS,
  CARRY_MS,
  MAX_CARRIED_AT_ONCE,
  MAX_CARRY_NEIGHBOURS,
  MAX_CARRY_PEERS,
  MAX_SEEN_ENVELOPES
} from './limits.ts'
import type { SealedCarrier } from './link.ts'
import { envelopeKey, SeenEnvelopes } from './routing-seen.ts'
import type { Depositor, RoutePeer, RoutingDeps } from './routing-types.ts'
import type { EntityId } from './types.ts'

/** Refusals that say more than that there is no way, the most telling first. */
const TELLING = ['EXPIRED', 'QUEUE_FULL', 'DISK_FULL', 'UNKNOWN_PREKEY', 'DECRYPTION_FAILED', 'TOO_MANY_HOPS', 'NOT_AUTHORISED'] as const

export class Routing implements SealedCarrier, AsyncDisposable {
  readonly #deps: RoutingDeps
  readonly #key: Uint8Array
  readonly #peerId: Uint8Array
  readonly #seen = new SeenEnvelopes(MAX_SEEN_ENVELOPES)
  readonly #buckets = new Map<string, TokenBucket>()
  readonly #closing = new AbortController()
  readonly #tasks = new Set<Promise<unknown>>()
  readonly #server: Disposable
  #carried = 0

  constructor(deps: RoutingDeps) {
    this.#deps = deps
    this.#key = keyOfDid(deps.self.entityId)!
    this.#peerId = peerIdToBytes(deps.self.peerId)
    const limits = { maxRequestBytes: MAX_ENVELOPE_BYTES, perSecond: 50 }
    this.#server = deps.rpc.handle(MESSAGE_RELAY_METHOD, limits, (body, context) => this.#track(this.#answer(body, context)))
  }

  /**
   * Seals a whole signed message and brings it on its way.
   * @returns whether somebody has it on disk: the recipient, or who keeps messages for it
   */
  async carry(to: EntityId, message: Uint8Array, signal: AbortSignal): Promise<true | string> {
    const { outcome, code } = await this.send(to, message, { signal })
    return outcome !== 'no-route' || code
  }

  /** The same, and what became of it. `ttlMs`: how long it may wait in a mailbox. @throws the signal's reason */
  async send(
    to: EntityId,
    message: Uint8Array,
    options: { readonly signal?: AbortSignal; readonly ttlMs?: number } = {}
  ): Promise<RelayAnswer> {
    const signal = AbortSignal.any([this.#closing.signal, ...(options.signal ? [options.signal] : [])])
    try {
      const envelope = await this.#seal(to, message, options.ttlMs ?? MAX_ENVELOPE_AGE_MS, signal)
      return await this.#track(this.#once(envelope, undefined, signal))
    } catch (cause) {
      signal.throwIfAborted()
      this.#deps.log.debug('a message cannot be sealed or sent on', { to, cause })
      return noRoute(codeOf(cause))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server[Symbol.dispose]()
    this.#closing.abort(new KithError('MESSENGER_CLOSED', 'routing has been closed'))
    await Promise.allSettled(this.#tasks)
  }

  /**
   * Opens an envelope that is for us and hands on what is in it. Also for those that a mailbox kept.
   * @throws MISROUTED, UNKNOWN_PREKEY, DECRYPTION_FAILED, what `receive` throws, any WIRE_ code
   */
  async open(envelope: SealedEnvelope): Promise<void> {
    if (!equalBytes(envelope.to, this.#key)) throw new KithError('MISROUTED', 'the envelope is for somebody else')
    const { prekeys, self, receive } = this.#deps
    await receive(await openSealed(prekeys, self.entityId, envelope.sealed, envelopeHeadBytes(envelope)))
  }

  /** @throws BAD_ENTITY, UNKNOWN_PEER, NO_PREKEY, TOO_LARGE, any code of readPrekey */
  async #seal(to: EntityId, message: Uint8Array, ttlMs: number, signal: AbortSignal): Promise<SealedEnvelope> {
    const { clock, random } = this.#deps
    const key = keyOfDid(to)
    if (!key) throw new KithError('BAD_ENTITY', 'not the did:key of an Ed25519 key')
    const prekey = await this.#prekey(to, signal)
    const head = { id: random(16), to: key, expiresAt: clock.now() + Math.min(ttlMs, MAX_ENVELOPE_AGE_MS) }
    return { ...head, sealed: await sealTo({ random }, to, prekey, message, envelopeHeadBytes(head)), hops: [] }
  }

  /** A prekey that may be used now: if what we know of the recipient has none, it is looked up anew. @throws UNKNOWN_PEER, NO_PREKEY, … */
  async #prekey(to: EntityId, signal: AbortSignal): Promise<Prekey> {
    const { clock, peers } = this.#deps
    for (const refresh of [false, true]) {
      const peer = await peers.find(to, signal, { refresh })
      if (!peer) throw new KithError('UNKNOWN_PEER', 'nothing is known of the recipient', { to })
      try {
        if (!peer.prekey) throw new KithError('NO_PREKEY', 'nothing can be sealed for the recipient', { to })
        return await readPrekey(peer.prekey, to, clock)
      } catch (cause) {
        if (refresh || !(hasCode(cause, 'EXPIRED') || hasCode(cause, 'NO_PREKEY'))) throw cause
      }
    }
    throw new KithError('NO_PREKEY', 'nothing can be sealed for the recipient', { to })
  }

  /** Answers `message-relay`. */
  async #answer(body: Uint8Array, { peerId, address, signal }: RpcContext): Promise<Uint8Array> {
    if (!this.#bucket(peerId).tryTake(body.length)) throw new KithError('RATE_LIMITED', 'more envelopes than may be')
    const envelope = decode(sealedEnvelopeCodec, body)
    const now = this.#deps.clock.now()
    if (envelope.expiresAt <= now) return encode(relayAnswerCodec, noRoute('EXPIRED'))
    if (envelope.expiresAt > now + MAX_ENVELOPE_AGE_MS + MAX_CLOCK_SKEW_MS)
      throw new KithError('WIRE_RANGE', 'an envelope wants to wait for too long', { expiresAt: envelope.expiresAt })
    // The last hop is the only one that we can know (threats RT11).
    const last = envelope.hops.at(-1)
    if (last && !equalBytes(last, peerIdToBytes(peerId))) throw new KithError('MISROUTED', 'the hop list ends with somebody else')
    if (envelope.hops.some(h => equalBytes(h, this.#peerId))) return encode(relayAnswerCodec, noRoute('LOOP'))
    const until = AbortSignal.any([signal, this.#closing.signal])
    return encode(relayAnswerCodec, await this.#once(envelope, { peerId, address }, until))
  }

  /** What became of an envelope: found out once. A second copy that comes while that happens has gone in a circle. */
  async #once(envelope: SealedEnvelope, from: Depositor | undefined, signal: AbortSignal): Promise<RelayAnswer> {
    const key = await envelopeKey(envelope)
    const isOurs = equalBytes(envelope.to, this.#key)
    const seen = this.#seen.get(key)
    if (seen) return seen instanceof Promise && !isOurs ? noRoute('LOOP') : seen
    if (isOurs)
      return this.#seen.run(key, async () => {
        await this.open(envelope)
        return { outcome: 'delivered', hops: envelope.hops.length, code: '' }
      })
    const to = didOfKey(envelope.to)
    const isKept = from !== undefined && (this.#deps.deposits?.accepts(to) ?? false)
    if (from !== undefined && !isKept && !this.#mayRelay(from.peerId, to))
      throw new KithError('NOT_AUTHORISED', 'messages of this peer are not carried')
    if (this.#carried >= MAX_CARRIED_AT_ONCE) throw new KithError('RATE_LIMITED', 'more envelopes than may be are under way')
    this.#carried++
    return this.#seen
      .run(key, () => this.#forward(envelope, to, from, isKept, signal))
      .finally(() => {
        this.#carried--
      })
  }

  #mayRelay(peerId: string, to: EntityId): boolean {
    return this.#deps.mayRelay({ peerId, from: this.#deps.peers.knownPeer(peerId)?.entityId, to })
  }

  async #forward(
    envelope: SealedEnvelope,
    to: EntityId,
    from: Depositor | undefined,
    isKept: boolean,
    signal: AbortSignal
  ): Promise<RelayAnswer> {
    const isOrigin = from === undefined
    const left = CARRY_MS - CARRY_HOP_MS * envelope.hops.length
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(left)])
    const hops = isOrigin ? [] : [...envelope.hops, this.#peerId]
    const codes: string[] = []
    const tried = new Set([this.#deps.self.peerId, ...(isOrigin ? [] : [from.peerId])])
    const isPast = (peerId: string): boolean => tried.has(peerId) || isHop(envelope.hops, peerId)
    const attempt = async (target: PeerTarget, timeoutMs: number): Promise<RelayAnswer | undefined> => {
      if (isPast(target.peerId) || deadline.aborted) return undefined
      tried.add(target.peerId)
      const answer = await this.#hand({ ...envelope, hops }, target, timeoutMs, deadline)
      if (answer.outcome !== 'no-route') return answer
      codes.push(answer.code)
      return undefined
    }
    if (hops.length > MAX_HOPS) return noRoute('TOO_MANY_HOPS')
    const peer = this.#deps.peers.known(to) ?? (await this.#look(to, deadline))
    if (peer) {
      const answer = await attempt(peer, CARRY_DIRECT_MS)
      if (answer) return answer
    }
    if (isKept && from) return this.#deposit(envelope, to, from)
    for (const target of this.#onward(peer, isPast)) {
      const answer = await attempt(target, left - CARRY_HOP_MS / 2)
      if (answer) return answer
    }
    signal.throwIfAborted()
    return noRoute(TELLING.find(c => codes.includes(c)) ?? 'NO_ROUTE', hops.length)
  }

  /** Who the recipient is, if that can be learned quickly. */
  #look(to: EntityId, deadline: AbortSignal): Promise<RoutePeer | undefined> {
    return this.#deps.peers.find(to, AbortSignal.any([deadline, AbortSignal.timeout(CARRY_DIRECT_MS)])).catch(() => undefined)
  }

  /** Whom to give it: those that the recipient chose, then a few neighbours that carry messages on. */
  *#onward(peer: RoutePeer | undefined, isPast: (peerId: string) => boolean): Generator<PeerTarget> {
    for (const v of peer?.via ?? []) yield { peerId: v.peerId, addresses: this.#deps.peers.knownPeer(v.peerId)?.addresses ?? [] }
    let n = 0
    for (const neighbour of this.#deps.peers.neighbours()) {
      if (neighbour.relaysFor === 'nobody' || isPast(neighbour.peerId)) continue
      if (++n > MAX_CARRY_NEIGHBOURS) return
      yield neighbour
    }
  }

  async #deposit(envelope: SealedEnvelope, to: EntityId, from: Depositor): Promise<RelayAnswer> {
    try {
      // The way it came is nobody's business later.
      await this.#deps.deposits!.deposit(to, encode(sealedEnvelopeCodec, { ...envelope, hops: [] }), envelope.expiresAt, from)
      return { outcome: 'deposited', hops: envelope.hops.length, code: '' }
    } catch (cause) {
      this.#deps.log.debug('an envelope is not kept', { to, cause })
      return noRoute(codeOf(cause), envelope.hops.length)
    }
  }

  /** Hands an envelope to one peer. Never throws. */
  async #hand(envelope: SealedEnvelope, target: PeerTarget, timeoutMs: number, signal: AbortSignal): Promise<RelayAnswer> {
    try {
      const options = { maxResponseBytes: 128, timeoutMs, signal }
      const answer = await this.#deps.rpc.request(target, MESSAGE_RELAY_METHOD, encode(sealedEnvelopeCodec, envelope), options)
      return decode(relayAnswerCodec, answer)
    } catch (cause) {
      this.#deps.log.debug('a peer does not take an envelope', { peer: target.peerId, cause })
      return noRoute(hasCode(cause, 'PEER_REFUSED') ? String((cause as KithError).data.code) : codeOf(cause))
    }
  }

  /** Bytes of envelopes that a peer may hand us. */
  #bucket(peerId: string): TokenBucket {
    const bucket = this.#buckets.get(peerId) ?? new TokenBucket(this.#deps.clock, CARRY_BYTES_PER_SECOND, CARRY_BYTES_BURST)
    this.#buckets.delete(peerId)
    this.#buckets.set(peerId, bucket)
    if (this.#buckets.size > MAX_CARRY_PEERS) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }

  #track<T>(task: Promise<T>): Promise<T> {
    this.#tasks.add(task)
    const done = (): void => void this.#tasks.delete(task)
    task.then(done, done)
    return task
  }
}

/** Carries own messages and those of others until disposed; dispose it before `rpc`. */
export const openRouting = (deps: RoutingDeps): Routing => new Routing(deps)

const noRoute = (code: string, hops = 0): RelayAnswer => ({
  outcome: 'no-route',
  hops,
  code: /^[A-Z][A-Z0-9_]{0,63}$/.test(code) ? code : 'NO_ROUTE'
})

const isHop = (hops: readonly Uint8Array[], peerId: string): boolean => {
  const hex = bytesToHex(peerIdToBytes(peerId))
  return hops.some(h => bytesToHex(h) === hex)
}
