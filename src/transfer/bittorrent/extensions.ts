/**
 * Messages of the extension protocol (BEP 10): its handshake, metadata exchange (BEP 9), and Kith's two. All bencoded. Pure.
 *
 * | name          | our number | payload                                                           |
 * | ------------- | ---------: | ----------------------------------------------------------------- |
 * | (handshake)   |          0 | m, v, reqq, p, yourip, metadata_size, upload_only; kn and kb are Kith's      |
 * | ut_metadata   |          1 | msg_type, piece, total_size, then raw bytes                       |
 * | kith_ticket   |          2 | id (16 bytes), mac (32 bytes)                                     |
 * | kith          |          3 | need: why nothing more is served until the downloader has paid    |
 * | ut_pex        |          4 | see pex.ts                                                        |
 *
 * Spec: docs/wire/bittorrent.md §2-4
 */
import { concatBytes, fromUtf8, utf8 } from '../../base/bytes.ts'
import { BDict, type BValue, bdict, decodeBencodePrefix, encodeBencode } from './bencode.ts'
import { addressBytes, hostOfBytes } from './compact.ts'
import { MAX_BLOCK_BYTES, MAX_EXTENDED_BYTES, MAX_EXTENSIONS, MAX_REASON_BYTES } from './limits.ts'
import { protocolError } from './messages.ts'

/** Numbers under which we want to be sent each extension. */
export const extensionIds = { ut_metadata: 1, kith_ticket: 2, kith: 3, ut_pex: 4 } as const
export type ExtensionName = keyof typeof extensionIds

export interface ExtendedHandshake {
  /** Numbers the sender wants for the extensions that we know; 0 or absent: it does not take them. */
  readonly ids: Readonly<Partial<Record<ExtensionName, number>>>
  /** Program and version: remote text, for logs. */
  readonly version: string | undefined
  /** Requests the sender queues. */
  readonly requestQueue: number | undefined
  readonly listenPort: number | undefined
  /** The receiver's IP address as the sender sees it. */
  readonly yourIp?: string | undefined
  readonly metadataSize: number | undefined
  /** The sender wants nothing. */
  readonly uploadOnly: boolean
  /** Fresh 16 bytes of this connection that a ticket's MAC covers ("kn"). */
  readonly nonce: Uint8Array | undefined
  /** Longest block that may be asked of the sender ("kb"), at most 128 KiB; 16 KiB unless it says so. */
  readonly maxBlock: number | undefined
}

export const NONCE_BYTES = 16

export function encodeExtendedHandshake(h: ExtendedHandshake): Uint8Array<ArrayBuffer> {
  return encodeBencode(
    bdict({
      m: bdict(h.ids),
      v: h.version === undefined ? undefined : utf8(h.version),
      reqq: h.requestQueue,
      p: h.listenPort,
      yourip: h.yourIp === undefined ? undefined : addressBytes(h.yourIp),
      metadata_size: h.metadataSize,
      upload_only: h.uploadOnly ? 1 : undefined,
      kn: h.nonce,
      kb: h.maxBlock
    })
  )
}

/** Fields of the wrong type are as good as absent, as in other programs. @throws PEER_WIRE for what is no dictionary */
export function decodeExtendedHandshake(bytes: Uint8Array): ExtendedHandshake {
  const d = readDict(bytes)
  const m = d.dict('m')
  if (m && m.entries.size > MAX_EXTENSIONS) throw protocolError('too many extensions', { count: m.entries.size })
  const ids: Partial<Record<ExtensionName, number>> = {}
  for (const name of Object.keys(extensionIds) as ExtensionName[]) {
    const id = within(m?.int(name), 1, 255)
    if (id !== undefined) ids[name] = id
  }
  const nonce = d.bytes('kn')
  return {
    ids,
    version: textOrNone(d.get('v')),
    requestQueue: within(d.int('reqq'), 1, Number.MAX_SAFE_INTEGER),
    listenPort: within(d.int('p'), 1, 65535),
    yourIp: yourIpOf(d.bytes('yourip')),
    metadataSize: within(d.int('metadata_size'), 1, Number.MAX_SAFE_INTEGER),
    uploadOnly: d.int('upload_only') === 1,
    nonce: nonce?.length === NONCE_BYTES ? Uint8Array.from(nonce) : undefined,
    maxBlock: within(d.int('kb'), 1, MAX_BLOCK_BYTES)
  }
}

export type MetadataMessage =
  | { readonly kind: 'request' | 'reject'; readonly piece: number }
  | { readonly kind: 'data'; readonly piece: number; readonly totalSize: number; readonly data: Uint8Array }

const METADATA_KINDS = ['request', 'data', 'reject'] as const

export function encodeMetadata(m: MetadataMessage): Uint8Array<ArrayBuffer> {
  const head = bdict({
    msg_type: METADATA_KINDS.indexOf(m.kind),
    piece: m.piece,
    total_size: m.kind === 'data' ? m.totalSize : undefined
  })
  return m.kind === 'data' ? concatBytes(encodeBencode(head), m.data) : encodeBencode(head)
}

/** undefined: a kind of message that is not known yet, which BEP 9 says to ignore. @throws PEER_WIRE */
export function decodeMetadata(bytes: Uint8Array): MetadataMessage | undefined {
  const { dict, used } = readDictPrefix(bytes)
  const piece = within(dict.int('piece'), 0, 2 ** 31)
  const kind = METADATA_KINDS[dict.int('msg_type') ?? -1]
  if (kind === undefined) return undefined
  if (piece === undefined) throw protocolError('a metadata message names no piece')
  if (kind !== 'data') return { kind, piece }
  const totalSize = within(dict.int('total_size'), 1, Number.MAX_SAFE_INTEGER)
  if (totalSize === undefined) throw protocolError('a piece of metadata names no total size')
  return { kind, piece, totalSize, data: Uint8Array.from(bytes.subarray(used)) }
}

export interface TicketMessage {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** 32 bytes, see ticket.ts. */
  readonly mac: Uint8Array
}

export const encodeTicket = ({ id, mac }: TicketMessage): Uint8Array<ArrayBuffer> => encodeBencode(bdict({ id, mac }))

/** @throws PEER_WIRE */
export function decodeTicket(bytes: Uint8Array): TicketMessage {
  const d = readDict(bytes)
  const id = d.bytes('id')
  const mac = d.bytes('mac')
  if (id?.length !== 16 || mac?.length !== 32) throw protocolError('not a ticket')
  return { id: Uint8Array.from(id), mac: Uint8Array.from(mac) }
}

/** @param reason is cut to fit */
export function encodeNeed(reason: string): Uint8Array<ArrayBuffer> {
  return encodeBencode(bdict({ need: utf8(reason.toWellFormed().slice(0, MAX_REASON_BYTES / 4)) }))
}

/** Why the seeder serves no more: remote text. undefined: a message that says something else. @throws PEER_WIRE */
export function decodeNeed(bytes: Uint8Array): string | undefined {
  return textOrNone(readDict(bytes).get('need'))
}

const yourIpOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes?.length === 4 || bytes?.length === 16 ? hostOfBytes(bytes) : undefined

const within = (v: number | undefined, min: number, max: number): number | undefined =>
  v !== undefined && v >= min && v <= max ? v : undefined

function textOrNone(v: BValue | undefined): string | undefined {
  if (!(v instanceof Uint8Array) || v.length > MAX_REASON_BYTES) return undefined
  try {
    return fromUtf8(Uint8Array.from(v))
  } catch {
    return undefined
  }
}

function readDict(bytes: Uint8Array): BDict {
  const { dict, used } = readDictPrefix(bytes)
  if (used !== bytes.length) throw protocolError('bytes are left after an extension message')
  return dict
}

function readDictPrefix(bytes: Uint8Array): { readonly dict: BDict; readonly used: number } {
  try {
    const { value, used } = decodeBencodePrefix(bytes, { anyOrder: true, maxBytes: MAX_EXTENDED_BYTES })
    if (value instanceof BDict) return { dict: value, used }
  } catch {
    // told below
  }
  throw protocolError('an extension message is no dictionary')
}
