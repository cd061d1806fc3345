/**
 * AICH: eMule's SHA-1 tree over blocks of 184,320 bytes, which tells which block of a bad part is wrong. A node of more than a part is
 * split between parts, a smaller one between blocks; a left node gives the odd unit to its left child, a right node to its right.
 *
 *     node(length, left) = SHA-1(data) if length <= 184,320, else SHA-1(node(first, left) ‖ node(rest, right))
 *
 * A node's identifier is its path: a leading 1 for the root, then 1 for each step to the left and 0 to the right.
 */
import { sha1 } from '#hash'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { dataParts, PART_BYTES } from './ed2k-hash.ts'

export const AICH_BLOCK_BYTES = 184_320
const HASH = 20

interface Node {
  readonly start: number
  readonly length: number
  readonly left: boolean
  readonly id: number
}

/** A hash of the tree and where it stands. */
export interface AichEntry {
  readonly id: number
  readonly hash: Uint8Array
}

const rootOf = (size: number): Node => ({ start: 0, length: size, left: true, id: 1 })
const isPart = (node: Node): boolean => node.length <= PART_BYTES
const isBlock = (node: Node): boolean => node.length <= AICH_BLOCK_BYTES

function children({ start, length, left, id }: Node): readonly [Node, Node] {
  const unit = length > PART_BYTES ? PART_BYTES : AICH_BLOCK_BYTES
  const units = Math.ceil(length / unit)
  const first = (left ? Math.ceil(units / 2) : Math.floor(units / 2)) * unit
  return [
    { start, length: first, left: true, id: 2 * id + 1 },
    { start: start + first, length: length - first, left: false, id: 2 * id }
  ]
}

/** The hash of a node from the hashes of what `isLeaf` says are leaves, in order. */
function fold(node: Node, isLeaf: (n: Node) => boolean, leaf: (n: Node) => Uint8Array): Uint8Array {
  if (isLeaf(node)) return leaf(node)
  const [left, right] = children(node)
  return sha1(concatBytes(fold(left, isLeaf, leaf), fold(right, isLeaf, leaf)))
}

const taken = (hashes: Uint8Array, i: number): Uint8Array => hashes.subarray(i * HASH, (i + 1) * HASH)

/** From the root to the node of part `part`, with the sibling of each step. */
function pathTo(size: number, part: number): { readonly node: Node; readonly siblings: readonly Node[] } {
  const siblings: Node[] = []
  let node = rootOf(size)
  while (!isPart(node)) {
    const [left, right] = children(node)
    const goLeft = part * PART_BYTES < right.start
    siblings.push(goLeft ? right : left)
    node = goLeft ? left : right
  }
  return { node, siblings }
}

/** SHA-1 of every block of one part's bytes, concatenated. */
export function blockHashesOf(bytes: Uint8Array): Uint8Array {
  const out: Uint8Array[] = []
  for (let at = 0; at === 0 || at < bytes.length; at += AICH_BLOCK_BYTES) out.push(sha1(bytes.subarray(at, at + AICH_BLOCK_BYTES)))
  return concatBytes(...out)
}

/** Bytes of part `part`. */
export const partLength = (size: number, part: number): number => Math.min(PART_BYTES, size - part * PART_BYTES)

/** Top of a part's tree from its block hashes. It depends on where in the file the part is. */
export function partTop(size: number, part: number, blockHashes: Uint8Array): Uint8Array {
  const { node } = pathTo(size, part)
  return fold(node, isBlock, n => taken(blockHashes, (n.start - node.start) / AICH_BLOCK_BYTES))
}

/** Root of the file from the tops of its parts. */
export const aichRoot = (size: number, partTops: Uint8Array): Uint8Array =>
  fold(rootOf(size), isPart, n => taken(partTops, n.start / PART_BYTES))

/** Recovery data of a part: the siblings on the way from the root to it, then its block hashes from left to right. */
export function makeRecovery(size: number, part: number, blockHashes: Uint8Array, partTops: Uint8Array): AichEntry[] {
  const top = (n: Node): Uint8Array => taken(partTops, n.start / PART_BYTES)
  const { node, siblings } = pathTo(size, part)
  return [
    ...siblings.map(n => ({ id: n.id, hash: fold(n, isPart, top) })),
    ...blocksOf(node).map((n, i) => ({ id: n.id, hash: taken(blockHashes, i) }))
  ]
}

/**
 * Checks recovery data that somebody sent, against the root from a link.
 * @returns the hashes of the part's blocks, 20 bytes each; undefined when an entry is missing, foreign or doubled, or the root does
 *   not follow (threats ED3)
 */
export function checkRecovery(root: Uint8Array, size: number, part: number, entries: readonly AichEntry[]): Uint8Array | undefined {
  if (!Number.isInteger(part) || part < 0 || part >= dataParts(size)) return undefined
  const { node, siblings } = pathTo(size, part)
  const blocks = blocksOf(node)
  if (entries.length !== siblings.length + blocks.length || entries.some(e => e.hash.length !== HASH)) return undefined
  const byId = new Map(entries.map(e => [e.id, e.hash]))
  if (![...siblings, ...blocks].every(n => byId.has(n.id))) return undefined
  const known = new Set(siblings.map(n => n.id))
  const found = fold(
    rootOf(size),
    n => known.has(n.id) || isBlock(n),
    n => byId.get(n.id)!
  )
  return equalBytes(found, root) ? concatBytes(...blocks.map(n => byId.get(n.id)!)) : undefined
}

function blocksOf(node: Node): Node[] {
  if (isBlock(node)) return [node]
  const [left, right] = children(node)
  return [...blocksOf(left), ...blocksOf(right)]
}
