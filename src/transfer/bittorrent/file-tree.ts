/**
 * The v2 half of a torrent (BEP 52): the file tree of the info dictionary, and the piece layers beside it, which are checked
 * against the roots that the info-hash covers. Symbolic links are left out (threats CH13), pad files do not exist in v2.
 */
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import { treeTop } from '../hashing/bep52-tree.ts'
import { BDict } from './bencode.ts'
import { HASH_BYTES, isPowerOfTwo, pieceLayer, treeHeight } from './hashes.ts'
import { BLOCK_BYTES, MAX_FILES, MAX_PATH_PARTS, MAX_PIECE_BYTES, MAX_PIECES, MAX_TREE_NODES } from './limits.ts'
import { attributesOf, badTorrent, cleanPart } from './torrent-text.ts'

export interface V2File {
  /** As of a v1 file. A torrent of one file has its name here. */
  readonly path: readonly string[]
  readonly length: number
  /** `pieces root`: 32 bytes; undefined for an empty file. */
  readonly root: Uint8Array | undefined
}

export interface V2Info {
  /** SHA-256 of the received info dictionary: 32 bytes. */
  readonly infoHash: Uint8Array
  /** In the order of the tree. Each begins at a piece of its own. */
  readonly files: readonly V2File[]
  /**
   * SHA-256 hashes over one piece each, concatenated, by hex root, of the files that are longer than a piece: checked. A file whose
   * layer is missing (they are not in the info dictionary) needs it from peers.
   */
  readonly layers: ReadonlyMap<string, Uint8Array>
}

/** @throws BAD_TORRENT */
export function checkV2PieceLength(pieceLength: number): void {
  if (pieceLength < BLOCK_BYTES || !isPowerOfTwo(pieceLength)) throw badTorrent('piece length of v2 is no power of two from 16 KiB')
}

/** Reads `file tree`. @returns its files, and whether it is one file without a folder. @throws BAD_TORRENT */
export function readFileTree(info: BDict): { readonly files: readonly V2File[]; readonly multiFile: boolean } {
  const tree = info.dict('file tree')
  if (!tree || tree.entries.size === 0) throw badTorrent('no file tree')
  const files: V2File[] = []
  let nodes = 0
  let size = 0
  const walk = (folder: BDict, path: readonly string[], depth: number): void => {
    if (depth >= MAX_PATH_PARTS) throw badTorrent('path')
    for (const [key, entry] of folder.entries) {
      if (++nodes > MAX_TREE_NODES) throw badTorrent('files')
      if (!(entry instanceof BDict) || key === '') throw badTorrent('an entry of the file tree')
      const part = cleanPart(Uint8Array.from(key, c => c.charCodeAt(0)))
      const here = part === undefined ? path : [...path, part]
      if (!entry.entries.has('')) walk(entry, here, depth + 1)
      else if (entry.entries.size > 1) throw badTorrent('a file with siblings inside it')
      else {
        const file = readFile(entry.dict(''), here.length > path.length ? here : [...path, '_'])
        if (file && files.push(file) > MAX_FILES) throw badTorrent('files')
        if (file && (size += file.length) > MAX_PIECES * MAX_PIECE_BYTES) throw badTorrent('too large')
      }
    }
  }
  walk(tree, [], 0)
  const [only] = tree.entries.values()
  return { files, multiFile: tree.entries.size > 1 || !(only instanceof BDict) || !only.entries.has('') }
}

/** undefined: a symbolic link. */
function readFile(entry: BDict | undefined, path: readonly string[]): V2File | undefined {
  if (!entry) throw badTorrent('a file is not a dictionary')
  const attributes = attributesOf(entry)
  if (attributes.includes('p')) throw badTorrent('a pad file in the v2 part')
  if (attributes.includes('l')) return undefined
  const length = entry.int('length')
  if (length === undefined || length < 0) throw badTorrent('length of a file')
  if (length === 0) return { path, length, root: undefined }
  const root = entry.bytes('pieces root')
  if (root?.length !== HASH_BYTES || root.every(b => b === 0)) throw badTorrent('a file has no root')
  return { path, length, root: Uint8Array.from(root) }
}

/**
 * Reads `piece layers`. Files may be missing from it, as after a magnet link; what is there must lead to a root of the torrent.
 * @throws BAD_TORRENT
 */
export function readPieceLayers(value: BDict, files: readonly V2File[], pieceLength: number): ReadonlyMap<string, Uint8Array> {
  const sizes = new Map(files.flatMap(f => (f.root && f.length > pieceLength ? [[bytesToHex(f.root), f.length] as const] : [])))
  const layers = new Map<string, Uint8Array>()
  for (const [key, layer] of value.entries) {
    const hex = bytesToHex(Uint8Array.from(key, c => c.charCodeAt(0)))
    const size = sizes.get(hex)
    if (size === undefined || !(layer instanceof Uint8Array)) throw badTorrent('a piece layer of no file')
    layers.set(hex, checkLayer(Uint8Array.from(layer), hex, size, pieceLength))
  }
  return layers
}

/** The layer, when it is one hash per piece and leads to the root. @throws BAD_TORRENT */
export function checkLayer(layer: Uint8Array, rootHex: string, size: number, pieceLength: number): Uint8Array {
  if (layer.length !== HASH_BYTES * Math.ceil(size / pieceLength)) throw badTorrent('a piece layer does not fit its file')
  if (bytesToHex(treeTop(layer, pieceLayer(pieceLength), treeHeight(size))) !== rootHex)
    throw badTorrent('a piece layer does not lead to the root of its file')
  return layer
}

/** Roots and sizes of the files whose layer is still to be asked of peers, each once. */
export function missingLayers(v2: V2Info, pieceLength: number): { readonly root: Uint8Array; readonly size: number }[] {
  const wanted = new Map<string, { readonly root: Uint8Array; readonly size: number }>()
  for (const { root, length } of v2.files) {
    if (!root || length <= pieceLength) continue
    const hex = bytesToHex(root)
    if (!v2.layers.has(hex)) wanted.set(hex, { root, size: length })
  }
  return [...wanted.values()]
}

/** Whether the v1 half of a hybrid names the same files at the same places: those with bytes, by path, length and first piece. */
export function sameFiles(
  v1: readonly { readonly path: readonly string[]; readonly length: number; readonly pad: boolean }[],
  v2: readonly V2File[],
  pieceLength: number
): boolean {
  const wanted = v2.filter(f => f.length > 0)
  let next = 0
  let offset = 0
  for (const file of v1) {
    if (!file.pad && file.length > 0) {
      const other = wanted[next++]
      if (!other || offset % pieceLength !== 0 || file.length !== other.length || file.path.join('/') !== other.path.join('/')) return false
    }
    offset += file.length
  }
  return next === wanted.length
}

/** Whether the 20 bytes that peers and trackers use are the front of this v2 info-hash. */
export const isCutOf = (infoHash: Uint8Array, v2: Uint8Array): boolean => equalBytes(infoHash, v2.subarray(0, 20))
