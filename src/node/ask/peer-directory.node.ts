/**
 * Who a user means, and the way there. What a user may type: a name given to a peer, its did:key, PeerId, multiaddr with /p2p/, or the
 * http(s) URL of its message server. Links to an entity are opened over libp2p where a PeerId is known, else to its URL.
 */
import { randomBytes } from '#crypto'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { PeerRegistry } from '../../discovery/peer-registry.ts'
import { askForRecord } from '../../discovery/peer-registry-ask.ts'
import type { LinkOpener, MessageLink } from '../../messaging/link.ts'
import { openMessageStream } from '../../messaging/link-stream.ts'
import type { EntityId } from '../../messaging/types.ts'
import type { Host } from '../../net/host.ts'
import type { ScopeGate } from '../../net/scope-gate.ts'
import type { PeerBook } from '../../trust/types.ts'
import { keyOfDid } from '../../wire/did-key.ts'

export interface PeerDirectoryDeps {
  readonly host: Host
  readonly gate: ScopeGate
  readonly book: PeerBook
  readonly registry: PeerRegistry
  readonly self: EntityId
}

const HINT =
  'kith peer list shows those you know; a peer is a name you gave it, its did:key, PeerId, address with /p2p/, or the http(s) URL of its message server'
const unknown = (text: string): KithError =>
  new KithError('UNKNOWN_PEER', `there is no peer "${text.slice(0, 200)}" that this node knows or finds`, {}, { hint: HINT })
const isUrl = (text: string): boolean => /^https?:\/\//i.test(text)

/** A URL, with the hash of the server's key as its fragment when it vouches for itself. @throws UNKNOWN_PEER */
function targetOf(text: string): { readonly url: string; readonly pin?: Uint8Array } {
  if (!URL.canParse(text)) throw unknown(text)
  const { origin, hash } = new URL(text)
  return /^#[0-9a-f]{64}$/.test(hash) ? { url: origin, pin: hexToBytes(hash.slice(1)) } : { url: origin }
}

export class PeerDirectory implements LinkOpener {
  readonly #deps: PeerDirectoryDeps

  constructor(deps: PeerDirectoryDeps) {
    this.#deps = deps
  }

  /** The entity behind what a user typed. @throws UNKNOWN_PEER, PEER_UNREACHABLE, SELF */
  async resolve(text: string, signal: AbortSignal): Promise<EntityId> {
    const found = await this.#resolve(text.trim(), signal)
    if (found === this.#deps.self) throw new KithError('SELF', 'that is this node itself')
    return found
  }

  /** A display name, if the user gave one. */
  nameOf(entityId: EntityId): string | undefined {
    return this.#deps.book.peer(entityId)?.name
  }

  /** @throws PEER_UNREACHABLE, UNKNOWN_PEER */
  async open(to: EntityId, signal: AbortSignal): Promise<MessageLink> {
    const { host, book, registry } = this.#deps
    const known = book.peer(to)
    const failures: unknown[] = []
    const attempt = async (open: () => Promise<MessageLink>): Promise<MessageLink | undefined> => {
      try {
        return await open()
      } catch (error) {
        signal.throwIfAborted()
        failures.push(error)
        return undefined
      }
    }
    const addresses = known?.addresses.filter(a => !isUrl(a)) ?? []
    for (const peerId of known?.peerIds ?? []) {
      const link = await attempt(() => openMessageStream(host.streams, peerId, addresses, signal))
      if (link) return link
    }
    const found = await registry.find(to, signal)
    if (found && (!known?.peerIds.includes(found.peerId) || found.addresses.length > 0)) {
      const link = await attempt(() => openMessageStream(host.streams, found.peerId, found.addresses, signal))
      if (link) return link
    }
    for (const url of known?.addresses.filter(isUrl) ?? []) {
      const { openHttpLink } = await import('../../messaging/http-client.node.ts')
      const link = await attempt(async () => openHttpLink({ random: randomBytes }, targetOf(url)))
      if (link) return link
    }
    if (failures.length > 0) throw failures[0]
    throw new KithError('UNKNOWN_PEER', 'nobody knows where this peer is at the moment')
  }

  async #resolve(text: string, signal: AbortSignal): Promise<EntityId> {
    if (keyOfDid(text)) return text
    if (isUrl(text)) return await this.#resolveUrl(text, signal)
    if (text.startsWith('/')) return await this.#resolveAddress(text, signal)
    const known = this.#deps.book.find(text) ?? this.#shown(text)
    if (known) return known.entityId
    if (!/^(?:12D3|Qm|1)[1-9A-HJ-NP-Za-km-z]{20,}$/.test(text)) throw unknown(text)
    return await this.#entityOf(text, signal)
  }

  /** "…z2s9P4AF", as lists show peers without a name; two that end alike are nobody. */
  #shown(text: string): { readonly entityId: EntityId } | undefined {
    const end = /^(?:…|\.\.\.)([1-9A-HJ-NP-Za-km-z]{8,})$/.exec(text)?.[1]
    const all = end === undefined ? [] : this.#deps.book.peers(1000).filter(p => p.entityId.endsWith(end))
    return all.length === 1 ? all[0] : undefined
  }

  async #resolveUrl(text: string, signal: AbortSignal): Promise<EntityId> {
    const { askPublicKey } = await import('../../messaging/http-client.node.ts')
    const target = targetOf(text)
    const { entityId } = await askPublicKey(target, signal)
    this.#deps.book.observe(entityId, { address: target.pin ? `${target.url}#${bytesToHex(target.pin)}` : target.url })
    return entityId
  }

  async #resolveAddress(address: string, signal: AbortSignal): Promise<EntityId> {
    const { host, gate, book } = this.#deps
    gate.allow(address, 'user')
    const peerId = await host.dial(address, signal)
    const entityId = await this.#entityOf(peerId, signal)
    book.observe(entityId, { peerId, address })
    return entityId
  }

  /** Asks the peer itself, over a connection that proves its PeerId. */
  async #entityOf(peerId: string, signal: AbortSignal): Promise<EntityId> {
    const known = this.#deps.registry.knownPeer(peerId)
    if (known) return known.entityId
    const record = await askForRecord({ clock: systemClock, rpc: this.#deps.host.rpc }, { peerId }, { sequence: 0 }, signal)
    if (record?.peerId !== peerId) throw unknown(peerId)
    this.#deps.book.observe(record.entityId, { peerId })
    return record.entityId
  }
}
