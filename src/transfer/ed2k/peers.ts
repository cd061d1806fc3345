/**
 * Where other clients are: in links, from servers and Kad, and in source exchange between clients.
 *
 *     C5 84 u8 version | hash | u16 n | n × { u32 id, u16 port, u32 server, u16 server port, user hash (v ≥ 2), u8 crypt (v ≥ 4) }
 *
 * From version 3 on an id that is an address has its bytes the other way round. Spec: docs/wire/ed2k.md §7
 */
import { ipToNumber, LeReader, LeWriter, numberToIp, wireError } from './bytes.ts'
import { type Crypt, cryptBits, HIGH_ID_FROM, readCrypt } from './hello.ts'
import { MAX_EXCHANGED_SOURCES } from './limits.ts'

/** A client that may have a file. */
export interface Ed2kPeer {
  /** Address; a name only when the user gave it. */
  readonly host: string
  readonly port: number
  /** 16 bytes; needed to connect obfuscated. */
  readonly userHash?: Uint8Array | undefined
  readonly crypt?: Crypt | undefined
}

/** Key of a peer in maps and logs: "192.0.2.1:4662". */
export const peerKey = (p: Pick<Ed2kPeer, 'host' | 'port'>): string =>
  p.host.includes(':') ? `[${p.host}]:${p.port}` : `${p.host}:${p.port}`

const ENTRY_BYTES = [0, 12, 28, 28, 29] as const

/** Payload of an answer in the version that was asked for, 4 at most. Peers without an IPv4 address are left out. */
export function encodeSources(hash: Uint8Array, peers: readonly Ed2kPeer[], askedVersion: number): Uint8Array<ArrayBuffer> {
  const version = Math.max(1, Math.min(4, askedVersion))
  const list = peers.filter(p => /^[0-9.]+$/.test(p.host)).slice(0, MAX_EXCHANGED_SOURCES)
  const w = new LeWriter(64 + 29 * list.length).u8(version).bytes(hash).u16(list.length)
  for (const p of list) {
    const id = ipToNumber(p.host)
    w.u32(version >= 3 ? swap(id) : id)
      .u16(p.port)
      .u32(0)
      .u16(0)
    if (version >= 2) w.bytes(p.userHash ?? NO_HASH)
    if (version >= 4) w.u8(p.userHash && p.crypt ? cryptBits(p.crypt) : 0)
  }
  return w.done()
}

/** Clients that cannot be connected to are left out. @throws ED2K_WIRE */
export function decodeSources(payload: Uint8Array): { readonly hash: Uint8Array; readonly peers: Ed2kPeer[] } {
  const r = new LeReader(payload)
  const version = r.u8()
  const hash = r.hash()
  const count = r.u16()
  const bytes = ENTRY_BYTES[version]
  if (!bytes || count > MAX_EXCHANGED_SOURCES || count * bytes !== r.left) throw wireError('source exchange of another length', { count })
  const peers: Ed2kPeer[] = []
  for (let i = 0; i < count; i++) {
    const id = r.u32()
    const port = r.u16()
    r.u32()
    r.u16()
    const userHash = version >= 2 ? r.hash() : undefined
    const crypt = version >= 4 ? readCrypt(r.u8()) : undefined
    const ip = version >= 3 ? swap(id) : id
    const isLow = version >= 3 ? id < HIGH_ID_FROM : ip < HIGH_ID_FROM
    if (isLow || port === 0) continue
    peers.push({ host: numberToIp(ip), port, userHash: userHash?.some(b => b !== 0) ? userHash : undefined, crypt })
  }
  return { hash, peers }
}

const swap = (n: number): number => (((n & 255) << 24) | ((n & 0xff00) << 8) | ((n >>> 8) & 0xff00) | (n >>> 24)) >>> 0
const NO_HASH = new Uint8Array(16)
