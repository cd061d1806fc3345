/**
 * HELLO (E3 01) and HELLOANSWER (E3 4C): who a client is and what it can do.
 *
 *     [u8 16, in HELLO only] user hash 16 | u32 id | u16 port | u32 n | n tags | u32 server address | u16 server port
 *
 * An id from 2^24 on is an IPv4 address (it can be connected to), below that a number given by a server, 0 is not connected.
 * Kith adds a tag named "kith" with 16 fresh bytes: others skip it, Kith peers know each other by it. Spec: docs/wire/ed2k.md §4
 */
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { MAX_TEXT_BYTES } from './limits.ts'
import { bytesTag, numberTag, readTags, type Tag, textTag, writeTags } from './tags.ts'

/** What a client takes beyond the basic protocol, out of the tags FA and FE. */
export interface Abilities {
  readonly aich: boolean
  readonly compression: boolean
  /** Bit 0: signatures of version 1, bit 1: of version 2; 0 none. */
  readonly secIdent: number
  /** 2: requests for a name carry part status and a count of sources; 1: only the status; 0: neither. */
  readonly extendedRequests: number
  readonly multiPacket: boolean
  readonly multiPacketExt: boolean
  readonly largeFiles: boolean
  readonly sourceExchange2: boolean
  readonly crypt: Crypt
  /** Version of Kad, 0 without. */
  readonly kadVersion: number
}

/** What a client says about obfuscation. */
export interface Crypt {
  readonly supported: boolean
  readonly requested: boolean
  readonly required: boolean
}

export interface Hello {
  /** 16 bytes. */
  readonly userHash: Uint8Array
  readonly id: number
  /** TCP port for clients. */
  readonly port: number
  /** UDP port for clients and for Kad; 0 without. */
  readonly udpPort: number
  readonly kadPort: number
  /** Nickname: remote text. */
  readonly name: string
  /** 0, 0 without a server. */
  readonly serverIp: number
  readonly serverPort: number
  readonly abilities: Abilities
  /** Set for Kith: 16 bytes, new for each connection, that the MAC of a ticket covers. */
  readonly kithNonce: Uint8Array | undefined
}

const tagIds = { name: 0x01, version: 0x11, mod: 0x55, ports: 0xf9, options: 0xfa, emuleVersion: 0xfb, moreOptions: 0xfe } as const
const KITH_TAG = 'kith'
const EDONKEY_VERSION = 60
/** eMule 0.50a: the tag must be there, else aMule takes us for a client from before 0.42. */
const EMULE_VERSION: number = 50 << 10
const MOD = 'Kith 0.1'
/** Ids below it were given by a server to clients that cannot be reached. */
export const HIGH_ID_FROM: number = 2 ** 24

/** User hash with the two bytes by which eMule knows its like. */
export function asUserHash(random: Uint8Array): Uint8Array<ArrayBuffer> {
  const hash = new Uint8Array(random.subarray(0, 16))
  hash[5] = 0x0e
  hash[14] = 0x6f
  return hash
}

/** Payload of a HELLO, or of an answer. @throws ED2K_WIRE when something does not fit */
export function encodeHello(h: Hello, isAnswer: boolean): Uint8Array<ArrayBuffer> {
  const w = new LeWriter()
  if (!isAnswer) w.u8(16)
  w.bytes(h.userHash).u32(h.id).u16(h.port)
  const tags: Tag[] = [
    { name: tagIds.name, type: 'text', value: h.name },
    { name: tagIds.version, type: 'u32', value: EDONKEY_VERSION },
    { name: tagIds.ports, type: 'u32', value: h.kadPort * 0x10000 + h.udpPort },
    { name: tagIds.emuleVersion, type: 'u32', value: EMULE_VERSION },
    { name: tagIds.options, type: 'u32', value: optionsOf(h.abilities) },
    { name: tagIds.moreOptions, type: 'u32', value: moreOptionsOf(h.abilities) },
    { name: tagIds.mod, type: 'text', value: MOD }
  ]
  if (h.kithNonce) tags.push({ name: KITH_TAG, type: 'hash', value: h.kithNonce })
  writeTags(w, tags)
  return w.u32(h.serverIp).u16(h.serverPort).done()
}

/** @throws ED2K_WIRE */
export function decodeHello(payload: Uint8Array, isAnswer: boolean): Hello {
  const r = new LeReader(payload)
  if (!isAnswer && r.u8() !== 16) throw wireError('a hello with a hash of another length')
  const userHash = r.hash()
  const id = r.u32()
  const port = r.u16()
  const tags = readTags(r)
  const serverIp = r.u32()
  const serverPort = r.u16()
  // Some old programs append four bytes here; nothing else may follow.
  if (r.left !== 0 && r.left !== 4) throw wireError('bytes left after a hello', { left: r.left })
  const ports = numberTag(tags, tagIds.ports) ?? 0
  const name = textTag(tags, tagIds.name) ?? ''
  if (name.length > MAX_TEXT_BYTES) throw wireError('a name that is too long')
  const nonce = bytesTag(tags, KITH_TAG)
  return {
    userHash,
    id,
    port,
    udpPort: ports & 0xffff,
    kadPort: Math.floor(ports / 0x10000) & 0xffff,
    name,
    serverIp,
    serverPort,
    abilities: readAbilities(numberTag(tags, tagIds.options) ?? 0, numberTag(tags, tagIds.moreOptions) ?? 0),
    kithNonce: nonce?.length === 16 ? nonce : undefined
  }
}

/** Bits 7 to 9 of FE, and the byte behind a source in links and source exchange (bits 0 to 2). */
export const cryptBits = (c: Crypt): number => (c.supported ? 1 : 0) | (c.requested ? 2 : 0) | (c.required ? 4 : 0)
export const readCrypt = (bits: number): Crypt => ({
  supported: (bits & 1) !== 0,
  requested: (bits & 2) !== 0,
  required: (bits & 4) !== 0
})

/** Unicode always; no comments, no preview, no list of shared files; no reask over UDP. */
/** Version of the older source exchange. It is not spoken, but by it aMule decides how ids are written in the answers of the newer one. */
const OLD_EXCHANGE = 3

function optionsOf(a: Abilities): number {
  const exchange = (a.sourceExchange2 ? OLD_EXCHANGE : 0) << 12
  const bits = exchange | (1 << 28) | ((a.compression ? 1 : 0) << 20) | (a.secIdent << 16) | (a.extendedRequests << 8) | (1 << 2)
  return ((bits | ((a.multiPacket ? 1 : 0) << 1) | ((a.aich ? 1 : 0) << 29)) >>> 0) as number
}

const moreOptionsOf = (a: Abilities): number =>
  (a.kadVersion & 15) |
  ((a.largeFiles ? 1 : 0) << 4) |
  ((a.multiPacketExt ? 1 : 0) << 5) |
  (cryptBits(a.crypt) << 7) |
  ((a.sourceExchange2 ? 1 : 0) << 10)

function readAbilities(options: number, more: number): Abilities {
  return {
    aich: options >>> 29 !== 0,
    compression: ((options >>> 20) & 15) !== 0,
    secIdent: (options >>> 16) & 3,
    extendedRequests: Math.min(2, (options >>> 8) & 15),
    multiPacket: ((options >>> 1) & 1) !== 0,
    multiPacketExt: ((more >>> 5) & 1) !== 0,
    largeFiles: ((more >>> 4) & 1) !== 0,
    sourceExchange2: ((more >>> 10) & 1) !== 0,
    crypt: readCrypt((more >>> 7) & 7),
    kadVersion: more & 15
  }
}
