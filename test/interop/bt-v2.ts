/** BitTorrent v2's digest (BEP 52) in the plainest way, for tests, and torrents that only have v2, which Kith does not make. */
import { createHash } from 'node:crypto'
import { BDict, bdict, encodeBencode } from '../../src/transfer/bittorrent/bencode.ts'

const BLOCK = 16 * 1024
const sha256 = (...parts: readonly Uint8Array[]): Buffer => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest()

/** All layers from the leaves up; each is filled up to a power of two. */
export function layersOf(content: Uint8Array): readonly (readonly Buffer[])[] {
  const leaves = Array.from({ length: Math.max(1, Math.ceil(content.length / BLOCK)) }, (_, i) =>
    sha256(content.subarray(i * BLOCK, (i + 1) * BLOCK))
  )
  while (!Number.isInteger(Math.log2(leaves.length))) leaves.push(Buffer.alloc(32))
  const layers = [leaves]
  for (let below = leaves; below.length > 1; layers.push(below))
    below = Array.from({ length: below.length / 2 }, (_, i) => sha256(below[2 * i]!, below[2 * i + 1]!))
  return layers
}

/** Root, and the layer of one hash per piece without those that cover no data; equal to the root for a file of one piece. */
export function v2DigestOf(
  content: Uint8Array,
  pieceLength: number = 256 * 1024
): { readonly root: Uint8Array; readonly layer: Uint8Array } {
  const layers = layersOf(content)
  const root = new Uint8Array(layers.at(-1)![0]!)
  const height = Math.log2(pieceLength / BLOCK)
  if (height >= layers.length - 1) return { root, layer: root }
  return { root, layer: new Uint8Array(Buffer.concat(layers[height]!.slice(0, Math.ceil(content.length / pieceLength)))) }
}

const keyOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/** A torrent without v1: of one file whose name is the torrent's, or of the files of a folder (names in order). */
export function v2Torrent(
  name: string,
  files: Readonly<Record<string, Uint8Array>>,
  pieceLength: number
): { readonly info: Uint8Array; readonly infoHashV2: Uint8Array; readonly bytes: Uint8Array } {
  const tree: [string, BDict][] = []
  const layers: [string, Uint8Array][] = []
  for (const [path, content] of Object.entries(files)) {
    const { root, layer } = v2DigestOf(content, pieceLength)
    const file = bdict({ length: content.length, 'pieces root': content.length > 0 ? root : undefined })
    tree.push([path, new BDict([['', file]])])
    if (content.length > pieceLength) layers.push([keyOf(root), layer])
  }
  const fields = bdict({ 'file tree': new BDict(tree), 'meta version': 2, name: Buffer.from(name), 'piece length': pieceLength })
  const info = encodeBencode(fields)
  return {
    info,
    infoHashV2: new Uint8Array(sha256(info)),
    bytes: encodeBencode(bdict({ info: fields, 'piece layers': new BDict(layers) }))
  }
}
