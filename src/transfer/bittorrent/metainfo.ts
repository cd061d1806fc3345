/**
 * Torrents: v1 (BEP 3), v2 (BEP 52) and hybrids of both; single and multi file: the strict reader and the writer. A hybrid whose
 * halves differ is refused. Names are display text: parts that could leave a folder are taken out here already, and whoever writes
 * files makes them safe once more.
 */
import { sha1, sha256 } from '#hash'
import { bytesToHex, concatBytes, hexToBytes, utf8 } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import type { V2Digest } from '../digests.ts'
import type { ForeignTorrent } from '../protocol.ts'
import { BDict, type BValue, bdict, decodeBencode, decodeBencodePrefix, encodeBencode } from './bencode.ts'
import { checkV2PieceLength, isCutOf, readFileTree, readPieceLayers, sameFiles, type V2File, type V2Info } from './file-tree.ts'
import { HASH_BYTES, isPowerOfTwo } from './hashes.ts'
import {
  BLOCK_BYTES,
  MAX_DUPLICATE_NAMES,
  MAX_FILES,
  MAX_PATH_PARTS,
  MAX_PIECE_BYTES,
  MAX_PIECES,
  MAX_TRACKERS,
  MAX_WEB_SEEDS,
  MIN_PIECE_BYTES
} from './limits.ts'
import { attributesOf, badTorrent as bad, cleanPart, lossyText } from './torrent-text.ts'
import { keepTrackers, keepWebSeeds, keepWebTrackers } from './urls.ts'

export interface TorrentFile {
  /** Parts of the path below the download folder; never empty, no "..", no separators. */
  readonly path: readonly string[]
  readonly length: number
  /** Filler between files (BEP 47): its bytes are zero and it is not written to disk. */
  readonly pad: boolean
}

export interface Metainfo {
  /** 20 bytes by which peers and trackers know it: SHA-1 of the received info dictionary; of a torrent without v1, `v2.infoHash` cut. */
  readonly infoHash: Uint8Array
  /** The received info dictionary, as metadata exchange gives it to others. */
  readonly info: Uint8Array
  readonly name: string
  readonly size: number
  readonly pieceLength: number
  /** SHA-1 of every piece, concatenated; undefined for a torrent that only has v2. */
  readonly pieces: Uint8Array | undefined
  /** The v2 half of a hybrid, or all of a torrent that only has v2. */
  readonly v2: V2Info | undefined
  /** One file whose path is the name, or the files of a folder. Symbolic links are left out (threats CH13). */
  readonly files: readonly TorrentFile[]
  readonly multiFile: boolean
  /** BEP 27: peers come from its trackers only. */
  readonly private: boolean
  readonly trackers: readonly string[]
  /** The same in the order of BEP 12, when the torrent has one; undefined: a single tracker, or a magnet link. */
  readonly trackerTiers?: readonly (readonly string[])[] | undefined
  /** Trackers of WebTorrent. */
  readonly webTrackers?: readonly string[]
  readonly webSeeds: readonly string[]
}

/** Reads a .torrent file. @throws BENCODE_ERROR, BAD_TORRENT */
export function parseTorrent(bytes: Uint8Array): Metainfo {
  const root = decodeBencodePrefix(bytes, { anyOrder: true }).value // some programs leave a line break behind it
  if (!(root instanceof BDict)) throw bad('not a dictionary')
  const info = root.dict('info')
  if (!info) throw bad('no info dictionary')
  const announce = [root.get('announce') ?? [], ...(root.list('announce-list') ?? [])]
  const webSeeds = keepWebSeeds(texts([root.get('url-list') ?? []]), MAX_WEB_SEEDS)
  const trackers = keepTrackers(texts(announce), MAX_TRACKERS)
  const webTrackers = keepWebTrackers(texts(announce), MAX_TRACKERS)
  const torrent = { ...readInfo(info, trackers, webSeeds), webTrackers, trackerTiers: tiersOf(root.list('announce-list'), trackers) }
  const layers = root.get('piece layers')
  if (!torrent.v2 || layers === undefined) return torrent
  if (!(layers instanceof BDict)) throw bad('piece layers')
  return { ...torrent, v2: { ...torrent.v2, layers: readPieceLayers(layers, torrent.v2.files, torrent.pieceLength) } }
}

/** BEP 12: where there are tiers, `announce` does not count. */
function tiersOf(list: readonly BValue[] | undefined, kept: readonly string[]): readonly (readonly string[])[] | undefined {
  const left = new Set(kept)
  const tiers = (list ?? []).slice(0, MAX_TRACKERS).map(tier => keepTrackers(texts([tier]), MAX_TRACKERS).filter(t => left.delete(t)))
  return tiers.some(tier => tier.length > 0) ? tiers.filter(tier => tier.length > 0) : undefined
}

/** Reads an info dictionary that came by metadata exchange; the caller has compared its hash. @throws BENCODE_ERROR, BAD_TORRENT */
export function parseInfo(bytes: Uint8Array, trackers: readonly string[] = [], webSeeds: readonly string[] = []): Metainfo {
  const info = decodeBencode(bytes, { anyOrder: true })
  if (!(info instanceof BDict)) throw bad('the info is not a dictionary')
  return readInfo(info, trackers, webSeeds)
}

/** Bytes of each piece of a torrent without v1 that ends with a file that others follow: shorter than a piece. undefined: there is none. */
export function shortPieces({ pieces, files, pieceLength }: Metainfo): ReadonlyMap<number, number> | undefined {
  const short = new Map<number, number>()
  if (pieces) return undefined // there pad files are data like any other
  let offset = 0
  for (const { length, pad } of files) {
    if (pad) short.set(Math.floor(offset / pieceLength), offset % pieceLength)
    offset += length
  }
  return short.size > 0 ? short : undefined
}

/** SHA-256 of an info dictionary that has a v2 half (whose value nobody has checked yet); undefined for v1 alone. */
export function v2HashOf(info: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const dict = decodeBencode(info, { anyOrder: true })
  return dict instanceof BDict && dict.int('meta version') === 2 ? sha256(info) : undefined
}

export interface TorrentContent {
  readonly name: string
  readonly size: number
  readonly pieceLength: number
  readonly pieces: Uint8Array
  /** With it the torrent is a hybrid. */
  readonly v2?: V2Digest | undefined
  readonly private?: boolean
}

export interface MadeInfo {
  readonly info: Uint8Array<ArrayBuffer>
  /** SHA-1 of `info`. */
  readonly infoHash: Uint8Array<ArrayBuffer>
  /** SHA-256 of `info`, when it is a hybrid. */
  readonly infoHashV2: Uint8Array<ArrayBuffer> | undefined
}

/** The info dictionary and its hashes: a pure function of the content, so that everybody who shares the file meets in one swarm. */
export function makeInfo(content: TorrentContent): MadeInfo {
  const v2 = fittingV2(content)
  const file = v2 && bdict({ length: content.size, 'pieces root': v2.root })
  const info = encodeBencode(
    bdict({
      'file tree': file && new BDict([[keyOf(utf8(content.name)), new BDict([['', file]])]]),
      length: content.size,
      'meta version': v2 && 2,
      name: utf8(content.name),
      'piece length': content.pieceLength,
      pieces: content.pieces,
      private: content.private ? 1 : undefined
    })
  )
  return { info, infoHash: sha1(info), infoHashV2: v2 && sha256(info) }
}

/** A key of a dictionary from its bytes. */
const keyOf = (bytes: Uint8Array): string => Array.from(bytes, b => String.fromCharCode(b)).join('')

/** The v2 digest when v2 can say the same as v1: whole 16 KiB blocks in a piece, one hash for each piece, a name. */
function fittingV2({ name, size, pieceLength, v2 }: TorrentContent): V2Digest | undefined {
  const fits = name !== '' && size > 0 && pieceLength >= BLOCK_BYTES && isPowerOfTwo(pieceLength)
  return v2 && fits && v2.layer.length === HASH_BYTES * Math.ceil(size / pieceLength) ? v2 : undefined
}

/** An info dictionary under which something is served. */
export type SharedInfo = Pick<ForeignTorrent, 'info' | 'infoHash' | 'infoHashV2'>

/** What `makeInfo` needs of a share. */
export interface SharedContent {
  readonly name: string
  readonly grid: { readonly size: number; readonly chunkBytes: number }
  readonly pieces: Uint8Array | undefined
  readonly v2?: V2Digest | undefined
  readonly torrent?: ForeignTorrent | undefined
}

/** Info dictionary of a share, a hybrid when both digests are there; undefined when its v1 pieces were not hashed. */
export const infoOfShare = ({ name, grid, pieces, v2 }: SharedContent): MadeInfo | undefined =>
  pieces && makeInfo({ name, size: grid.size, pieceLength: grid.chunkBytes, pieces, v2 })

/**
 * All info dictionaries under which a share is served: the hybrid, and plain v1 for programs that do not get through a file tree with
 * its empty keys (aria2 1.36 hashes it wrongly, Transmission 3 refuses it). A torrent that others made is served as it is.
 */
export function infosOfShare(share: SharedContent): readonly SharedInfo[] {
  if (share.torrent) return [share.torrent]
  const made = infoOfShare(share)
  const plain = made?.infoHashV2 && infoOfShare({ name: share.name, grid: share.grid, pieces: share.pieces })
  return [made, plain].filter(m => m !== undefined)
}

/**
 * Every hash by which peers may ask for a share and trackers list it, 20 bytes each: of a hybrid v1, v2 cut, and the plain v1 torrent
 * that is served beside it for programs that cannot read a hybrid.
 */
export const infoHashesOf = (share: SharedContent): readonly Uint8Array[] => infosOfShare(share).flatMap(hashesOfInfo)

/** The 20-byte hashes by which a torrent is asked for: v1's, and the front of v2's where that is another. */
export const hashesOfInfo = ({ infoHash, infoHashV2 }: Pick<SharedInfo, 'infoHash' | 'infoHashV2'>): readonly Uint8Array[] =>
  infoHashV2 && !isCutOf(infoHash, infoHashV2) ? [infoHash, infoHashV2.slice(0, 20)] : [infoHash]

/** A .torrent file. No tracker is added: without `trackers` it names none. */
export function makeTorrent(
  content: TorrentContent & { readonly trackers?: readonly string[] }
): MadeInfo & { readonly bytes: Uint8Array<ArrayBuffer> } {
  const made = makeInfo(content)
  const trackers = content.trackers ?? []
  const v2 = made.infoHashV2 && content.v2
  const layers = v2 && (content.size > content.pieceLength ? new BDict([[keyOf(v2.root), v2.layer]]) : new BDict([]))
  const fields = bdict({
    announce: trackers[0] === undefined ? undefined : utf8(trackers[0]),
    'announce-list': trackers.length > 1 ? trackers.map(t => [utf8(t)]) : undefined,
    'created by': utf8('Kith'),
    info: decodeBencode(made.info),
    'piece layers': layers
  })
  return { bytes: encodeBencode(fields), ...made }
}

/** The .torrent file of a torrent that was read, with the info dictionary as it came: `parseTorrent` gives the same again. */
export function torrentFileOf(torrent: Metainfo): Uint8Array {
  const { info, trackers, trackerTiers, webTrackers = [], webSeeds, v2 } = torrent
  const single = trackers.filter(t => !trackerTiers?.flat().includes(t))
  const tiers = [...(trackerTiers ?? []), ...[...single, ...webTrackers].map(t => [t])]
  const field = (key: string, value: BValue): Uint8Array[] => [utf8(`${key.length}:${key}`), encodeBencode(value)]
  return concatBytes(
    utf8('d'),
    ...(tiers.length > 0
      ? field(
          'announce-list',
          tiers.map(tier => tier.map(utf8))
        )
      : []),
    utf8('4:info'),
    info, // never written anew: others may have had their keys in another order
    ...(v2 ? field('piece layers', new BDict([...v2.layers].map(([root, layer]) => [keyOf(hexToBytes(root)), layer] as const))) : []),
    ...(webSeeds.length > 0 ? field('url-list', webSeeds.map(utf8)) : []),
    utf8('e')
  )
}

function readInfo(info: BDict, trackers: readonly string[], webSeeds: readonly string[]): Metainfo {
  const version = info.int('meta version') ?? 1
  if (version > 2) throw bad('a newer version of the format', { version })
  if (version === 2)
    decodeBencode(info.raw) // BEP 52: a torrent that is not in its one spelling is refused
  else if (info.get('file tree') !== undefined) throw bad('a file tree without a version')
  const pieceLength = info.int('piece length')
  if (pieceLength === undefined || pieceLength < MIN_PIECE_BYTES || pieceLength > MAX_PIECE_BYTES) throw bad('piece length')
  const name = info.bytes('name.utf-8') ?? info.bytes('name')
  if (!name || name.length === 0) throw bad('no name')
  const hashes = { v1: sha1(info.raw), v2: sha256(info.raw) }
  const list = info.get('files')
  const hasV1 = version < 2 || list !== undefined || info.get('length') !== undefined
  const title = cleanPart(name) ?? bytesToHex(hasV1 ? hashes.v1 : hashes.v2)
  const tree = version === 2 ? readV2(info, pieceLength) : undefined
  const v1 = hasV1 ? (list === undefined ? [singleFile(info, title)] : manyFiles(list)) : undefined
  if (v1 && tree && !sameFiles(v1, tree.files, pieceLength)) throw bad('its v1 and v2 halves name different files')
  const files = v1 ?? alignedFiles(tree!.files, pieceLength)
  refuseDuplicates(files)
  const { size, count } = measure(files, pieceLength)
  const pieces = info.bytes('pieces')
  if (v1 && pieces?.length !== 20 * count) throw bad('the list of piece hashes does not fit the size', { count })
  return {
    infoHash: v1 ? hashes.v1 : hashes.v2.slice(0, 20),
    info: info.raw,
    name: title,
    size,
    pieceLength,
    pieces: v1 && pieces,
    v2: tree && { infoHash: hashes.v2, files: tree.files, layers: new Map() },
    files,
    multiFile: v1 ? list !== undefined : tree!.multiFile,
    private: info.get('private') === 1,
    trackers,
    webSeeds
  }
}

function readV2(info: BDict, pieceLength: number): ReturnType<typeof readFileTree> {
  checkV2PieceLength(pieceLength)
  return readFileTree(info)
}

/** Bytes and pieces of the content as peers number them, pad files included. */
function measure(files: readonly TorrentFile[], pieceLength: number): { readonly size: number; readonly count: number } {
  let size = 0
  for (const f of files) if ((size += f.length) > MAX_PIECES * MAX_PIECE_BYTES) throw bad('too large')
  if (size === 0) throw bad('it holds no bytes')
  const count = Math.ceil(size / pieceLength)
  if (count > MAX_PIECES) throw bad('too many pieces', { count })
  return { size, count }
}

/** A few files of one name are told apart on disk; each costs a search among those before it. */
function refuseDuplicates(files: readonly TorrentFile[]): void {
  const seen = new Set<string>()
  let again = 0
  for (const { path, pad } of files) {
    const key = path.join('/').normalize('NFC').toLowerCase()
    if (pad) continue
    if (seen.has(key) && ++again > MAX_DUPLICATE_NAMES) throw bad('too many files of the same name')
    seen.add(key)
  }
}

/** In v2 each file begins at a piece: what lies between is named as the pad files that a v1 torrent would have. */
function alignedFiles(files: readonly V2File[], pieceLength: number): TorrentFile[] {
  const out: TorrentFile[] = []
  let size = 0
  for (const { path, length } of files) {
    const gap = length > 0 ? (pieceLength - (size % pieceLength)) % pieceLength : 0
    if (gap > 0) out.push({ path: ['.pad'], length: gap, pad: true })
    out.push({ path, length, pad: false })
    size += gap + length
  }
  return out
}

function singleFile(info: BDict, name: string): TorrentFile {
  const length = info.int('length')
  if (length === undefined || length < 0) throw bad('length')
  return { path: [name], length, pad: false }
}

/** How pad files were named before there was an attribute for them. */
const OLD_PAD = '_____padding_file_'

function manyFiles(list: BValue): TorrentFile[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_FILES) throw bad('files')
  const files: TorrentFile[] = []
  for (const entry of list as readonly BValue[]) {
    if (!(entry instanceof BDict)) throw bad('a file is not a dictionary')
    const attributes = attributesOf(entry)
    const length = entry.int('length')
    if (attributes.includes('l')) {
      readPath(entry, false)
      continue // a symbolic link has no bytes and is never made
    }
    if (length === undefined || length < 0) throw bad('length of a file')
    const path = readPath(entry, attributes.includes('p'))
    files.push({ path, length, pad: attributes.includes('p') || path.at(-1)!.startsWith(OLD_PAD) })
  }
  return files
}

function readPath(entry: BDict, pad: boolean): readonly string[] {
  const parts = entry.list('path.utf-8') ?? entry.list('path')
  if (!parts && pad) return ['.pad']
  if (!parts || parts.length === 0 || parts.length > MAX_PATH_PARTS) throw bad('path')
  const clean: string[] = []
  for (const part of parts) {
    if (!(part instanceof Uint8Array)) throw bad('a part of a path is not text')
    const text = cleanPart(part)
    if (text !== undefined) clean.push(text)
  }
  return clean.length > 0 ? clean : ['_']
}

/** Every string in nested lists; what is not text is left out. */
function texts(values: readonly BValue[]): string[] {
  return values.flatMap(v => {
    if (Array.isArray(v)) return texts(v as readonly BValue[])
    return v instanceof Uint8Array ? [lossyText(v)] : []
  })
}

/** True for the codes with which a torrent is refused. */
export const isTorrentError = (error: unknown): boolean => hasCode(error, 'BAD_TORRENT') || hasCode(error, 'BENCODE_ERROR')
