/**
 * Answers hash requests (BEP 52) about what this node serves. The layer with one hash per chunk is kept with the share; what is above
 * it is computed once and kept for a few shares; leaf hashes are computed from the file, which costs disk and so has a budget.
 * Every other layer is rejected, as the BEP allows.
 */
import { bytesToHex, concatBytes, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { chunkLength, chunkOffset, makeGrid } from '../grid.ts'
import { layerAbove, leavesOf, padNode } from '../hashing/bep52-tree.ts'
import type { FileTree, Share } from '../protocol.ts'
import { HASH_BYTES, type HashRequest, isAnswerable, isPowerOfTwo, pieceLayer, treeHeight, uncleCount } from './hashes.ts'
import { LEAF_BYTES_BURST, LEAF_BYTES_PER_SECOND, MAX_HASH_TREES } from './limits.ts'

/** Hashes joined before other work of the process gets its turn. */
const STEP_NODES = 4096

/** Node `index` of the layer `height` above the leaves. */
type NodeAt = (height: number, index: number) => Uint8Array

export class HashServer {
  readonly #budget: TokenBucket
  /** Layers from the chunk layer upwards, by hex root; the one asked about last is last. */
  readonly #trees = new Map<string, Promise<readonly Uint8Array[]>>()

  constructor(clock: Clock) {
    this.#budget = new TokenBucket(clock, LEAF_BYTES_PER_SECOND, LEAF_BYTES_BURST)
  }

  /** Hashes and uncles; undefined: rejected. Never throws. */
  async answer(share: Share, request: HashRequest): Promise<Uint8Array | undefined> {
    const { chunkBytes } = share.grid
    const tree = treesOf(share).find(t => equalBytes(t.root, request.root))
    const fits = tree && isPowerOfTwo(chunkBytes) && tree.layer.length === HASH_BYTES * Math.ceil(tree.size / chunkBytes)
    if (!fits || !isAnswerable(request, treeHeight(tree.size))) return undefined
    const layer = Math.min(pieceLayer(chunkBytes), treeHeight(tree.size))
    if (request.baseLayer > 0 && request.baseLayer < layer) return undefined
    try {
      const above = await this.#nodesAbove(tree, layer)
      if (!above) return undefined
      if (request.baseLayer >= layer) return collect(request, above)
      const below = await this.#nodesBelow(share, tree, layer, request)
      return below && collect(request, (height, i) => (height < layer ? below(height, i) : above(height, i)))
    } catch {
      return undefined // the file cannot be read any more: the share ends itself
    }
  }

  async #nodesAbove({ root, layer: hashes }: FileTree, layer: number): Promise<NodeAt | undefined> {
    const hex = bytesToHex(root)
    let tree = this.#trees.get(hex)
    if (!tree) {
      if (!this.#budget.tryTake(Math.min(LEAF_BYTES_BURST, hashes.length))) return undefined
      tree = layersAbove(hashes, layer)
    }
    this.#trees.delete(hex)
    this.#trees.set(hex, tree)
    if (this.#trees.size > MAX_HASH_TREES) this.#trees.delete(this.#trees.keys().next().value!)
    const layers = await tree
    return (height, index) => nodeOf(layers[height - layer] ?? EMPTY, index, height)
  }

  /** Nodes below the chunk layer, of the chunks that the request is about. They are never partly in it: a chunk is a power of two. */
  async #nodesBelow(share: Share, tree: FileTree, layer: number, { index, length }: HashRequest): Promise<NodeAt | undefined> {
    const file = makeGrid(tree.size, share.grid.chunkBytes)
    const width = 2 ** layer
    const first = Math.floor(index / width)
    const chunks = Math.min(file.count, Math.ceil((index + length) / width)) - first
    if (chunks <= 0) return height => padNode(height)
    if (!this.#budget.tryTake(chunks * file.chunkBytes)) return undefined
    const trees: Uint8Array[][] = []
    for (let c = first; c < first + chunks; c++) {
      if (!share.has(tree.firstChunk + c)) return undefined
      const bytes = new Uint8Array(chunkLength(file, c))
      await share.read(chunkOffset(share.grid, tree.firstChunk + c), bytes.length, bytes)
      const layers: Uint8Array[] = [leavesOf(bytes)]
      for (let h = 0; h < layer; h++) layers.push(layerAbove(layers[h]!, h))
      if (!equalBytes(layers[layer]!, tree.layer.subarray(HASH_BYTES * c, HASH_BYTES * (c + 1)))) return undefined
      trees.push(layers)
    }
    return (height, i) => {
      const perChunk = width / 2 ** height
      const layers = trees[Math.floor(i / perChunk) - first]
      return nodeOf(layers?.[height] ?? EMPTY, i % perChunk, height)
    }
  }
}

/** Our own torrents have one file, which is the whole content. */
const treesOf = ({ torrent, v2, grid }: Share): readonly FileTree[] =>
  torrent?.trees ?? (v2 ? [{ ...v2, firstChunk: 0, size: grid.size }] : [])

const EMPTY = new Uint8Array()

/** What no data is under stands for itself. */
const nodeOf = (layer: Uint8Array, index: number, height: number): Uint8Array =>
  HASH_BYTES * index < layer.length ? layer.subarray(HASH_BYTES * index, HASH_BYTES * (index + 1)) : padNode(height)

function collect(request: HashRequest, nodeAt: NodeAt): Uint8Array {
  const { baseLayer, index, length } = request
  const parts = Array.from({ length }, (_, i) => nodeAt(baseLayer, index + i))
  const lowest = baseLayer + Math.log2(length)
  for (let i = 0, at = index / length; i < uncleCount(request); i++, at = Math.floor(at / 2))
    parts.push(nodeAt(lowest + i, at % 2 === 0 ? at + 1 : at - 1))
  return concatBytes(...parts)
}

async function layersAbove(hashes: Uint8Array, height: number): Promise<readonly Uint8Array[]> {
  const layers = [hashes]
  for (let below = hashes, h = height; below.length > HASH_BYTES; h++) {
    const parts: Uint8Array[] = []
    for (let at = 0; at < below.length; at += HASH_BYTES * STEP_NODES) {
      parts.push(layerAbove(below.subarray(at, at + HASH_BYTES * STEP_NODES), h))
      await new Promise(resolve => setImmediate(resolve))
    }
    below = concatBytes(...parts)
    layers.push(below)
  }
  return layers
}
