/**
 * Answers the questions of other nodes. Who has not proved its address gets at most three times the bytes it sent (threats BT8): lists
 * are cut to fit, and an item that does not fit is held back until the address has answered a ping. Pure but for signatures.
 */
import type { Clock } from '../../base/clock.ts'
import { classOfAddress } from '../address-filter.ts'
import type { PeerAddress } from '../bittorrent/urls.ts'
import { type ProvenAddresses, RateByAddress, type Tokens } from './guards.ts'
import { type Item, isGenuine, orderError, sizeError, targetOf } from './items.ts'
import { type Answer, encodeKrpc, type KrpcErrorCode, type KrpcMessage, krpcErrors, NOTHING, type Question } from './krpc.ts'
import { MAX_AMPLIFICATION, MAX_ANSWERED_PEERS, MAX_SENT_BYTES, SIGNATURES_BURST, SIGNATURES_PER_SECOND } from './limits.ts'
import type { ItemStore, PeerStore } from './store.ts'
import type { RoutingTable } from './table.ts'

export interface ResponderDeps {
  readonly clock: Clock
  readonly table: () => RoutingTable
  readonly peers: PeerStore
  readonly items: ItemStore
  readonly tokens: Tokens
  readonly proven: ProvenAddresses
  /** Ourselves, as this asker can reach us, when we announce the torrent. */
  readonly ownPeers: (infoHash: Uint8Array, asker: string) => readonly PeerAddress[]
}

export interface Reply {
  readonly bytes: Uint8Array
  /** Only to be sent once the address has answered a ping. */
  readonly hold: boolean
}

type AskedMessage = Extract<KrpcMessage, { kind: 'question' | 'refused' }>

export class Responder {
  readonly #deps: ResponderDeps
  readonly #signatures: RateByAddress

  constructor(deps: ResponderDeps) {
    this.#deps = deps
    this.#signatures = new RateByAddress(deps.clock, SIGNATURES_PER_SECOND, SIGNATURES_BURST)
  }

  /** @param askedBytes length of the question @returns undefined when it is to be ignored */
  async reply(message: AskedMessage, from: PeerAddress, askedBytes: number): Promise<Reply | undefined> {
    const { transaction } = message
    const result = message.kind === 'refused' ? message : await this.#answer(message.question, from)
    if (result === undefined) return undefined
    if ('code' in result) return { bytes: encodeKrpc({ transaction, kind: 'refused', code: result.code, why: result.why }), hold: false }
    const id = this.#deps.table().ownId
    const proven = this.#deps.proven.has(from.host)
    const limit = proven ? MAX_SENT_BYTES : Math.min(MAX_SENT_BYTES, MAX_AMPLIFICATION * askedBytes)
    const write = (answer: Answer): Uint8Array => encodeKrpc({ transaction, kind: 'answer', id, answer, seenAs: from })
    const bytes = write(fit(result, limit, write))
    if (bytes.length <= limit) return { bytes, hold: false }
    if (message.kind === 'question' && message.readOnly) return { bytes: write({ ...NOTHING, token: result.token }), hold: false }
    return { bytes: write(fit(result, MAX_SENT_BYTES, write)), hold: true }
  }

  async #answer(q: Question, from: PeerAddress): Promise<Answer | Refusal | undefined> {
    const { peers, tokens, items, ownPeers } = this.#deps
    switch (q.name) {
      case 'ping':
        return NOTHING
      case 'find_node':
        return { ...NOTHING, nodes: this.#nodes(q.target, from) }
      case 'get_peers': {
        const found = [...ownPeers(q.target, from.host), ...peers.peers(q.target, MAX_ANSWERED_PEERS)]
        const mine = found.filter(p => mayTell(from.host, p) && p.host.includes(':') === from.host.includes(':'))
        return { ...NOTHING, nodes: this.#nodes(q.target, from), peers: mine.slice(0, MAX_ANSWERED_PEERS), token: tokens.for(from.host) }
      }
      case 'announce_peer':
        if (!this.#isTokenRight(q.token, from)) return refusal(krpcErrors.protocol, 'bad token')
        peers.add(q.target, { host: from.host, port: q.port ?? from.port })
        return NOTHING
      case 'get': {
        const item = items.get(q.target)
        const answer = { ...NOTHING, nodes: this.#nodes(q.target, from), token: tokens.for(from.host) }
        if (!item) return answer
        if (item.signed && q.seq !== undefined && item.signed.seq <= q.seq) return { ...answer, seq: item.signed.seq }
        return { ...answer, value: item.value, signed: item.signed }
      }
      case 'put':
        return await this.#put(q, from)
    }
  }

  async #put(q: Extract<Question, { name: 'put' }>, from: PeerAddress): Promise<Answer | Refusal | undefined> {
    const { items } = this.#deps
    if (!this.#isTokenRight(q.token, from)) return refusal(krpcErrors.protocol, 'bad token')
    const item: Item = { value: q.value, signed: q.signed, salt: q.signed ? q.salt : new Uint8Array() }
    const error = sizeError(item) ?? orderError(items.get(targetOf(item)), item, q.cas)
    if (error !== undefined) return refusal(error, 'this item cannot be kept')
    if (item.signed && !this.#signatures.tryTake(from.host)) return undefined
    if (!(await isGenuine(item))) return refusal(krpcErrors.badSignature, 'bad signature')
    // Another one may have been put while the signature was looked at.
    const late = orderError(items.get(targetOf(item)), item, q.cas)
    if (late !== undefined) return refusal(late, 'this item cannot be kept')
    items.put(item, from.host)
    return NOTHING
  }

  /** Who shows a token has received an answer of ours: the address is its own. */
  #isTokenRight(token: Uint8Array, from: PeerAddress): boolean {
    const right = this.#deps.tokens.isFor(from.host, token)
    if (right) this.#deps.proven.prove(from.host)
    return right
  }

  #nodes(target: Uint8Array, from: PeerAddress): Answer['nodes'] {
    return this.#deps
      .table()
      .closest(target, 2 * MAX_NODES)
      .filter(n => mayTell(from.host, n) && !(n.host === from.host && n.port === from.port))
      .slice(0, MAX_NODES)
  }
}

const MAX_NODES = 8

interface Refusal {
  readonly code: KrpcErrorCode
  readonly why: string
}
const refusal = (code: KrpcErrorCode, why: string): Refusal => ({ code, why })

/** Addresses of our own network are nothing to those outside of it. */
const mayTell = (asker: string, { host }: PeerAddress): boolean => classOfAddress(asker) !== 'public' || classOfAddress(host) === 'public'

/** Cuts the lists of an answer so that it has at most `limit` bytes, if lists are what makes it long: two thirds of the room for peers. */
export function fit(answer: Answer, limit: number, write: (answer: Answer) => Uint8Array): Answer {
  const room = limit - write({ ...answer, nodes: [], peers: [] }).length
  const v6 = [...answer.nodes, ...answer.peers].some(n => n.host.includes(':'))
  const [nodeBytes, peerBytes] = v6 ? [38, 21] : [26, 8]
  const times = (bytes: number, each: number, most: number): number => Math.max(0, Math.min(most, Math.floor(bytes / each)))
  const peers = times((room * 2) / 3 - LIST_BYTES, peerBytes, answer.peers.length)
  const used = peers > 0 ? LIST_BYTES + peers * peerBytes : 0
  const nodes = times(room - used - LIST_BYTES, nodeBytes, answer.nodes.length)
  return { ...answer, nodes: answer.nodes.slice(0, nodes), peers: answer.peers.slice(0, peers) }
}

/** Names, lengths and ends of a list, at most. */
const LIST_BYTES = 14
