/**
 * BitTorrent v2's Merkle tree (BEP 52): SHA-256 over blocks of 16 KiB, paired without prefixes, filled up to a power of two with leaves
 * of 32 zero bytes. The last block is hashed as short as it is. A layer of height h has nodes that cover 2^h blocks; the `pieces root`
 * is the top. Hash requests are answered and checked in bittorrent/hashes.ts.
 */
import { sha256 } from '#hash'
import { concatBytes } from '../../base/bytes.ts'
import { CHUNK_BYTES } from '../../wire/limits.ts'

export const V2_BLOCK_BYTES = 16_384
const HASH = 32

/** Height of the layer whose nodes cover 256 KiB: the one that is kept. */
export const CHUNK_HEIGHT: number = Math.log2(CHUNK_BYTES / V2_BLOCK_BYTES)

/** Blocks of a file; 1 for an empty one. */
export const v2Blocks = (size: number): number => Math.max(1, Math.ceil(size / V2_BLOCK_BYTES))

/** Smallest h with 2^h >= n. */
export const heightOf = (n: number): number => (n <= 1 ? 0 : 32 - Math.clz32(n - 1))

const padding: Uint8Array[] = [new Uint8Array(HASH)]
/** The node of height h over nothing but missing leaves. */
export function padNode(h: number): Uint8Array {
  for (let i = padding.length; i <= h; i++) padding.push(sha256(concatBytes(padding[i - 1]!, padding[i - 1]!)))
  return padding[h]!
}

/** SHA-256 of every block of `bytes`, concatenated; `bytes` begins at a block and ends at one, or at the end of the file. */
export function leavesOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(HASH * v2Blocks(bytes.length))
  for (let at = 0; at === 0 || at < bytes.length; at += V2_BLOCK_BYTES)
    out.set(sha256(bytes.subarray(at, at + V2_BLOCK_BYTES)), (at / V2_BLOCK_BYTES) * HASH)
  return out
}

/** One layer up. @param height of the nodes given; an odd last one is paired with padding */
export function layerAbove(nodes: Uint8Array, height: number): Uint8Array<ArrayBuffer> {
  const count = nodes.length / HASH
  const out = new Uint8Array(HASH * Math.ceil(count / 2))
  for (let i = 0; i < count; i += 2) {
    const pair = i + 1 < count ? nodes.subarray(i * HASH, (i + 2) * HASH) : concatBytes(nodes.subarray(i * HASH), padNode(height))
    out.set(sha256(pair), (i / 2) * HASH)
  }
  return out
}

/**
 * The node of height `top` over all of these nodes.
 * @param nodes 32 bytes each, from the left; those to the right of them are padding
 * @param height of the nodes given; 0 are leaves
 * @param top by default the lowest at which there is one node left
 */
export function treeTop(nodes: Uint8Array, height = 0, top: number = height + heightOf(nodes.length / HASH)): Uint8Array {
  let layer = nodes
  for (let h = height; h < top; h++) layer = layerAbove(layer, h)
  return new Uint8Array(layer.subarray(0, HASH))
}

/** Height of the tree of one piece: the piece's own, or that of the whole file when it is not larger than a piece. */
export const pieceHeight = (fileSize: number, pieceBytes: number): number =>
  fileSize > pieceBytes ? heightOf(pieceBytes / V2_BLOCK_BYTES) : heightOf(v2Blocks(fileSize))

/**
 * What the `piece layers` of a torrent (or its `pieces root`, if the file is one piece) say about one piece.
 * @param bytes of the piece; the last of a file is shorter
 * @param fileSize decides how the last piece is padded
 */
export const pieceRoot = (bytes: Uint8Array, pieceBytes: number, fileSize: number): Uint8Array =>
  treeTop(leavesOf(bytes), 0, pieceHeight(fileSize, pieceBytes))

/** `pieces root` from a layer of a file. @param height of the layer's nodes; `pieceHeight` gives it for a piece layer */
export const rootOfLayer = (layer: Uint8Array, height: number): Uint8Array => treeTop(layer, height)
