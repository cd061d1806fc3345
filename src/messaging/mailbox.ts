/**
 * A mailbox for others: keeps sealed envelopes of those who were granted it until they collect them. The owner proves itself by its
 * certificate for the PeerId of the connection; what it has on its own disk it names in the next request, and only then it is deleted here.
 */
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { verifyPeerCertificate } from '../identity/certificates.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import type { Rpc } from '../net/rpc.ts'
import { didOfKey, keyOfDid } from '../wire/did-key.ts'
import { KNOWN_TAG_BYTES, MAX_COLLECTED, MAX_KNOWN_TAGS } from '../wire/limits.ts'
import { collectAnswer, collectRequest, MAILBOX_COLLECT_METHOD } from '../wire/mailbox-collect.ts'
import { knownRequest, MAILBOX_KNOWN_METHOD } from '../wire/mailbox-known.ts'
import { originNetwork } from './delivery/origin-key.ts'
import { COLLECT_BYTES, MAILBOX_PRUNE_MS } from './limits.ts'
import { knownTag } from './mailbox-tags.ts'
import type { MailboxStore } from './mailbox-types.ts'
import type { Depositor, Deposits } from './routing-types.ts'
import type { EntityId } from './types.ts'

export interface MailboxDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly rpc: Rpc
  readonly store: MailboxStore
  /** Whether messages are kept for this entity: the grant `mailbox`. */
  readonly mayKeep: (owner: EntityId) => boolean
  /** Whether the user of this node knows who has this PeerId. Default: nobody. */
  readonly isKnown?: (peerId: string) => boolean
}

export class Mailbox implements Deposits, AsyncDisposable {
  readonly #deps: MailboxDeps
  readonly #closing = new AbortController()
  readonly #server: Disposable
  readonly #knowing: Disposable
  readonly #pruning: Promise<void>

  constructor(deps: MailboxDeps) {
    this.#deps = deps
    const limits = { maxRequestBytes: 8192, perSecond: 20 }
    this.#server = deps.rpc.handle(MAILBOX_COLLECT_METHOD, limits, (body, { peerId }) => this.#collect(body, peerId))
    this.#knowing = deps.rpc.handle(
      MAILBOX_KNOWN_METHOD,
      { maxRequestBytes: 8192 + MAX_KNOWN_TAGS * KNOWN_TAG_BYTES, perSecond: 1 },
      (body, { peerId }) => this.#know(body, peerId)
    )
    this.#pruning = this.#prune()
  }

  accepts(owner: EntityId): boolean {
    return this.#deps.mayKeep(owner)
  }

  async deposit(owner: EntityId, envelope: Uint8Array, expiresAt: number, from: Depositor): Promise<void> {
    if (!this.accepts(owner)) throw new KithError('NOT_AUTHORISED', 'no messages are kept for this peer')
    if (expiresAt <= this.#deps.clock.now()) throw new KithError('EXPIRED', 'the envelope has expired')
    const { peerId } = from
    const stranger = (await this.#isKnown(owner, peerId)) ? undefined : { peerId, network: originNetwork(from) }
    await this.#deps.store.add(owner, envelope, expiresAt, stranger)
  }

  /** What is kept, by owner. */
  totals(): ReturnType<MailboxStore['totals']> {
    return this.#deps.store.totals()
  }

  /** Ends what runs; the store stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server[Symbol.dispose]()
    this.#knowing[Symbol.dispose]()
    this.#closing.abort()
    await this.#pruning
  }

  /** Also for an owner whose grant has ended: what was acknowledged to others is still its own. */
  async #collect(body: Uint8Array, peerId: string): Promise<Uint8Array> {
    const { certificate, done } = decode(collectRequest, body)
    const owner = didOfKey((await verifyPeerCertificate(certificate, peerId)).instanceKey)
    const { store, clock } = this.#deps
    await store.remove(owner, done)
    const waiting = store.oldest(owner, clock.now(), MAX_COLLECTED, COLLECT_BYTES)
    return encode(collectAnswer, { left: store.count(owner, clock.now()) - waiting.length, waiting })
  }

  async #isKnown(owner: EntityId, peerId: string): Promise<boolean> {
    const { store, isKnown } = this.#deps
    const key = keyOfDid(owner)
    return (isKnown?.(peerId) ?? false) || (key !== undefined && store.isKnown(owner, await knownTag(key, peerIdToBytes(peerId))))
  }

  /** An owner says whom it knows: strangers never take their room. */
  async #know(body: Uint8Array, peerId: string): Promise<Uint8Array> {
    const { certificate, tags } = decode(knownRequest, body)
    const owner = didOfKey((await verifyPeerCertificate(certificate, peerId)).instanceKey)
    if (!this.accepts(owner)) throw new KithError('NOT_AUTHORISED', 'no messages are kept for this peer')
    await this.#deps.store.setKnown(owner, tags)
    return new Uint8Array()
  }

  async #prune(): Promise<void> {
    const { clock, log, store } = this.#deps
    while (!this.#closing.signal.aborted) {
      try {
        store.prune(clock.now())
      } catch (cause) {
        log.warn('expired envelopes stay in the mailbox', { cause })
      }
      await clock.sleep(MAILBOX_PRUNE_MS, this.#closing.signal).catch(() => {})
    }
  }
}

/** Keeps envelopes for others until disposed. `store` is the caller's to dispose afterwards. */
export const openMailbox = (deps: MailboxDeps): Mailbox => new Mailbox(deps)
