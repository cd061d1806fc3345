/**
 * Tags: the named values in hellos, in records of files at servers, and in Kad.
 *
 *     u8 type | u16 length | name | value        type & 80: u8 name instead of length and name ("new" tags)
 *
 * Values: 01 16 bytes, 02 u16 length and text, 03 u32, 04 float, 05 u8 boolean, 07 u32 length and blob, 08 u16, 09 u8, 0A u8 length and
 * blob, 0B u64, 11 to 20 text of 1 to 16 bytes. An unknown type has an unknown length: reading stops (threats ED2).
 * Spec: docs/wire/ed2k.md §2
 */
import { utf8 } from '../../base/bytes.ts'
import { type LeReader, type LeWriter, wireError } from './bytes.ts'
import { MAX_TAG_BLOB_BYTES, MAX_TAG_NAME_BYTES, MAX_TAGS } from './limits.ts'

/** One byte as its number, anything else as Latin-1 text. */
export type TagName = number | string

export type Tag = { readonly name: TagName } & (
  | { readonly type: 'u8' | 'u16' | 'u32' | 'u64' | 'float'; readonly value: number }
  | { readonly type: 'text'; readonly value: string }
  | { readonly type: 'bool'; readonly value: boolean }
  /** 16 bytes; any length up to 64 KiB; up to 255 bytes. */
  | { readonly type: 'hash' | 'blob' | 'bsob'; readonly value: Uint8Array }
)

const TYPES = { hash: 1, text: 2, u32: 3, float: 4, bool: 5, blob: 7, u16: 8, u8: 9, bsob: 10, u64: 11 } as const
const SHORT_TEXT = 0x10
const NEW_TAG = 0x80

/** How a list begins: with its length in so many bits, which is 8 in Kad. */
export type CountWidth = 8 | 32

/** @throws ED2K_WIRE unknown type, early end, more than 255 tags */
export function readTags(r: LeReader, countWidth: CountWidth = 32): Tag[] {
  const count = countWidth === 8 ? r.u8() : r.u32()
  if (count > MAX_TAGS || count * 3 > r.left) throw wireError('too many tags', { count })
  return Array.from({ length: count }, () => readTag(r))
}

/** @throws ED2K_WIRE */
export function readTag(r: LeReader): Tag {
  const first = r.u8()
  const name = first & NEW_TAG ? r.u8() : readName(r)
  const type = first & ~NEW_TAG
  if (type > SHORT_TEXT && type <= SHORT_TEXT + 16) return { name, type: 'text', value: r.text(type - SHORT_TEXT) }
  switch (type) {
    case TYPES.hash:
      return { name, type: 'hash', value: r.hash() }
    case TYPES.text:
      return { name, type: 'text', value: r.text16() }
    case TYPES.u32:
      return { name, type: 'u32', value: r.u32() }
    case TYPES.float:
      return { name, type: 'float', value: r.f32() }
    case TYPES.bool:
      return { name, type: 'bool', value: r.u8() !== 0 }
    case TYPES.blob:
      return { name, type: 'blob', value: readBlob(r, r.u32()) }
    case TYPES.u16:
      return { name, type: 'u16', value: r.u16() }
    case TYPES.u8:
      return { name, type: 'u8', value: r.u8() }
    case TYPES.bsob:
      return { name, type: 'bsob', value: r.bytes(r.u8()) }
    case TYPES.u64:
      return { name, type: 'u64', value: r.u64() }
    default:
      throw wireError('unknown type of a tag', { type })
  }
}

/** `newTags`: the short forms, for whoever said it reads them. @throws ED2K_WIRE when a value does not fit */
export function writeTags(
  w: LeWriter,
  tags: readonly Tag[],
  options: { readonly countWidth?: CountWidth; readonly newTags?: boolean } = {}
): void {
  if (tags.length > MAX_TAGS) throw wireError('too many tags', { count: tags.length })
  if (options.countWidth === 8) w.u8(tags.length)
  else w.u32(tags.length)
  for (const tag of tags) writeTag(w, tag, options.newTags === true)
}

/** @throws ED2K_WIRE */
export function writeTag(w: LeWriter, tag: Tag, newTags = false): void {
  const text = tag.type === 'text' ? utf8(tag.value) : NOTHING
  const isShort = newTags && tag.type === 'text' && text.length >= 1 && text.length <= 16
  writeHead(w, tag.name, isShort ? SHORT_TEXT + text.length : TYPES[tag.type], newTags)
  switch (tag.type) {
    case 'u8':
      w.u8(tag.value)
      break
    case 'u16':
      w.u16(tag.value)
      break
    case 'u32':
      w.u32(tag.value)
      break
    case 'u64':
      w.u64(tag.value)
      break
    case 'float':
      w.f32(tag.value)
      break
    case 'bool':
      w.u8(tag.value ? 1 : 0)
      break
    case 'text':
      if (!isShort) w.u16(text.length)
      w.bytes(text)
      break
    case 'hash':
      if (tag.value.length !== 16) throw wireError('a hash tag is 16 bytes')
      w.bytes(tag.value)
      break
    case 'blob':
      w.u32(tag.value.length).bytes(tag.value)
      break
    case 'bsob':
      w.u8(tag.value.length).bytes(tag.value)
      break
  }
}

/** The first tag of this name that is a number; undefined when there is none. */
export function numberTag(tags: readonly Tag[], name: TagName): number | undefined {
  for (const t of tags) if (t.name === name && typeof t.value === 'number') return t.value
  return undefined
}
/** The same for text. */
export function textTag(tags: readonly Tag[], name: TagName): string | undefined {
  for (const t of tags) if (t.name === name && t.type === 'text') return t.value
  return undefined
}
/** The same for bytes of any kind. */
export function bytesTag(tags: readonly Tag[], name: TagName): Uint8Array | undefined {
  for (const t of tags) if (t.name === name && t.value instanceof Uint8Array) return t.value
  return undefined
}

function readName(r: LeReader): TagName {
  const length = r.u16()
  if (length > MAX_TAG_NAME_BYTES) throw wireError('name of a tag is too long', { length })
  const bytes = r.view(length)
  return length === 1 ? bytes[0]! : String.fromCharCode(...bytes)
}

function readBlob(r: LeReader, length: number): Uint8Array {
  if (length > MAX_TAG_BLOB_BYTES) throw wireError('blob of a tag is too long', { length })
  return r.bytes(length)
}

function writeHead(w: LeWriter, name: TagName, type: number, newTags: boolean): void {
  if (newTags && typeof name === 'number') {
    w.u8(type | NEW_TAG).u8(name)
    return
  }
  const bytes = typeof name === 'number' ? [name] : Array.from(name, c => c.charCodeAt(0))
  if (bytes.length > MAX_TAG_NAME_BYTES) throw wireError('name of a tag is too long', { length: bytes.length })
  w.u8(type).u16(bytes.length)
  for (const b of bytes) w.u8(b)
}

const NOTHING = new Uint8Array()
