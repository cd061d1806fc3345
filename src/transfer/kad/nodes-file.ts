/**
 * eMule's `nodes.dat`: nodes of Kad that somebody has met, as first nodes for who joins. Little endian; no entry is more than a hint.
 *
 *     u32 n | n × entry 25                          version 0 (the last byte of an entry is a type: above 3 the node was gone)
 *     u32 0 | u32 1 | u32 n | n × entry 25          version 1
 *     u32 0 | u32 2 | u32 n | n × entry 34          version 2: behind each u32 key, u32 its address, u8 verified
 *     u32 0 | u32 3 | u32 1 | u32 n | n × entry 25  version 3: for joining only
 *     entry: id 16 | u32 address | u16 UDP port | u16 TCP port | u8 version
 *
 * Spec: docs/wire/ed2k.md §12
 */
import { KithError } from '../../base/errors.ts'
import { classOfAddress, isFilePort } from '../address-filter.ts'
import { formatPeerAddress } from '../bittorrent/urls.ts'
import { LeReader } from '../ed2k/bytes.ts'
import { ID_BYTES } from './kad-id.ts'
import { MAX_BOOTSTRAP, MAX_NODES_IN_FILE } from './limits.ts'
import { numberToHost } from './messages.ts'

const ENTRY_BYTES = 25
const LONG_ENTRY_BYTES = 34
/** Types of version 0 above it mean that the node did not answer. */
const MAX_TYPE = 3

/**
 * @returns "host:port" of public nodes, each once, spread over the file: at most 100
 * @throws BAD_NODES_FILE another format, a count that does not fit the length, more than 10,000 nodes
 */
export function readNodesFile(bytes: Uint8Array): string[] {
  const { version, count, entryBytes, r } = readHead(bytes)
  if (count > MAX_NODES_IN_FILE) throw bad('too many nodes', { count })
  if (r.left !== count * entryBytes) throw bad('another length than its number of nodes says', { count, left: r.left })
  const found = new Set<string>()
  for (let i = 0; i < count; i++) {
    r.bytes(ID_BYTES)
    const host = numberToHost(r.u32())
    const port = r.u16()
    r.u16()
    const last = r.u8()
    r.bytes(entryBytes - ENTRY_BYTES)
    if (version === 0 && last > MAX_TYPE) continue
    // A file from elsewhere does not lead into our own network.
    if (classOfAddress(host) === 'public' && isFilePort(port)) found.add(formatPeerAddress({ host, port }))
  }
  const all = [...found]
  const step = Math.max(1, all.length / MAX_BOOTSTRAP)
  return Array.from({ length: Math.min(all.length, MAX_BOOTSTRAP) }, (_, i) => all[Math.floor(i * step)]!)
}

function readHead(bytes: Uint8Array): {
  readonly version: number
  readonly count: number
  readonly entryBytes: number
  readonly r: LeReader
} {
  const r = new LeReader(bytes)
  try {
    const first = r.u32()
    if (first !== 0) return { version: 0, count: first, entryBytes: ENTRY_BYTES, r }
    const version = r.u32()
    if (version < 1 || version > 3) throw bad('a version that is not known', { version })
    if (version === 3 && r.u32() !== 1) throw bad('an edition that is not known')
    return { version, count: r.u32(), entryBytes: version === 2 ? LONG_ENTRY_BYTES : ENTRY_BYTES, r }
  } catch (error) {
    throw error instanceof KithError && error.code === 'BAD_NODES_FILE' ? error : bad('cut off')
  }
}

const bad = (why: string, data: Readonly<Record<string, number>> = {}): KithError =>
  new KithError('BAD_NODES_FILE', `not a nodes.dat of Kad: ${why}`, data)
