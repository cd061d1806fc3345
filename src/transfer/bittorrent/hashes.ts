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
import { BLOCK_BYTES, MAX_HASHES, MAX_TREE_HEIGHT } from './limits.ts'

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
    baseLayer <= height &&
    isPowerOfTwo(length) &&
    length <= MAX_HASHES &&
    index % length === 0 &&
    index + length <= 2 ** (height - baseLayer) &&
    proofLayers < Math.max(1, height - baseLayer)
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
  let node = rootOfLayer(hashes.subarray(0, own), baseLayer, layer)
  let at = index / length
  for (let i = own; i < hashes.length; i += HASH_BYTES, layer++, at = Math.floor(at / 2)) {
    const uncle = hashes.subarray(i, i + HASH_BYTES)
    node = at % 2 === 0 ? parentOf(node, uncle) : parentOf(uncle, node)
  }
  return layer === height && equalBytes(node, root)
}

/** The hash at layer `to` above a list of neighbouring hashes of layer `from`, which is filled up with what stands for no data. */
export function rootOfLayer(hashes: Uint8Array, from: number, to: number): Uint8Array {
  let level = hashes
  for (let layer = from; layer < to; layer++) level = nextLayer(level, layer)
  return level.length === HASH_BYTES ? level : new Uint8Array(0)
}

/** The layer above; an odd last hash is joined with the one that stands for no data. */
export function nextLayer(hashes: Uint8Array, layer: number): Uint8Array {
  const pairs = Math.ceil(hashes.length / (2 * HASH_BYTES))
  const out = new Uint8Array(pairs * HASH_BYTES)
  for (let i = 0; i < pairs; i++) {
    const pair = hashes.subarray(2 * i * HASH_BYTES, 2 * (i + 1) * HASH_BYTES)
    out.set(pair.length === 2 * HASH_BYTES ? sha256(pair) : parentOf(pair, fillerOf(layer)), i * HASH_BYTES)
  }
  return out
}

/** The hash of a subtree without data whose root is at `layer`: zeros at the leaves. */
export function fillerOf(layer: number): Uint8Array {
  for (let i = fillers.length; i <= Math.min(layer, MAX_TREE_HEIGHT); i++) fillers.push(parentOf(fillers[i - 1]!, fillers[i - 1]!))
  return fillers[layer]!
}
const fillers: Uint8Array[] = [new Uint8Array(HASH_BYTES)]

const parentOf = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(concatBytes(left, right))
