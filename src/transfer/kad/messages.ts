/**
 * Datagrams of Kad 2: `E4 opcode payload`. Spec: docs/wire/ed2k.md §11
 *
 *     01 first nodes?       09 id | u16 tcp | u8 version | u16 n | n contacts
 *     11 hello, 19 answer   id | u16 tcp | u8 version | u8 n | tags: F2 u8 (1 UDP closed, 2 TCP closed, 4 wants 22), FC udp
 *     22 hello heard        id | u8 0
 *     21 find               u8 most | target | id of who is asked        29  target | u8 n | contacts
 *     34 sources?           target | u16 from | u64 size                 3B  id | target | u16 n | n × { id | u8 n | tags }
 *     44 I have it          target | client | u8 n | tags                4B  target | u8 load
 *     53 can I be reached?  u16 tcp | client | u8 crypt                  58  u32 your address        59 you can
 *     60 ping               61  u16 your port
 *
 * Contact: id | u32 address | u16 udp | u16 tcp | u8 version. Addresses have their first part in the highest byte.
 */
import { KithError } from '../../base/errors.ts'
import { LeReader, LeWriter, numberToIp } from '../ed2k/bytes.ts'
import { numberTag, readTags, type Tag, writeTags } from '../ed2k/tags.ts'
import { readId, writeId } from './kad-id.ts'
import { MAX_CONTACTS_PER_ANSWER } from './limits.ts'

/** What we speak: aMule 2.3.3's. */
export const KAD_VERSION = 8
export const PLAIN = 0xe4
export const PACKED = 0xe5

export interface Contact {
  readonly id: Uint8Array
  readonly host: string
  /** UDP. */
  readonly port: number
  readonly tcpPort: number
  readonly version: number
}

interface Self {
  readonly id: Uint8Array
  readonly tcpPort: number
  readonly version: number
}
export interface Result {
  /** Of the client, for sources: its user hash. */
  readonly id: Uint8Array
  readonly tags: readonly Tag[]
}

export type KadMessage =
  | { readonly kind: 'first' }
  | ({ readonly kind: 'firstAnswer'; readonly contacts: readonly Contact[] } & Self)
  | ({ readonly kind: 'hello'; readonly flags: number } & Self)
  | ({ readonly kind: 'helloAnswer'; readonly flags: number } & Self)
  | { readonly kind: 'helloHeard'; readonly id: Uint8Array }
  | { readonly kind: 'find'; readonly most: number; readonly target: Uint8Array; readonly asked: Uint8Array }
  | { readonly kind: 'found'; readonly target: Uint8Array; readonly contacts: readonly Contact[] }
  | { readonly kind: 'search'; readonly target: Uint8Array; readonly from: number; readonly size: number }
  | { readonly kind: 'results'; readonly id: Uint8Array; readonly target: Uint8Array; readonly results: readonly Result[] }
  | { readonly kind: 'publish'; readonly target: Uint8Array; readonly client: Uint8Array; readonly tags: readonly Tag[] }
  | { readonly kind: 'published'; readonly target: Uint8Array; readonly load: number }
  | { readonly kind: 'check'; readonly tcpPort: number; readonly client: Uint8Array; readonly crypt: number }
  | { readonly kind: 'yourAddress'; readonly host: string }
  | { readonly kind: 'reached' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'pong'; readonly port: number }
export type KadKind = KadMessage['kind']

const OPCODES: Readonly<Record<KadKind, number>> = {
  first: 0x01,
  firstAnswer: 0x09,
  hello: 0x11,
  helloAnswer: 0x19,
  find: 0x21,
  helloHeard: 0x22,
  found: 0x29,
  search: 0x34,
  results: 0x3b,
  publish: 0x44,
  published: 0x4b,
  check: 0x53,
  yourAddress: 0x58,
  reached: 0x59,
  ping: 0x60,
  pong: 0x61
}
const KINDS: ReadonlyMap<number, KadKind> = new Map(Object.entries(OPCODES).map(([kind, op]) => [op, kind as KadKind]))

/** Of what this opcode is; undefined for what is not spoken here (keywords, notes, buddies). */
export const kindOf = (opcode: number): KadKind | undefined => KINDS.get(opcode)

const FLAGS = 0xf2
const CONTACT_BYTES = 25
/** Numbers that aMule puts into the first byte of a find: how many contacts it wants. */
const MOST = 0x1f

/** A whole datagram. @throws ED2K_WIRE when a number does not fit */
export function encodeKad(m: KadMessage): Uint8Array<ArrayBuffer> {
  const w = new LeWriter().u8(PLAIN).u8(OPCODES[m.kind])
  switch (m.kind) {
    case 'first':
    case 'ping':
    case 'reached':
      break
    case 'firstAnswer':
      writeSelf(w, m).u16(m.contacts.length)
      writeContacts(w, m.contacts)
      break
    case 'hello':
    case 'helloAnswer':
      writeSelf(w, m)
      writeTags(w, m.flags === 0 ? [] : [{ name: FLAGS, type: 'u8', value: m.flags }], { countWidth: 8 })
      break
    case 'helloHeard':
      writeId(w, m.id).u8(0)
      break
    case 'find':
      writeId(writeId(w.u8(m.most), m.target), m.asked)
      break
    case 'found':
      writeId(w, m.target).u8(m.contacts.length)
      writeContacts(w, m.contacts)
      break
    case 'search':
      writeId(w, m.target).u16(m.from).u64(m.size)
      break
    case 'results':
      writeId(writeId(w, m.id), m.target).u16(m.results.length)
      for (const r of m.results) writeTags(writeId(w, r.id), r.tags, { countWidth: 8 })
      break
    case 'publish':
      writeTags(writeId(writeId(w, m.target), m.client), m.tags, { countWidth: 8 })
      break
    case 'published':
      writeId(w, m.target).u8(m.load)
      break
    case 'check':
      writeId(w.u16(m.tcpPort), m.client).u8(m.crypt)
      break
    case 'yourAddress':
      w.u32(hostToNumber(m.host))
      break
    case 'pong':
      w.u16(m.port)
      break
  }
  return w.done()
}

/** Reads what follows the opcode. @throws KAD_WIRE */
export function decodeKad(kind: KadKind, payload: Uint8Array): KadMessage {
  try {
    const r = new LeReader(payload)
    const message = read(r, kind)
    // Newer programs append a byte of options to 4B.
    if (r.left > (kind === 'published' ? 1 : 0)) throw new KithError('KAD_WIRE', 'bytes left after a message', { left: r.left })
    return message
  } catch (cause) {
    if (cause instanceof KithError && cause.code === 'ED2K_WIRE') throw new KithError('KAD_WIRE', cause.message, cause.data, { cause })
    throw cause
  }
}

function read(r: LeReader, kind: KadKind): KadMessage {
  switch (kind) {
    case 'first':
    case 'ping':
    case 'reached':
      return { kind }
    case 'firstAnswer':
      return { kind, ...readSelf(r), contacts: readContacts(r, r.u16()) }
    case 'hello':
    case 'helloAnswer': {
      const self = readSelf(r)
      return { kind, ...self, flags: numberTag(readTags(r, 8), FLAGS) ?? 0 }
    }
    case 'helloHeard': {
      const id = readId(r)
      readTags(r, 8)
      return { kind, id }
    }
    case 'find':
      return { kind, most: r.u8() & MOST, target: readId(r), asked: readId(r) }
    case 'found':
      return { kind, target: readId(r), contacts: readContacts(r, r.u8()) }
    case 'search':
      return { kind, target: readId(r), from: r.u16(), size: r.u64() }
    case 'results':
      return { kind, id: readId(r), target: readId(r), results: readResults(r) }
    case 'publish':
      return { kind, target: readId(r), client: readId(r), tags: readTags(r, 8) }
    case 'published':
      return { kind, target: readId(r), load: r.u8() }
    case 'check':
      return { kind, tcpPort: r.u16(), client: readId(r), crypt: r.u8() }
    case 'yourAddress':
      return { kind, host: numberToHost(r.u32()) }
    case 'pong':
      return { kind, port: r.u16() }
  }
}

/** Addresses as Kad has them: 203.0.113.1 is CB007101, in results too. */
export const hostToNumber = (host: string): number => host.split('.').reduce((n, part) => n * 256 + Number(part), 0)
export const numberToHost = (n: number): string => numberToIp(n).split('.').reverse().join('.')

const writeSelf = (w: LeWriter, s: Self): LeWriter => writeId(w, s.id).u16(s.tcpPort).u8(s.version)
const readSelf = (r: LeReader): Self => ({ id: readId(r), tcpPort: r.u16(), version: r.u8() })

function writeContacts(w: LeWriter, contacts: readonly Contact[]): void {
  for (const c of contacts) writeId(w, c.id).u32(hostToNumber(c.host)).u16(c.port).u16(c.tcpPort).u8(c.version)
}

function readContacts(r: LeReader, count: number): Contact[] {
  if (count > MAX_CONTACTS_PER_ANSWER || count * CONTACT_BYTES !== r.left)
    throw new KithError('KAD_WIRE', 'contacts of another length', { count })
  return Array.from({ length: count }, () => ({
    id: readId(r),
    host: numberToHost(r.u32()),
    port: r.u16(),
    tcpPort: r.u16(),
    version: r.u8()
  }))
}

/** An id and an empty list of tags. */
const MIN_RESULT_BYTES = 17

function readResults(r: LeReader): Result[] {
  const count = r.u16()
  if (count * MIN_RESULT_BYTES > r.left) throw new KithError('KAD_WIRE', 'fewer results than were announced', { count })
  return Array.from({ length: count }, () => ({ id: readId(r), tags: readTags(r, 8) }))
}
