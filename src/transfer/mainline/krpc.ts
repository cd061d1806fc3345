/**
 * Messages of BitTorrent's DHT: one bencoded dictionary in each datagram (BEP 5, 32, 42, 43, 44). Pure.
 *
 * | key | value                                                                                                       |
 * | --- | ----------------------------------------------------------------------------------------------------------- |
 * | t   | transaction: chosen by who asks, sent back                                                                  |
 * | y   | q (question, with q and a), r (answer, with r), e (error, with e)                                            |
 * | a   | id, and of ping nothing; of find_node target; of get_peers info_hash; of announce_peer info_hash, port,      |
 * |     | implied_port, token; of get target, seq; of put token, v, k, sig, seq, salt, cas                             |
 * | r   | id, nodes (26 bytes each), nodes6 (38), values (6 or 18), token, v, k, sig, seq                              |
 * | e   | number, text                                                                                                |
 * | ip  | in answers: the asker as we see it                                                                           |
 * | ro  | 1 in questions: the asker answers none                                                                      |
 * | v   | program and version                                                                                         |
 *
 * Spec: docs/wire/bittorrent.md §9
 */
import { concatBytes, utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { BDict, type BValue, bdict, decodeBencode, encodeBencode } from '../bittorrent/bencode.ts'
import { COMPACT4_BYTES, COMPACT6_BYTES, packPeer, unpackPeer } from '../bittorrent/compact.ts'
import type { PeerAddress } from '../bittorrent/urls.ts'
import { MAX_DATAGRAM_BYTES, MAX_NODES_PER_ANSWER, MAX_TOKEN_BYTES, MAX_TRANSACTION_BYTES, MAX_VALUES_PER_ANSWER } from './limits.ts'
import { ID_BYTES } from './node-id.ts'

/** A node of the DHT as others name it. */
export interface Contact extends PeerAddress {
  /** 20 bytes. */
  readonly id: Uint8Array
}

/** What a mutable item is signed with, as it stands in `put` and in answers to `get`. */
export interface Signed {
  readonly key: Uint8Array
  readonly signature: Uint8Array
  readonly seq: number
}

export type Question =
  | { readonly name: 'ping' }
  | { readonly name: 'find_node'; readonly target: Uint8Array }
  | { readonly name: 'get_peers'; readonly target: Uint8Array }
  | {
      readonly name: 'announce_peer'
      readonly target: Uint8Array
      /** undefined: the port that the datagram came from. */
      readonly port: number | undefined
      readonly token: Uint8Array
    }
  | { readonly name: 'get'; readonly target: Uint8Array; readonly seq: number | undefined }
  | {
      readonly name: 'put'
      readonly token: Uint8Array
      /** One bencoded value. */
      readonly value: Uint8Array
      readonly signed: Signed | undefined
      readonly salt: Uint8Array
      readonly cas: number | undefined
    }

export interface Answer {
  readonly nodes: readonly Contact[]
  readonly peers: readonly PeerAddress[]
  readonly token: Uint8Array | undefined
  /** One bencoded value. */
  readonly value: Uint8Array | undefined
  readonly signed: Signed | undefined
  /** Sequence number alone: the asker has the newest already. */
  readonly seq: number | undefined
}

export const NOTHING: Answer = { nodes: [], peers: [], token: undefined, value: undefined, signed: undefined, seq: undefined }

/** Numbers of error messages (BEP 5, BEP 44). */
export const krpcErrors = {
  generic: 201,
  server: 202,
  protocol: 203,
  unknownMethod: 204,
  tooLarge: 205,
  badSignature: 206,
  saltTooLong: 207,
  casMismatch: 301,
  seqTooLow: 302
} as const
export type KrpcErrorCode = (typeof krpcErrors)[keyof typeof krpcErrors]

export type KrpcMessage = { readonly transaction: Uint8Array } & (
  | { readonly kind: 'question'; readonly id: Uint8Array; readonly readOnly: boolean; readonly question: Question }
  /** A question that cannot be answered; `code` is what to say. */
  | { readonly kind: 'refused'; readonly code: KrpcErrorCode; readonly why: string }
  | { readonly kind: 'answer'; readonly id: Uint8Array; readonly answer: Answer; readonly seenAs: PeerAddress | undefined }
  | { readonly kind: 'error'; readonly code: number; readonly why: string }
)

const VERSION = Uint8Array.of(0x4b, 0x54, 0, 1) // "KT", 0.1
const KEY_BYTES = 32
const SIGNATURE_BYTES = 64

const bad = (why: string): KithError => new KithError('BAD_KRPC', `bad DHT message: ${why}`)

/** Reads one datagram. A question whose arguments are wrong is `refused`, because its sender is to be told. @throws BAD_KRPC */
export function decodeKrpc(bytes: Uint8Array): KrpcMessage {
  const root = readRoot(bytes)
  const transaction = copy(root.bytes('t'))
  if (!transaction || transaction.length > MAX_TRANSACTION_BYTES) throw bad('no transaction')
  const kind = latin1(root.bytes('y'))
  if (kind === 'q') return { transaction, ...readQuestion(root) }
  if (kind === 'e') return { transaction, ...readError(root.get('e')) }
  const body = kind === 'r' ? root.dict('r') : undefined
  const id = copy(body?.bytes('id'), ID_BYTES)
  if (!body || !id) throw bad('neither a question nor an answer nor an error')
  return { transaction, kind: 'answer', id, answer: readAnswer(body), seenAs: unpackPeer(root.bytes('ip') ?? new Uint8Array()) }
}

/** Writes a datagram. `refused` is written as the error that it asks for. */
export function encodeKrpc(m: KrpcMessage): Uint8Array<ArrayBuffer> {
  const t = m.transaction
  switch (m.kind) {
    case 'question': {
      const a = bdict({ id: m.id, ...argumentsOf(m.question) })
      return encodeBencode(bdict({ a, q: utf8(m.question.name), ro: m.readOnly ? 1 : undefined, t, v: VERSION, y: utf8('q') }))
    }
    case 'answer': {
      const ip = m.seenAs && packPeer(m.seenAs)
      return encodeBencode(bdict({ ip, r: bdict({ id: m.id, ...fieldsOf(m.answer) }), t, v: VERSION, y: utf8('r') }))
    }
    default:
      return encodeBencode(bdict({ e: [m.code, utf8(m.why)], t, v: VERSION, y: utf8('e') }))
  }
}

function argumentsOf(q: Question): Record<string, BValue | undefined> {
  switch (q.name) {
    case 'ping':
      return {}
    case 'find_node':
      return { target: q.target }
    case 'get_peers':
      return { info_hash: q.target }
    case 'announce_peer':
      return { info_hash: q.target, port: q.port ?? 0, implied_port: q.port === undefined ? 1 : undefined, token: q.token }
    case 'get':
      return { target: q.target, seq: q.seq }
    case 'put':
      return {
        token: q.token,
        v: decodeBencode(q.value),
        cas: q.cas,
        salt: q.salt.length > 0 ? q.salt : undefined,
        k: q.signed?.key,
        sig: q.signed?.signature,
        seq: q.signed?.seq
      }
  }
}

function fieldsOf(a: Answer): Record<string, BValue | undefined> {
  const packed = a.nodes.map(n => concatBytes(n.id, packPeer(n) ?? new Uint8Array()))
  const ofLength = (n: number): Uint8Array | undefined => {
    const some = packed.filter(p => p.length === n)
    return some.length > 0 ? concatBytes(...some) : undefined
  }
  return {
    nodes: ofLength(ID_BYTES + COMPACT4_BYTES),
    nodes6: ofLength(ID_BYTES + COMPACT6_BYTES),
    values: a.peers.length > 0 ? a.peers.flatMap(p => packPeer(p) ?? []) : undefined,
    token: a.token,
    v: a.value && decodeBencode(a.value),
    k: a.signed?.key,
    sig: a.signed?.signature,
    seq: a.signed?.seq ?? a.seq
  }
}

function readRoot(bytes: Uint8Array): BDict {
  try {
    const root = decodeBencode(bytes, { anyOrder: true, maxBytes: MAX_DATAGRAM_BYTES })
    if (root instanceof BDict) return root
  } catch (cause) {
    throw new KithError('BAD_KRPC', 'bad DHT message: not bencoded', {}, { cause })
  }
  throw bad('not a dictionary')
}

type Body<K extends KrpcMessage['kind']> = Omit<Extract<KrpcMessage, { kind: K }>, 'transaction'>

const refused = (why: string, code: KrpcErrorCode = krpcErrors.protocol): Body<'refused'> => ({ kind: 'refused', code, why })

function readQuestion(root: BDict): Body<'question'> | Body<'refused'> {
  const a = root.dict('a')
  const id = copy(a?.bytes('id'), ID_BYTES)
  if (!a || !id) return refused('no id')
  const question = readArguments(latin1(root.bytes('q')), a)
  if ('kind' in question) return question
  return { kind: 'question', id, readOnly: root.int('ro') === 1, question }
}

function readArguments(name: string, a: BDict): Question | Body<'refused'> {
  if (name === 'ping') return { name }
  if (name === 'put') return readPut(a)
  if (name !== 'find_node' && name !== 'get_peers' && name !== 'announce_peer' && name !== 'get')
    return refused('unknown method', krpcErrors.unknownMethod)
  const key = name === 'get_peers' || name === 'announce_peer' ? 'info_hash' : 'target'
  const target = copy(a.bytes(key), ID_BYTES)
  if (!target) return refused(`no ${key}`)
  if (name === 'get') return { name, target, seq: natural(a.int('seq')) }
  if (name !== 'announce_peer') return { name, target }
  const token = readToken(a)
  const port = a.int('implied_port') === 1 ? undefined : (a.int('port') ?? 0)
  if (!token) return refused('no token')
  if (port !== undefined && (port < 1 || port > 65_535)) return refused('no port')
  return { name, target, port, token }
}

function readPut(a: BDict): Question | Body<'refused'> {
  const token = readToken(a)
  const v = a.get('v')
  if (!token || v === undefined) return refused('no token or value')
  const signed = readSigned(a)
  if (a.get('k') !== undefined && !signed) return refused('k, sig and seq go together')
  return {
    name: 'put',
    token,
    value: encodeBencode(v),
    signed,
    salt: copy(a.bytes('salt')) ?? new Uint8Array(),
    cas: natural(a.int('cas'))
  }
}

function readAnswer(r: BDict): Answer {
  const v = r.get('v')
  const values = r.list('values') ?? []
  const peers = values.slice(0, MAX_VALUES_PER_ANSWER).flatMap(p => (p instanceof Uint8Array ? (unpackPeer(p) ?? []) : []))
  const nodes = [...readNodes(r.bytes('nodes'), COMPACT4_BYTES), ...readNodes(r.bytes('nodes6'), COMPACT6_BYTES)]
  return {
    nodes,
    peers,
    token: readToken(r),
    value: v === undefined ? undefined : encodeBencode(v),
    signed: readSigned(r),
    seq: natural(r.int('seq'))
  }
}

/** @throws BAD_KRPC when the list has no whole number of entries (threats BT8) */
function readNodes(bytes: Uint8Array | undefined, addressBytes: number): Contact[] {
  const nodes: Contact[] = []
  const step = ID_BYTES + addressBytes
  if (!bytes) return nodes
  if (bytes.length % step !== 0) throw bad('a cut list of nodes')
  for (let at = 0; at < bytes.length && nodes.length < MAX_NODES_PER_ANSWER; at += step) {
    const address = unpackPeer(bytes.subarray(at + ID_BYTES, at + step))
    if (address) nodes.push({ id: Uint8Array.from(bytes.subarray(at, at + ID_BYTES)), ...address })
  }
  return nodes
}

function readError(e: BValue | undefined): Body<'error'> {
  const [code, why] = Array.isArray(e) ? (e as readonly BValue[]) : []
  return {
    kind: 'error',
    code: typeof code === 'number' ? code : krpcErrors.generic,
    why: why instanceof Uint8Array ? latin1(why.subarray(0, 200)).replaceAll(/[^\x20-\x7e]/g, '?') : ''
  }
}

function readSigned(d: BDict): Signed | undefined {
  const key = copy(d.bytes('k'), KEY_BYTES)
  const signature = copy(d.bytes('sig'), SIGNATURE_BYTES)
  const seq = natural(d.int('seq'))
  return key && signature && seq !== undefined ? { key, signature, seq } : undefined
}

const readToken = (d: BDict): Uint8Array | undefined => {
  const token = d.bytes('token')
  return token && token.length <= MAX_TOKEN_BYTES ? copy(token) : undefined
}

const natural = (v: number | undefined): number | undefined => (v !== undefined && v >= 0 ? v : undefined)
const copy = (b: Uint8Array | undefined, length?: number): Uint8Array | undefined =>
  b && (length === undefined || b.length === length) ? Uint8Array.from(b) : undefined
const latin1 = (b: Uint8Array | undefined): string => (b && b.length <= 200 ? String.fromCharCode(...b) : '')
