/** Collects what mailboxes keep for this instance: from each whenever it is connected. An envelope is deleted there after it is on disk here. */
import { decode, encode } from '../base/codec.ts'
import { codeOf } from '../base/errors.ts'
import type { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import { peerIdToBytes } from '../identity/peer-id.ts'
import type { HostEvents } from '../net/host.ts'
import type { PeerTarget, Rpc } from '../net/rpc.ts'
import { MAX_KNOWN_TAGS } from '../wire/limits.ts'
import { collectAnswer, collectRequest, MAILBOX_COLLECT_METHOD } from '../wire/mailbox-collect.ts'
import { knownRequest, MAILBOX_KNOWN_METHOD } from '../wire/mailbox-known.ts'
import { type SealedEnvelope, sealedEnvelopeCodec } from '../wire/sealed-envelope.ts'
import { COLLECT_ANSWER_BYTES, COLLECT_TIMEOUT_MS } from './limits.ts'
import { knownTag } from './mailbox-tags.ts'

export interface CollectorDeps {
  readonly log: Logger
  readonly rpc: Rpc
  /** Encoded peer chain of this instance. */
  readonly certificate: Uint8Array
  readonly network: { peers(): readonly { readonly peerId: string }[]; readonly events: Emitter<HostEvents> }
  /** PeerIds of the mailboxes that the user chose. */
  readonly mailboxes: () => readonly string[]
  /** Those whom the user knows, by PeerId: a mailbox keeps room for what they leave. `key`: Ed25519, of this instance. Default: nobody. */
  readonly known?: { readonly key: Uint8Array; peers(): readonly string[] }
  /** Routing has this: resolves when the message inside is on disk. */
  readonly open: (envelope: SealedEnvelope) => Promise<void>
}

/**
 * Not the envelope's fault: it stays in the mailbox and is collected again. RATE_LIMITED is not among them: whoever leaves more of a type than
 * it may would keep back everything that others left behind it.
 */
const OURS = new Set(['DISK_FULL', 'DISK_FAILED', 'STORE_READ_ONLY', 'STORE_CORRUPT', 'QUEUE_FULL', 'MESSENGER_CLOSED', 'INTERNAL'])

export class MailboxCollector implements AsyncDisposable {
  readonly #deps: CollectorDeps
  readonly #closing = new AbortController()
  /** What each mailbox was told of whom we know. */
  readonly #told = new Map<string, string>()
  readonly #running = new Map<string, Promise<number>>()

  constructor(deps: CollectorDeps) {
    this.#deps = deps
    deps.network.events.on('peer:connected', ({ peerId }) => this.#onConnected(peerId), this.#closing.signal)
    for (const { peerId } of deps.network.peers()) this.#onConnected(peerId)
  }

  /** Collects from one mailbox until nothing is left there. @returns how many envelopes; also when it broke off half-way */
  collect(target: PeerTarget): Promise<number> {
    const running = this.#running.get(target.peerId)
    if (running) return running
    const task = this.#collect(target).finally(() => this.#running.delete(target.peerId))
    this.#running.set(target.peerId, task)
    return task
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await Promise.allSettled(this.#running.values())
  }

  #onConnected(peerId: string): void {
    if (this.#deps.mailboxes().includes(peerId)) void this.collect({ peerId })
  }

  /** Never throws. */
  async #collect(target: PeerTarget): Promise<number> {
    const { rpc, log, certificate } = this.#deps
    const options = { maxResponseBytes: COLLECT_ANSWER_BYTES, timeoutMs: COLLECT_TIMEOUT_MS, signal: this.#closing.signal }
    let collected = 0
    let done: number[] = []
    await this.#tellKnown(target)
    try {
      while (true) {
        const answer = await rpc.request(target, MAILBOX_COLLECT_METHOD, encode(collectRequest, { certificate, done }), options)
        const { waiting } = decode(collectAnswer, answer)
        done = []
        for (const { number, envelope } of waiting) {
          if (this.#closing.signal.aborted || !(await this.#take(envelope))) break
          done.push(number)
        }
        collected += done.length
        // Nothing left, or nothing that we can take now.
        if (done.length === 0) return collected
      }
    } catch (cause) {
      if (!this.#closing.signal.aborted) log.debug('a mailbox was not emptied', { peer: target.peerId, cause })
      return collected
    }
  }

  /** Says once, and when it has changed, for whom there is to be room. Never throws: a mailbox that does not know this has no such shares. */
  async #tellKnown(target: PeerTarget): Promise<void> {
    const { rpc, log, certificate, known } = this.#deps
    try {
      if (!known) return
      const peers = [...new Set(known.peers())].sort().slice(0, MAX_KNOWN_TAGS)
      if ((this.#told.get(target.peerId) ?? '') === peers.join()) return
      const tags = await Promise.all(peers.map(p => knownTag(known.key, peerIdToBytes(p))))
      const options = { maxResponseBytes: 0, timeoutMs: COLLECT_TIMEOUT_MS, signal: this.#closing.signal }
      await rpc.request(target, MAILBOX_KNOWN_METHOD, encode(knownRequest, { certificate, tags }), options)
      this.#told.set(target.peerId, peers.join())
    } catch (cause) {
      if (!this.#closing.signal.aborted) log.debug('a mailbox was not told whom we know', { peer: target.peerId, cause })
    }
  }

  /** @returns whether the mailbox may forget it: it is on disk here, or it will never be of use */
  async #take(bytes: Uint8Array): Promise<boolean> {
    try {
      await this.#deps.open(decode(sealedEnvelopeCodec, bytes))
      return true
    } catch (cause) {
      if (OURS.has(codeOf(cause))) return false
      this.#deps.log.debug('an envelope from a mailbox is of no use', { cause })
      return true
    }
  }
}

/** Collects until disposed. */
export const openCollector = (deps: CollectorDeps): MailboxCollector => new MailboxCollector(deps)
