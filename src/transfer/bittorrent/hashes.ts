/**
 * Hash requests of BitTorrent v2 (BEP 52): what may be asked, what an answer holds, and whether it proves what it says. Pure.
 *
 * A file's tree has SHA-256 of 16 KiB blocks as leaves (layer 0) and is balanced with zero hashes; its root names the file. An answer
 * to (base layer, index, length, proof layers) is `length` neighbouring hashes of the base layer, then one uncle for each proof layer
 * that cannot be computed from them, lowest first.
 *
 * Spec: docs/wire/bittorrent.md §7
 */
import { sha256 } from '#hash'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { treeTop } from '../hashing/bep52-tree.ts'
import { BLOCK_BYTES, MAX_HASHES } from './limits.ts'

export const HASH_BYTES = 32

export interface HashRequest {
  /** `pieces root` of the file: 32 bytes. */
  readonly root: Uint8Array
  /** Layers above the leaves. */
  readonly baseLayer: number
  /** First hash; a multiple of `length`. */
  readonly index: number
  /** A power of two. */
  readonly length: number
  /** Ancestor layers whose uncles are wanted, those that the hashes themselves yield counted. */
  readonly proofLayers: number
}

export const isPowerOfTwo = (n: number): boolean => n > 0 && Number.isInteger(Math.log2(n))

/** Layers between the leaves and the root of a file of so many bytes. */
export const treeHeight = (size: number): number => Math.ceil(Math.log2(Math.ceil(size / BLOCK_BYTES)))

/** Layer whose hashes cover one piece each. */
export const pieceLayer = (pieceLength: number): number => Math.log2(pieceLength / BLOCK_BYTES)

/** Uncles in an answer: the first log2(length) - 1 proof layers are computed, not sent. */
export const uncleCount = ({ length, proofLayers }: Pick<HashRequest, 'length' | 'proofLayers'>): number =>
  Math.max(0, proofLayers - Math.ceil(Math.log2(length)) + 1)

/** Whether a file whose tree is `height` layers high has what is asked for. A peer chose these numbers. */
export function isAnswerable({ baseLayer, index, length, proofLayers }: HashRequest, height: number): boolean {
  return (
    baseLayer < height && // the root itself is known to whoever asks
    isPowerOfTwo(length) &&
    length <= MAX_HASHES &&
    index % length === 0 &&
    index + length <= 2 ** (height - baseLayer) &&
    proofLayers < height - baseLayer
  )
}

/** Asks for a whole piece layer, `MAX_HASHES` at a time, each with its proof up to the root. */
export function requestsForLayer(root: Uint8Array, size: number, pieceLength: number): HashRequest[] {
  const baseLayer = pieceLayer(pieceLength)
  const above = treeHeight(size) - baseLayer
  const length = Math.min(MAX_HASHES, 2 ** above)
  const count = Math.ceil(size / pieceLength)
  return Array.from({ length: Math.ceil(count / length) }, (_, i) => ({
    root,
    baseLayer,
    index: i * length,
    length,
    proofLayers: Math.max(0, above - 1)
  }))
}

/** Whether the hashes of an answer, with its uncles, lead to the root. `hashes` has exactly the length that the request implies. */
export function provesHashes(request: HashRequest, hashes: Uint8Array, height: number): boolean {
  const { root, baseLayer, index, length } = request
  if (hashes.length !== HASH_BYTES * (length + uncleCount(request))) return false
  const own = HASH_BYTES * length
  let layer = baseLayer + Math.log2(length)
  let node = treeTop(hashes.subarray(0, own), baseLayer, layer)
  let at = index / length
  for (let i = own; i < hashes.length; i += HASH_BYTES, layer++, at = Math.floor(at / 2)) {
    const uncle = hashes.subarray(i, i + HASH_BYTES)
    node = at % 2 === 0 ? parentOf(node, uncle) : parentOf(uncle, node)
  }
  return layer === height && equalBytes(node, root)
}

const parentOf = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(concatBytes(left, right))
