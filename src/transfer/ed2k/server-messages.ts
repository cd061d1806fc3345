/**
 * What clients and servers say to each other over TCP (protocol E3; clients may pack, D4). Files and searches have their own pages:
 * server-files.ts, server-search.ts.
 *
 *     01 login     user hash | u32 id | u16 port | u32 n | tags: 01 name, 11 version, 20 abilities, FB version of eMule
 *     40 id        u32 id | u32 abilities [| u32 port | u32 your address | …]
 *     38 message   u16 length, text          34 status  u32 clients | u32 files
 *     41 server    hash | u32 address | u16 port | u32 n | tags: 01 name, 0B description
 *     19, 23 sources wanted   hash | u32 size (0 | u64 size when it is above 2^32 - 1); 23: with obfuscation
 *     42, 44 sources          hash | u8 n | n × { u32 id | u16 port [44: | u8 crypt | user hash if crypt & 80] }
 *     1C call me   u32 id      35 call  u32 address | u16 port [| u8 crypt | user hash]      36 it cannot be called
 *     14 servers wanted        32 servers  u8 n | n × { u32 address | u16 port }
 *
 * Spec: docs/wire/ed2k.md §10
 */
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { type Crypt, cryptBits, readCrypt } from './hello.ts'
import { MAX_SERVER_LIST, MAX_TEXT_BYTES } from './limits.ts'
import { numberTag, readTags, type Tag, textTag, writeTags } from './tags.ts'

export const serverOps = {
  login: 0x01,
  wantServers: 0x14,
  offerFiles: 0x15,
  search: 0x16,
  wantSources: 0x19,
  callMe: 0x1c,
  wantSourcesCrypt: 0x23,
  servers: 0x32,
  found: 0x33,
  status: 0x34,
  call: 0x35,
  callFailed: 0x36,
  message: 0x38,
  id: 0x40,
  server: 0x41,
  sources: 0x42,
  sourcesCrypt: 0x44
} as const

/** Bits of tag 20 of a login, and of the second number of an id. */
export const serverAbilities = { zlib: 1, newTags: 8, unicode: 0x10, largeFiles: 0x100, crypt: 0x400 } as const
const CRYPT_ABILITIES = { supported: 0x200, requested: 0x400, required: 0x800 } as const

const ids = { name: 0x01, description: 0x0b, version: 0x11, abilities: 0x20, emuleVersion: 0xfb } as const
const EDONKEY_VERSION = 60
const EMULE_VERSION: number = 50 << 10
const LARGE_FROM: number = 2 ** 32
/** Servers append what only they know. */
const MAX_ID_TAIL_BYTES = 64

export interface Login {
  readonly userHash: Uint8Array
  readonly port: number
  /** Remote text. */
  readonly name: string
  /** `serverAbilities`. */
  readonly abilities: number
  readonly crypt: Crypt
}

export function encodeLogin(l: Login): Uint8Array<ArrayBuffer> {
  const { supported, requested, required } = l.crypt
  const crypt =
    (supported ? CRYPT_ABILITIES.supported : 0) | (requested ? CRYPT_ABILITIES.requested : 0) | (required ? CRYPT_ABILITIES.required : 0)
  const tags: Tag[] = [
    { name: ids.name, type: 'text', value: l.name },
    { name: ids.version, type: 'u32', value: EDONKEY_VERSION },
    { name: ids.abilities, type: 'u32', value: (l.abilities & ~ALL_CRYPT) | crypt },
    { name: ids.emuleVersion, type: 'u32', value: EMULE_VERSION }
  ]
  const w = new LeWriter().bytes(l.userHash).u32(0).u16(l.port)
  writeTags(w, tags)
  return w.done()
}

const ALL_CRYPT = 0xe00

/** @throws ED2K_WIRE */
export function decodeLogin(payload: Uint8Array): Login {
  const r = new LeReader(payload)
  const userHash = r.hash()
  r.u32()
  const port = r.u16()
  const tags = readTags(r)
  r.end()
  const name = textTag(tags, ids.name) ?? ''
  if (name.length > MAX_TEXT_BYTES) throw wireError('a name that is too long')
  const bits = numberTag(tags, ids.abilities) ?? 0
  const crypt = {
    supported: (bits & CRYPT_ABILITIES.supported) !== 0,
    requested: (bits & CRYPT_ABILITIES.requested) !== 0,
    required: (bits & CRYPT_ABILITIES.required) !== 0
  }
  return { userHash, port, name, abilities: bits & ~ALL_CRYPT & 0xffff, crypt }
}

/** What a server gives a client that logs in. */
export interface GivenId {
  /** From 2^24 on the client's address: it can be connected to. */
  readonly id: number
  readonly abilities: number
  /** How the server sees the client; 0 when it does not say. */
  readonly address: number
}

export const encodeGivenId = ({ id, abilities, address }: GivenId, port: number): Uint8Array<ArrayBuffer> =>
  new LeWriter().u32(id).u32(abilities).u32(port).u32(address).u32(0).done()

/** @throws ED2K_WIRE */
export function decodeGivenId(payload: Uint8Array): GivenId {
  const r = new LeReader(payload)
  const id = r.u32()
  const abilities = r.left >= 4 ? r.u32() : 0
  let address = 0
  if (r.left >= 8) {
    r.u32()
    address = r.u32()
  }
  if (r.left > MAX_ID_TAIL_BYTES) throw wireError('bytes left after an id', { left: r.left })
  return { id, abilities, address }
}

export interface ServerStatus {
  readonly clients: number
  readonly files: number
}

export const encodeStatus = ({ clients, files }: ServerStatus): Uint8Array<ArrayBuffer> => new LeWriter().u32(clients).u32(files).done()

/** Later numbers, which some servers add, are ignored. @throws ED2K_WIRE */
export function decodeStatus(payload: Uint8Array): ServerStatus {
  const r = new LeReader(payload)
  return { clients: r.u32(), files: r.u32() }
}

export const encodeMessage = (text: string): Uint8Array<ArrayBuffer> => new LeWriter().text16(text).done()

/** @throws ED2K_WIRE */
export const decodeMessage = (payload: Uint8Array): string => new LeReader(payload).text16(MAX_TEXT_BYTES)

export interface ServerName {
  readonly hash: Uint8Array
  readonly address: number
  readonly port: number
  /** Remote text. */
  readonly name: string
  readonly description: string
}

export function encodeServerName(s: ServerName): Uint8Array<ArrayBuffer> {
  const w = new LeWriter().bytes(s.hash).u32(s.address).u16(s.port)
  writeTags(w, [
    { name: ids.name, type: 'text', value: s.name },
    { name: ids.description, type: 'text', value: s.description }
  ])
  return w.done()
}

/** @throws ED2K_WIRE */
export function decodeServerName(payload: Uint8Array): ServerName {
  const r = new LeReader(payload)
  const [hash, address, port, tags] = [r.hash(), r.u32(), r.u16(), readTags(r)]
  return { hash, address, port, name: textTag(tags, ids.name) ?? '', description: textTag(tags, ids.description) ?? '' }
}

export function encodeSourcesWanted(hash: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const w = new LeWriter().bytes(hash)
  return (size < LARGE_FROM ? w.u32(size) : w.u32(0).u64(size)).done()
}

/** Old clients send no size: it is 0 then. @throws ED2K_WIRE */
export function decodeSourcesWanted(payload: Uint8Array): { readonly hash: Uint8Array; readonly size: number } {
  const r = new LeReader(payload)
  const hash = r.hash()
  const short = r.left >= 4 ? r.u32() : 0
  const size = short === 0 && r.left >= 8 ? r.u64() : short
  r.end()
  return { hash, size }
}

/** A client that has a file, as servers name it. */
export interface FoundSource {
  /** An address from 2^24 on. */
  readonly id: number
  readonly port: number
  readonly userHash?: Uint8Array | undefined
  readonly crypt?: Crypt | undefined
}

export interface FoundSources {
  readonly hash: Uint8Array
  readonly sources: readonly FoundSource[]
}

const HAS_HASH = 0x80

/** At most 255 sources. `withCrypt` makes it a 44, else a 42. */
export function encodeFoundSources({ hash, sources }: FoundSources, withCrypt: boolean): Uint8Array<ArrayBuffer> {
  const w = new LeWriter(32 + 23 * sources.length).bytes(hash).u8(sources.length)
  for (const s of sources) {
    w.u32(s.id).u16(s.port)
    if (withCrypt) writeCrypt(w, s)
  }
  return w.done()
}

/** @throws ED2K_WIRE */
export function decodeFoundSources(payload: Uint8Array, withCrypt: boolean): FoundSources {
  const r = new LeReader(payload)
  const hash = r.hash()
  const sources = Array.from({ length: r.u8() }, () => ({ id: r.u32(), port: r.u16(), ...(withCrypt ? cryptOf(r) : {}) }))
  r.end()
  return { hash, sources }
}

/** Whom a server asks us to connect to: the client's address, as an id. */
export function encodeCall(source: FoundSource): Uint8Array<ArrayBuffer> {
  const w = new LeWriter().u32(source.id).u16(source.port)
  if (source.userHash) w.u8(source.crypt ? cryptBits(source.crypt) : 0).bytes(source.userHash)
  return w.done()
}

/** @throws ED2K_WIRE */
export function decodeCall(payload: Uint8Array): FoundSource {
  const r = new LeReader(payload)
  const [id, port] = [r.u32(), r.u16()]
  if (r.left === 0) return { id, port }
  const source = { id, port, crypt: readCrypt(r.u8()), userHash: r.hash() }
  r.end()
  return source
}

export interface ServerAddress {
  readonly address: number
  readonly port: number
}

export function encodeServers(servers: readonly ServerAddress[]): Uint8Array<ArrayBuffer> {
  const list = servers.slice(0, MAX_SERVER_LIST)
  const w = new LeWriter().u8(list.length)
  for (const { address, port } of list) w.u32(address).u16(port)
  return w.done()
}

/** @throws ED2K_WIRE */
export function decodeServers(payload: Uint8Array): ServerAddress[] {
  const r = new LeReader(payload)
  const servers = Array.from({ length: r.u8() }, () => ({ address: r.u32(), port: r.u16() }))
  r.end()
  return servers
}

function writeCrypt(w: LeWriter, { userHash, crypt }: FoundSource): void {
  w.u8((crypt ? cryptBits(crypt) : 0) | (userHash ? HAS_HASH : 0))
  if (userHash) w.bytes(userHash)
}

function cryptOf(r: LeReader): Pick<FoundSource, 'userHash' | 'crypt'> {
  const bits = r.u8()
  return { crypt: readCrypt(bits), userHash: bits & HAS_HASH ? r.hash() : undefined }
}
