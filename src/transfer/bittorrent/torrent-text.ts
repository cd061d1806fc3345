/** Names and attributes in torrents. Names are display text: parts that could leave a folder are taken out here already. */
import { KithError } from '../../base/errors.ts'
import type { BDict } from './bencode.ts'
import { MAX_PATH_PART_BYTES } from './limits.ts'

export const badTorrent = (why: string, data: Record<string, number> = {}): KithError =>
  new KithError('BAD_TORRENT', `bad torrent: ${why}`, data)

const lossy = new TextDecoder('utf-8')

/** Text of bytes that should be UTF-8; what is not becomes U+FFFD. */
export const lossyText = (bytes: Uint8Array): string => lossy.decode(Uint8Array.from(bytes))

/** Text of one part of a path. undefined: it names no folder ("", ".", ".."). @throws BAD_TORRENT beyond 1,024 bytes */
export function cleanPart(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_PATH_PART_BYTES) throw badTorrent('a name is too long', { bytes: bytes.length })
  const parts = lossyText(bytes)
    .replaceAll('\0', '')
    .split(/[\\/]/)
    .filter(p => p !== '' && p !== '.' && p !== '..')
  return parts.length > 0 ? parts.join('_') : undefined
}

/** BEP 47: letters such as "p" (pad file) and "l" (symbolic link). */
export const attributesOf = (entry: BDict): readonly string[] => [...(entry.bytes('attr') ?? [])].map(c => String.fromCharCode(c))
