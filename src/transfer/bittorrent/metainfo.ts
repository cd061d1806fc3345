/**
 * Torrents (BEP 3, v1; single and multi file): the strict reader and the writer. A v1+v2 hybrid is read as the v1 torrent it is; a
 * torrent that only has v2 is refused. Names are display text: parts that could leave a folder are taken out here already, and
 * whoever writes files makes them safe once more.
 */
import { sha1 } from '#hash'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { BDict, type BValue, bdict, decodeBencode, decodeBencodePrefix, encodeBencode } from './bencode.ts'
import {
  MAX_FILES,
  MAX_PATH_PART_BYTES,
  MAX_PATH_PARTS,
  MAX_PIECE_BYTES,
  MAX_PIECES,
  MAX_TRACKERS,
  MAX_WEB_SEEDS,
  MIN_PIECE_BYTES
} from './limits.ts'
import { keepTrackers, keepWebSeeds } from './urls.ts'

export interface TorrentFile {
  /** Parts of the path below the download folder; never empty, no "..", no separators. */
  readonly path: readonly string[]
  readonly length: number
  /** Filler between files (BEP 47): its bytes are zero and it is not written to disk. */
  readonly pad: boolean
}

export interface Metainfo {
  /** SHA-1 of the received info dictionary: 20 bytes. */
  readonly infoHash: Uint8Array
  /** The received info dictionary, as metadata exchange gives it to others. */
  readonly info: Uint8Array
  readonly name: string
  readonly size: number
  readonly pieceLength: number
  /** SHA-1 of every piece, concatenated. */
  readonly pieces: Uint8Array
  /** One file whose path is the name, or the files of a folder. Symbolic links are left out (threats CH13). */
  readonly files: readonly TorrentFile[]
  readonly multiFile: boolean
  /** BEP 27: peers come from its trackers only. */
  readonly private: boolean
  readonly trackers: readonly string[]
  readonly webSeeds: readonly string[]
}

/** Reads a .torrent file. @throws BENCODE_ERROR, BAD_TORRENT */
export function parseTorrent(bytes: Uint8Array): Metainfo {
  const root = decodeBencodePrefix(bytes, { anyOrder: true }).value // some programs leave a line break behind it
  if (!(root instanceof BDict)) throw bad('not a dictionary')
  const info = root.dict('info')
  if (!info) throw bad('no info dictionary')
  const announce = [root.get('announce') ?? [], ...(root.list('announce-list') ?? [])]
  return readInfo(info, keepTrackers(texts(announce), MAX_TRACKERS), keepWebSeeds(texts([root.get('url-list') ?? []]), MAX_WEB_SEEDS))
}

/** Reads an info dictionary that came by metadata exchange; the caller has compared its hash. @throws BENCODE_ERROR, BAD_TORRENT */
export function parseInfo(bytes: Uint8Array, trackers: readonly string[] = [], webSeeds: readonly string[] = []): Metainfo {
  const info = decodeBencode(bytes, { anyOrder: true })
  if (!(info instanceof BDict)) throw bad('the info is not a dictionary')
  return readInfo(info, trackers, webSeeds)
}

export interface TorrentContent {
  readonly name: string
  readonly size: number
  readonly pieceLength: number
  readonly pieces: Uint8Array
  readonly private?: boolean
}

/** The info dictionary and its hash: a pure function of the content, so that everybody who shares the file meets in one swarm. */
export function makeInfo(content: TorrentContent): { readonly info: Uint8Array<ArrayBuffer>; readonly infoHash: Uint8Array<ArrayBuffer> } {
  const info = encodeBencode(
    bdict({
      length: content.size,
      name: utf8(content.name),
      'piece length': content.pieceLength,
      pieces: content.pieces,
      private: content.private ? 1 : undefined
    })
  )
  return { info, infoHash: sha1(info) }
}

/** What `makeInfo` needs of a share. */
export interface SharedContent {
  readonly name: string
  readonly grid: { readonly size: number; readonly chunkBytes: number }
  readonly pieces: Uint8Array | undefined
}

/** Info dictionary of a share; undefined when its pieces were not hashed. */
export const infoOfShare = ({ name, grid, pieces }: SharedContent): ReturnType<typeof makeInfo> | undefined =>
  pieces && makeInfo({ name, size: grid.size, pieceLength: grid.chunkBytes, pieces })

/** A .torrent file. No tracker is added: without `trackers` it names none. */
export function makeTorrent(content: TorrentContent & { readonly trackers?: readonly string[] }): {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly info: Uint8Array<ArrayBuffer>
  readonly infoHash: Uint8Array<ArrayBuffer>
} {
  const { info, infoHash } = makeInfo(content)
  const trackers = content.trackers ?? []
  const fields = bdict({
    announce: trackers[0] === undefined ? undefined : utf8(trackers[0]),
    'announce-list': trackers.length > 1 ? trackers.map(t => [utf8(t)]) : undefined,
    'created by': utf8('Kith'),
    info: decodeBencode(info)
  })
  return { bytes: encodeBencode(fields), info, infoHash }
}

const bad = (why: string, data: Record<string, number> = {}): KithError => new KithError('BAD_TORRENT', `bad torrent: ${why}`, data)

function readInfo(info: BDict, trackers: readonly string[], webSeeds: readonly string[]): Metainfo {
  const infoHash = sha1(info.raw)
  if (!info.get('pieces') && info.get('meta version') === 2) throw bad('v2 not supported yet')
  const pieceLength = info.int('piece length')
  if (pieceLength === undefined || pieceLength < MIN_PIECE_BYTES || pieceLength > MAX_PIECE_BYTES) throw bad('piece length')
  const name = info.bytes('name.utf-8') ?? info.bytes('name')
  if (!name || name.length === 0) throw bad('no name')
  const title = cleanPart(name) ?? bytesToHex(infoHash)
  const list = info.get('files')
  const files = list === undefined ? [singleFile(info, title)] : manyFiles(list)
  let size = 0
  for (const f of files) if ((size += f.length) > MAX_PIECES * MAX_PIECE_BYTES) throw bad('too large')
  if (size === 0) throw bad('it holds no bytes')
  const count = Math.ceil(size / pieceLength)
  if (count > MAX_PIECES) throw bad('too many pieces', { count })
  const pieces = info.bytes('pieces')
  if (!pieces || pieces.length !== 20 * count) throw bad('the list of piece hashes does not fit the size', { count })
  return {
    infoHash,
    info: info.raw,
    name: title,
    size,
    pieceLength,
    pieces,
    files,
    multiFile: list !== undefined,
    private: info.get('private') === 1,
    trackers,
    webSeeds
  }
}

function singleFile(info: BDict, name: string): TorrentFile {
  const length = info.int('length')
  if (length === undefined || length < 0) throw bad('length')
  return { path: [name], length, pad: false }
}

function manyFiles(list: BValue): TorrentFile[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_FILES) throw bad('files')
  const files: TorrentFile[] = []
  for (const entry of list as readonly BValue[]) {
    if (!(entry instanceof BDict)) throw bad('a file is not a dictionary')
    const attributes = [...(entry.bytes('attr') ?? [])].map(c => String.fromCharCode(c))
    const length = entry.int('length')
    if (attributes.includes('l')) {
      readPath(entry, false)
      continue // a symbolic link has no bytes and is never made
    }
    if (length === undefined || length < 0) throw bad('length of a file')
    const pad = attributes.includes('p')
    files.push({ path: readPath(entry, pad), length, pad })
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

const lossy = new TextDecoder('utf-8')

/** Text of one part of a path. undefined: it names no folder ("", ".", ".."). */
function cleanPart(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_PATH_PART_BYTES) throw bad('a name is too long', { bytes: bytes.length })
  const parts = lossy
    .decode(Uint8Array.from(bytes))
    .replaceAll('\0', '')
    .split(/[\\/]/)
    .filter(p => p !== '' && p !== '.' && p !== '..')
  return parts.length > 0 ? parts.join('_') : undefined
}

/** Every string in nested lists; what is not text is left out. */
function texts(values: readonly BValue[]): string[] {
  return values.flatMap(v => {
    if (Array.isArray(v)) return texts(v as readonly BValue[])
    return v instanceof Uint8Array ? [lossy.decode(Uint8Array.from(v))] : []
  })
}

/** True for the codes with which a torrent is refused. */
export const isTorrentError = (error: unknown): boolean => hasCode(error, 'BAD_TORRENT') || hasCode(error, 'BENCODE_ERROR')
