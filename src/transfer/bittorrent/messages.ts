/**
 * The peer wire (BEP 3, fast extension BEP 6, extension protocol BEP 10, hash requests BEP 52). Pure. After the handshake each message is a u32 length
 * (big endian), one byte of kind, and the body; a length of 0 is a keep-alive.
 *
 * | kind            | number   | body                                     |
 * | --------------- | -------: | ---------------------------------------- |
 * | choke … notInterested | 0-3 | -                                       |
 * | have            |        4 | piece u32                                |
 * | bitfield        |        5 | one bit per piece, spare bits zero       |
 * | request, cancel |     6, 8 | piece u32, begin u32, length u32         |
 * | piece           |        7 | piece u32, begin u32, the block          |
 * | port            |        9 | u16                                      |
 * | suggest, allowedFast | 13, 17 | piece u32                             |
 * | haveAll, haveNone | 14, 15 | -                                        |
 * | reject          |       16 | as request                               |
 * | extended        |       20 | number u8, bencoded payload              |
 * | hashRequest, hashReject | 21, 23 | pieces root 32, base layer u32, index u32, length u32, proof layers u32 |
 * | hashes          |       22 | as hashRequest, then the hashes          |
 *
 * Spec: docs/wire/bittorrent.md §1
 */
import { concatBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { chunkLength, type Grid } from '../grid.ts'
import { HASH_BYTES, type HashRequest, uncleCount } from './hashes.ts'
import { MAX_BLOCK_BYTES, MAX_EXTENDED_BYTES, MAX_HASHES, MAX_PIECES, MAX_TREE_HEIGHT, MAX_UNKNOWN_BYTES } from './limits.ts'

export const messageIds = {
  choke: 0,
  unchoke: 1,
  interested: 2,
  notInterested: 3,
  have: 4,
  bitfield: 5,
  request: 6,
  piece: 7,
  cancel: 8,
  port: 9,
  suggest: 13,
  haveAll: 14,
  haveNone: 15,
  reject: 16,
  allowedFast: 17,
  extended: 20,
  hashRequest: 21,
  hashes: 22,
  hashReject: 23
} as const

type Bare = 'choke' | 'unchoke' | 'interested' | 'notInterested' | 'haveAll' | 'haveNone'
type OfPiece = 'have' | 'suggest' | 'allowedFast'
type OfBlock = 'request' | 'cancel' | 'reject'

export interface Block {
  readonly piece: number
  readonly begin: number
  readonly length: number
}

export type Message =
  | { readonly kind: Bare | 'keepAlive' }
  | { readonly kind: OfPiece; readonly piece: number }
  | ({ readonly kind: OfBlock } & Block)
  | { readonly kind: 'bitfield'; readonly bits: Uint8Array }
  | { readonly kind: 'piece'; readonly piece: number; readonly begin: number; readonly block: Uint8Array }
  | { readonly kind: 'port'; readonly port: number }
  | { readonly kind: 'extended'; readonly id: number; readonly payload: Uint8Array }
  | ({ readonly kind: 'hashRequest' } & HashRequest)
  | ({ readonly kind: 'hashReject' } & HashRequest)
  | ({ readonly kind: 'hashes'; readonly hashes: Uint8Array } & HashRequest)
  | { readonly kind: 'unknown'; readonly id: number }

const kindsById = new Map<number, keyof typeof messageIds>(Object.entries(messageIds).map(([k, id]) => [id, k as keyof typeof messageIds]))
/** Bytes after the kind; kinds that are not listed vary. */
const BODY_BYTES: Readonly<Partial<Record<keyof typeof messageIds, number>>> = {
  choke: 0,
  unchoke: 0,
  interested: 0,
  notInterested: 0,
  haveAll: 0,
  haveNone: 0,
  have: 4,
  suggest: 4,
  allowedFast: 4,
  request: 12,
  cancel: 12,
  reject: 12,
  port: 2,
  hashRequest: 48,
  hashReject: 48
}

export const protocolError = (why: string, data: Readonly<Record<string, number>> = {}): KithError => new KithError('PEER_WIRE', why, data)

/**
 * Checks a message's length before anything is kept for its body.
 * @param length the u32 prefix, at least 1
 * @param grid pieces of the torrent; undefined while only its metadata is fetched
 * @throws PEER_WIRE
 */
export function checkLength(length: number, id: number, grid: Grid | undefined): void {
  const kind = kindsById.get(id)
  const body = length - 1
  if (kind === undefined) {
    if (body > MAX_UNKNOWN_BYTES) throw protocolError('an unknown message is too long', { id, length })
    return
  }
  const exact = kind === 'bitfield' && grid ? Math.ceil(grid.count / 8) : BODY_BYTES[kind]
  if (exact !== undefined && body !== exact) throw protocolError(`a ${kind} message has the wrong length`, { length })
  if (kind === 'bitfield' && body > MAX_PIECES / 8) throw protocolError('a bitfield is too long', { length })
  if (kind === 'piece' && (body < 9 || body > 8 + MAX_BLOCK_BYTES)) throw protocolError('a block has a wrong length', { length })
  if (kind === 'extended' && (body < 1 || body > 1 + MAX_EXTENDED_BYTES))
    throw protocolError('an extended message has a wrong length', { length })
  if (
    kind === 'hashes' &&
    (body < 48 + HASH_BYTES || body > 48 + HASH_BYTES * (MAX_HASHES + MAX_TREE_HEIGHT) || (body - 48) % HASH_BYTES !== 0)
  )
    throw protocolError('a hashes message has a wrong length', { length })
}

/** Reads the kind and body of one message (without its length). @throws PEER_WIRE */
export function decodeMessage(bytes: Uint8Array, grid: Grid | undefined): Message {
  if (bytes.length === 0) return { kind: 'keepAlive' }
  const id = bytes[0]!
  checkLength(bytes.length, id, grid)
  const kind = kindsById.get(id)
  switch (kind) {
    case undefined:
      return { kind: 'unknown', id }
    case 'have':
    case 'suggest':
    case 'allowedFast':
      return { kind, piece: checkPiece(readU32(bytes, 1), grid) }
    case 'request':
    case 'cancel':
    case 'reject': {
      const block = { piece: readU32(bytes, 1), begin: readU32(bytes, 5), length: readU32(bytes, 9) }
      checkBlock(block, grid)
      return { kind, ...block }
    }
    case 'bitfield':
      checkBitfield(bytes.subarray(1), grid)
      return { kind, bits: Uint8Array.from(bytes.subarray(1)) }
    case 'piece': {
      const block = { piece: readU32(bytes, 1), begin: readU32(bytes, 5), length: bytes.length - 9 }
      checkBlock(block, grid)
      return { kind, piece: block.piece, begin: block.begin, block: Uint8Array.from(bytes.subarray(9)) }
    }
    case 'port':
      return { kind, port: bytes[1]! * 256 + bytes[2]! }
    case 'extended':
      return { kind, id: bytes[1]!, payload: Uint8Array.from(bytes.subarray(2)) }
    case 'hashRequest':
    case 'hashReject':
      return { kind, ...readHashRequest(bytes) }
    case 'hashes': {
      const request = readHashRequest(bytes)
      const hashes = Uint8Array.from(bytes.subarray(49))
      // The count is checked before log2 of a hostile length can matter: what does not fit is refused whatever it is.
      if (hashes.length !== HASH_BYTES * (request.length + uncleCount(request)))
        throw protocolError('a hashes message does not fit its request')
      return { kind, ...request, hashes }
    }
    default:
      return { kind }
  }
}

/** One message with its length in front. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  switch (message.kind) {
    case 'keepAlive':
      return new Uint8Array(4)
    case 'have':
    case 'suggest':
    case 'allowedFast':
      return frame(messageIds[message.kind], u32(message.piece))
    case 'request':
    case 'cancel':
    case 'reject': {
      const out = new Uint8Array(17)
      writeBlockMessage(out, 0, messageIds[message.kind], message)
      return out
    }
    case 'bitfield':
      return frame(messageIds.bitfield, message.bits)
    case 'piece':
      return frame(messageIds.piece, u32(message.piece), u32(message.begin), message.block)
    case 'port':
      return frame(messageIds.port, u32(message.port).subarray(2))
    case 'extended':
      return frame(messageIds.extended, Uint8Array.of(message.id), message.payload)
    case 'hashRequest':
    case 'hashReject':
      return frame(messageIds[message.kind], ...hashFields(message))
    case 'hashes':
      return frame(messageIds.hashes, ...hashFields(message), message.hashes)
    case 'unknown':
      return frame(message.id)
    default:
      return frame(messageIds[message.kind])
  }
}

const readHashRequest = (b: Uint8Array): HashRequest => ({
  root: Uint8Array.from(b.subarray(1, 33)),
  baseLayer: readU32(b, 33),
  index: readU32(b, 37),
  length: readU32(b, 41),
  proofLayers: readU32(b, 45)
})
const hashFields = (r: HashRequest): Uint8Array[] => [r.root, u32(r.baseLayer), u32(r.index), u32(r.length), u32(r.proofLayers)]

/** Bytes of a request, cancel or reject, and where its fields are: written in place because there is one per block. */
export const BLOCK_MESSAGE_BYTES = 17
export function writeBlockMessage(out: Uint8Array, at: number, id: number, { piece, begin, length }: Block): void {
  writeU32(out, at, 13)
  out[at + 4] = id
  writeU32(out, at + 5, piece)
  writeU32(out, at + 9, begin)
  writeU32(out, at + 13, length)
}

/** Bytes before the block of a piece message. */
export const PIECE_HEADER_BYTES = 13
export function writePieceHeader(out: Uint8Array, at: number, { piece, begin, length }: Block): void {
  writeU32(out, at, 9 + length)
  out[at + 4] = messageIds.piece
  writeU32(out, at + 5, piece)
  writeU32(out, at + 9, begin)
}

/** @throws PEER_WIRE when the block is not inside its piece or longer than allowed */
export function checkBlock({ piece, begin, length }: Block, grid: Grid | undefined): void {
  checkPiece(piece, grid)
  if (length === 0 || length > MAX_BLOCK_BYTES || (grid && begin + length > chunkLength(grid, piece)))
    throw protocolError('a block is outside its piece or too long', { piece, begin, length })
}

function checkPiece(piece: number, grid: Grid | undefined): number {
  if (piece >= (grid?.count ?? MAX_PIECES)) throw protocolError('there is no such piece', { piece })
  return piece
}

function checkBitfield(bits: Uint8Array, grid: Grid | undefined): void {
  const spare = grid ? (8 - (grid.count % 8)) % 8 : 0
  if (spare > 0 && (bits.at(-1)! & ((1 << spare) - 1)) !== 0) throw protocolError('a bitfield has spare bits')
}

export interface Handshake {
  readonly infoHash: Uint8Array
  readonly peerId: Uint8Array
  /** BEP 6. */
  readonly fast: boolean
  /** BEP 10. */
  readonly extended: boolean
  /** BEP 5: runs a DHT node, whose port it tells with `port`. */
  readonly dht?: boolean
  /** BEP 52: speaks v2, and may be answered with the v2 info-hash when it sent the v1 one of a hybrid. */
  readonly v2?: boolean
}

export const HANDSHAKE_BYTES = 68
const PROTOCOL = Uint8Array.from('\x13BitTorrent protocol', c => c.charCodeAt(0))

export function encodeHandshake(h: Handshake): Uint8Array<ArrayBuffer> {
  const reserved = new Uint8Array(8)
  if (h.extended) reserved[5] = 0x10
  if (h.fast) reserved[7] = 0x04
  if (h.dht) reserved[7]! |= 0x01
  if (h.v2) reserved[7]! |= 0x10
  return concatBytes(PROTOCOL, reserved, h.infoHash, h.peerId)
}

/** True while `bytes` may still become a handshake: an encrypted or foreign stream is refused at its first byte. */
export const startsLikeHandshake = (bytes: Uint8Array): boolean => bytes.subarray(0, PROTOCOL.length).every((b, i) => b === PROTOCOL[i])

/** Reads exactly 68 bytes. @throws PEER_WIRE */
export function decodeHandshake(bytes: Uint8Array): Handshake {
  if (bytes.length !== HANDSHAKE_BYTES || !startsLikeHandshake(bytes)) throw protocolError('not a BitTorrent handshake')
  const reserved = bytes.subarray(20, 28)
  if (reserved.every(b => b === 0xff)) throw protocolError('every reserved bit is set: no program that exists')
  return {
    infoHash: Uint8Array.from(bytes.subarray(28, 48)),
    peerId: Uint8Array.from(bytes.subarray(48, 68)),
    extended: (reserved[5]! & 0x10) !== 0,
    fast: (reserved[7]! & 0x04) !== 0,
    dht: (reserved[7]! & 0x01) !== 0,
    v2: (reserved[7]! & 0x10) !== 0
  }
}

export const readU32 = (b: Uint8Array, at: number): number => b[at]! * 2 ** 24 + ((b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!)

function writeU32(out: Uint8Array, at: number, v: number): void {
  out[at] = v >>> 24
  out[at + 1] = v >>> 16
  out[at + 2] = v >>> 8
  out[at + 3] = v
}

function u32(v: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(4)
  writeU32(out, 0, v)
  return out
}

function frame(id: number, ...body: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = 1 + body.reduce((n, p) => n + p.length, 0)
  return concatBytes(u32(length), Uint8Array.of(id), ...body)
}
