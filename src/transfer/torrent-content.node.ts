/** What a torrent that others made says of its bytes: the hashes of its pieces, where its files lie, and what its swarm is served. */
import { sha1 } from '#hash'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { missingLayers, type V2Info } from './bittorrent/file-tree.ts'
import { HASH_BYTES } from './bittorrent/hashes.ts'
import type { Metainfo } from './bittorrent/metainfo.ts'
import type { ChunkHashes } from './disk/chunk-verifier.node.ts'
import { leavesOf, pieceHeight, treeTop } from './hashing/bep52-tree.ts'
import type { Plan } from './plan.node.ts'
import type { FileTree, ForeignTorrent } from './protocol.ts'

/** By the place of a piece in the tree of its file (BEP 52) where the torrent has all of its trees, else by its SHA-1. @throws BAD_TORRENT */
export function hashesOfTorrent({ pieces, v2, pieceLength }: Metainfo): ChunkHashes {
  if (v2 && (!pieces || missingLayers(v2, pieceLength).length === 0)) return treeHashes(v2, pieceLength)
  return { algorithm: 'sha1', of: c => pieces!.subarray(20 * c, 20 * c + 20) }
}

/** Each piece belongs to one file: its hash is one of that file's piece layer, or the root of a file that is not longer. */
function treeHashes(v2: V2Info, pieceLength: number): ChunkHashes {
  const count = v2.files.reduce((n, f) => n + Math.ceil(f.length / pieceLength), 0)
  const hashes = new Uint8Array(HASH_BYTES * count)
  const lengths = new Int32Array(count)
  const heights = new Uint8Array(count)
  let next = 0
  for (const { root, length } of v2.files) {
    if (!root) continue
    const layer = length > pieceLength ? v2.layers.get(bytesToHex(root)) : root
    if (!layer) throw new KithError('BAD_TORRENT', 'a piece layer is missing')
    hashes.set(layer, HASH_BYTES * next)
    heights.fill(pieceHeight(length, pieceLength), next, next + Math.ceil(length / pieceLength))
    for (let left = length; left > 0; left -= pieceLength) lengths[next++] = Math.min(left, pieceLength)
  }
  return {
    algorithm: 'sha256-tree',
    of: c => hashes.subarray(HASH_BYTES * c, HASH_BYTES * (c + 1)),
    shape: c => ({ bytes: lengths[c]!, height: heights[c]! })
  }
}

/** Whether these are the bytes of a piece, pad bytes included. @throws BAD_TORRENT */
export function pieceCheck(torrent: Metainfo): (piece: number, bytes: Uint8Array) => boolean {
  const hashes = hashesOfTorrent(torrent)
  return (piece, bytes) => {
    if (hashes.algorithm !== 'sha256-tree') return equalBytes(sha1(bytes), torrent.pieces!.subarray(20 * piece, 20 * piece + 20))
    const shape = hashes.shape!(piece)
    return equalBytes(treeTop(leavesOf(bytes.subarray(0, shape.bytes)), 0, shape.height), hashes.of(piece))
  }
}

/** Where each file lies in the content; pad files are left out. */
export function filesOfTorrent({ files }: Metainfo): NonNullable<Plan['files']> {
  const out: { path: readonly string[]; offset: number; length: number }[] = []
  let offset = 0
  for (const { path, length, pad } of files) {
    if (!pad) out.push({ path, offset, length })
    offset += length
  }
  return out
}

/** What peers of its swarm get from whoever has it, or parts of it. */
export const foreignTorrent = ({ info, infoHash, v2, private: isPrivate, pieceLength }: Metainfo): ForeignTorrent => ({
  info,
  infoHash,
  infoHashV2: v2?.infoHash,
  private: isPrivate,
  trees: v2 ? treesOf(v2, pieceLength) : []
})

/** A file whose layer is not known has no tree to show. */
function treesOf({ files, layers }: V2Info, pieceLength: number): FileTree[] {
  const trees: FileTree[] = []
  let firstChunk = 0
  for (const { root, length } of files) {
    const layer = root && (length > pieceLength ? layers.get(bytesToHex(root)) : root)
    if (root && layer) trees.push({ root, layer, firstChunk, size: length })
    firstChunk += Math.ceil(length / pieceLength)
  }
  return trees
}
