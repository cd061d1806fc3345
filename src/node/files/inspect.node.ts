/** What is known about a file before it is fetched: `kith info`. */
import { bytesToHex } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import type { NodeParts } from '../parts.node.ts'
import { parsePublicAddress } from '../public-address.ts'
import type { FileInfo } from '../types.ts'

/**
 * Signed offers of everybody who has the file, merged. For torrents and ed2k links, which nobody signs: what the address itself says.
 * @throws BAD_LINK, BAD_MAGNET, BAD_TORRENT, BAD_ED2K_LINK, NO_SOURCES
 */
export async function inspectAddress(
  parts: NodeParts,
  text: string,
  signal: AbortSignal = new AbortController().signal
): Promise<FileInfo> {
  const address = parsePublicAddress(text)
  if (address.kind === 'kith') {
    const { offers, finder, log, gate } = parts
    for (const via of address.link.via) gate.allow(via, 'user')
    const { collectInfo } = await import('../../transfer/info.ts')
    const info = await collectInfo({ ...offers, finder, log: log.child('info') }, address.link, signal)
    if (info.total_seeders > 0) return info
    const hint = 'is the seeder running? With a private network, pass its --bootstrap address'
    throw new KithError('NO_SOURCES', 'nobody who has this file could be reached', { file: info.file_hash }, { hint })
  }
  if (address.kind === 'torrent' || address.kind === 'magnet') {
    const { describeTorrent } = await import('../../transfer/plan-torrent.node.ts')
    const { hash, name, size, pieceLength } = describeTorrent(address)
    return foreign(hash, name, size, pieceLength)
  }
  if (address.kind === 'ed2k') {
    const { parseEd2kLink } = await import('../../transfer/ed2k.node.ts')
    const link = parseEd2kLink(address.text)
    return foreign(`ed2k:${bytesToHex(link.hash)}`, link.name, link.size, ED2K_PART_BYTES)
  }
  throw new KithError('BAD_LINK', 'a URL tells nothing before it is fetched', {}, { hint: 'curl -I shows what its server says' })
}

const ED2K_PART_BYTES = 9_728_000

const foreign = (hash: string, name: string | undefined, size: number | undefined, chunk: number): FileInfo => ({
  file_hash: hash,
  file_name: name,
  file_size: size,
  total_chunks: size === undefined ? undefined : Math.ceil(size / chunk),
  chunk_size: chunk,
  created_at: undefined,
  mime_type: undefined,
  seeders: {},
  total_seeders: 0,
  seeders_by_protocol: {}
})
