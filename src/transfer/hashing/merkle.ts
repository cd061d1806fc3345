/**
 * The Merkle tree of a file: RFC 6962 in shape and prefixes, with the size bound into the root.
 *
 *     leaf = SHA-256(00 ‖ chunk hash)   node = SHA-256(01 ‖ left ‖ right)   root = SHA-256(02 ‖ size u64 ‖ top)
 *
 * A level is paired from the left; an odd last node is promoted unchanged, never doubled (the CVE-2012-2459 class), and the
 * prefixes keep an inner node from passing as a leaf. So the root is a pure function of the content. Spec: docs/wire/transfer.md §3
 */
import { sha256 } from '#hash'
import { concatBytes, equalBytes } from '../../base/bytes.ts'
import { Writer } from '../../base/codec.ts'
import { KithError } from '../../base/errors.ts'
import { HASHES_PER_PAGE } from '../../wire/limits.ts'

const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

/** Root of a file from its size and its chunk hashes (32 bytes each, concatenated; none for an empty file). */
export function merkleRoot(size: number, chunkHashes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bindSize(size, top(pageTops(chunkHashes))) // page by page: the nodes of a whole large file at once would not fit a small heap
}

/** The top of every page's subtree: what `makePage` needs, costly to make for a large file. */
export function pageTops(chunkHashes: Uint8Array): Uint8Array[] {
  return Array.from({ length: Math.ceil(chunkHashes.length / 32 / HASHES_PER_PAGE) }, (_, i) => top(leaves(pageOf(chunkHashes, i))))
}

/** One page of the hash list with the path that proves it. @throws INVALID_PROOF when there is no such page */
export function makePage(
  chunkHashes: Uint8Array,
  page: number,
  tops: readonly Uint8Array[] = pageTops(chunkHashes)
): { readonly hashes: Uint8Array; readonly path: Uint8Array[] } {
  if (page >= tops.length) throw new KithError('INVALID_PROOF', 'there is no such hash page', { page, pages: tops.length })
  return { hashes: pageOf(chunkHashes, page), path: auditPath(tops, page) }
}

/** Checks a page against the root. @throws INVALID_PROOF */
export function checkPage(
  root: Uint8Array,
  size: number,
  chunkCount: number,
  page: number,
  hashes: Uint8Array,
  path: readonly Uint8Array[]
): void {
  const pages = Math.ceil(chunkCount / HASHES_PER_PAGE)
  const expected = Math.min(HASHES_PER_PAGE, chunkCount - page * HASHES_PER_PAGE)
  const found = hashes.length === 32 * expected ? climb(top(leaves(hashes)), page, pages, path) : undefined
  if (!found || !equalBytes(bindSize(size, found), root)) {
    throw new KithError('INVALID_PROOF', 'the list of chunk hashes does not belong to this file', { page })
  }
}

/** Path that proves chunk `index`: the siblings from the leaf upwards. */
export function chunkPath(chunkHashes: Uint8Array, index: number): Uint8Array[] {
  return auditPath(leaves(chunkHashes), index)
}

/** Whether a chunk hash stands at `index` under `root`. */
export function checkChunkPath(
  root: Uint8Array,
  size: number,
  count: number,
  index: number,
  chunkHash: Uint8Array,
  path: readonly Uint8Array[]
): boolean {
  const found = climb(sha256(concatBytes(LEAF, chunkHash)), index, count, path)
  return found !== undefined && equalBytes(bindSize(size, found), root)
}

const pageOf = (hashes: Uint8Array, i: number): Uint8Array => hashes.subarray(i * HASHES_PER_PAGE * 32, (i + 1) * HASHES_PER_PAGE * 32)

function leaves(chunkHashes: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = []
  for (let at = 0; at < chunkHashes.length; at += 32) out.push(sha256(concatBytes(LEAF, chunkHashes.subarray(at, at + 32))))
  return out
}

function levelUp(level: readonly Uint8Array[]): Uint8Array[] {
  const next: Uint8Array[] = []
  for (let i = 0; i < level.length; i += 2) {
    const right = level[i + 1]
    next.push(right ? sha256(concatBytes(NODE, level[i]!, right)) : level[i]!)
  }
  return next
}

function top(level: readonly Uint8Array[]): Uint8Array {
  if (level.length === 0) return sha256(new Uint8Array())
  let l = level
  while (l.length > 1) l = levelUp(l)
  return l[0]!
}

function auditPath(level: readonly Uint8Array[], index: number): Uint8Array[] {
  const path: Uint8Array[] = []
  for (let l = level, i = index; l.length > 1; l = levelUp(l), i >>>= 1) {
    const sibling = l[i ^ 1]
    if (sibling) path.push(sibling)
  }
  return path
}

/** The top of a tree of `count` nodes from one node and its path; undefined when the path has the wrong length. */
function climb(node: Uint8Array, index: number, count: number, path: readonly Uint8Array[]): Uint8Array | undefined {
  if (index >= count) return undefined
  let used = 0
  let hash = node
  for (let i = index, n = count; n > 1; i >>>= 1, n = Math.ceil(n / 2)) {
    if ((i ^ 1) >= n) continue
    const sibling = path[used++]
    if (!sibling) return undefined
    hash = sha256(i % 2 === 0 ? concatBytes(NODE, hash, sibling) : concatBytes(NODE, sibling, hash))
  }
  return used === path.length ? hash : undefined
}

function bindSize(size: number, treeTop: Uint8Array): Uint8Array<ArrayBuffer> {
  const w = new Writer()
  w.u8(2)
  w.u64(size)
  w.bytes(treeTop)
  return sha256(w.done())
}
