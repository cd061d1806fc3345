/**
 * eMule's `server.met`: servers that somebody knows.
 *
 *     u8 0E or E0 | u32 n | n × { u32 address, u16 port, u32 n, tags }        addresses and tags as everywhere in eDonkey
 *
 * Spec: docs/wire/ed2k.md §12
 */
import { KithError } from '../../base/errors.ts'
import { classOfAddress, isFilePort } from '../address-filter.ts'
import { LeReader, numberToIp } from './bytes.ts'
import { MAX_MET_SERVERS, MAX_SERVERS_IN_FILE } from './limits.ts'
import { peerKey } from './peers.ts'
import { readTags } from './tags.ts'

/**
 * @returns "host:port" of the first public servers, each once: at most four, since we log in at all of them
 * @throws BAD_SERVER_MET another format, cut off, more than 1,000 servers
 */
export function readServerMet(bytes: Uint8Array): string[] {
  const r = new LeReader(bytes)
  const found = new Set<string>()
  try {
    const kind = r.u8()
    const count = r.u32()
    if ((kind !== 0x0e && kind !== 0xe0) || count > MAX_SERVERS_IN_FILE) throw bad('another kind of file', { kind, count })
    for (let i = 0; i < count; i++) {
      const host = numberToIp(r.u32())
      const port = r.u16()
      readTags(r)
      // A file from elsewhere does not lead into our own network.
      if (classOfAddress(host) === 'public' && isFilePort(port)) found.add(peerKey({ host, port }))
    }
    r.end()
  } catch (error) {
    throw error instanceof KithError && error.code === 'ED2K_WIRE' ? bad(error.message) : error
  }
  return [...found].slice(0, MAX_MET_SERVERS)
}

const bad = (why: string, data: Readonly<Record<string, number>> = {}): KithError =>
  new KithError('BAD_SERVER_MET', `not a server.met of eDonkey: ${why}`, data)
