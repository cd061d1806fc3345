/**
 * Local service discovery (BEP 14): a datagram in the style of HTTP to a multicast group, which says at which port its sender has which
 * torrents. Pure.
 *
 *     BT-SEARCH * HTTP/1.1
 *     Host: 239.192.152.143:6771
 *     Port: <port>
 *     Infohash: <40 hex digits>      (one line for each torrent)
 *     cookie: <text>                 (so that a sender knows its own)
 *
 * Spec: docs/wire/bittorrent.md §11
 */
import { bytesToHex, hexToBytes, utf8 } from '../../base/bytes.ts'
import { MAX_LSD_BYTES, MAX_LSD_TORRENTS } from './limits.ts'

export const LSD_GROUP = '239.192.152.143'
export const LSD_PORT = 6771

export interface LsdMessage {
  /** TCP port of the sender. */
  readonly port: number
  /** 20 bytes each, at most 20. */
  readonly infoHashes: readonly Uint8Array[]
  readonly cookie: string | undefined
}

export function encodeLsd({ port, infoHashes, cookie }: LsdMessage, host = `${LSD_GROUP}:${LSD_PORT}`): Uint8Array<ArrayBuffer> {
  const lines = ['BT-SEARCH * HTTP/1.1', `Host: ${host}`, `Port: ${port}`, ...infoHashes.map(h => `Infohash: ${bytesToHex(h)}`)]
  if (cookie !== undefined) lines.push(`cookie: ${cookie}`)
  return utf8(`${lines.join('\r\n')}\r\n\r\n\r\n`)
}

/** undefined for anything else. Info-hashes that are none, and those beyond 20, are left out. */
export function decodeLsd(bytes: Uint8Array): LsdMessage | undefined {
  if (bytes.length > MAX_LSD_BYTES) return undefined
  const [first, ...lines] = String.fromCharCode(...bytes).split('\r\n')
  if (first !== 'BT-SEARCH * HTTP/1.1') return undefined
  const infoHashes: Uint8Array[] = []
  let port = 0
  let cookie: string | undefined
  for (const line of lines) {
    const [, name = '', value = ''] = /^([A-Za-z-]{1,32}): ?([\x20-\x7e]{1,128})$/.exec(line) ?? []
    if (/^port$/i.test(name) && /^[0-9]{1,5}$/.test(value)) port = Number(value)
    else if (/^cookie$/i.test(name)) cookie = value
    else if (/^infohash$/i.test(name) && /^[0-9a-fA-F]{40}$/.test(value) && infoHashes.length < MAX_LSD_TORRENTS)
      infoHashes.push(hexToBytes(value.toLowerCase()))
  }
  return port > 0 && port < 65_536 && infoHashes.length > 0 ? { port, infoHashes, cookie } : undefined
}
