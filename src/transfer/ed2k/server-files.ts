/**
 * Files, as clients offer them to servers (15) and servers list them (33):
 *
 *     u32 n | n × { hash | u32 id | u16 port | u32 n | tags: 01 name, 02 size, 3A upper half of the size, 03 kind, 15 sources, 30 complete }
 *
 * In offers id and port are FBFBFBFB, FBFB for whole files and FCFCFCFC, FCFC for others, if the server has ability 1; else the client's own.
 * An offer of no files says that the client is there. Spec: docs/wire/ed2k.md §10
 */
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { MAX_SERVER_NAME_BYTES } from './limits.ts'
import { numberTag, readTags, type Tag, textTag, writeTags } from './tags.ts'

/** A file that a client has, or a part of it. */
export interface OfferedFile {
  /** 16 bytes. */
  readonly hash: Uint8Array
  readonly size: number
  readonly name: string
  readonly complete: boolean
}

export interface FileRecord {
  readonly hash: Uint8Array
  readonly id: number
  readonly port: number
  readonly name: string
  readonly size: number
  /** "Video", "Audio", "Pro" … or ''. */
  readonly kind: string
  /** In answers only. */
  readonly sources: number
  readonly completeSources: number
}

const ids = { name: 0x01, size: 0x02, kind: 0x03, sources: 0x15, complete: 0x30, sizeHigh: 0x3a } as const
/** Hash, id, port and an empty list of tags. */
const MIN_RECORD_BYTES = 26
export const WHOLE = { id: 0xfbfbfbfb, port: 0xfbfb } as const
export const PARTIAL = { id: 0xfcfcfcfc, port: 0xfcfc } as const

export interface OfferForm {
  /** The server knows WHOLE and PARTIAL, and the short forms of tags. */
  readonly marks: boolean
  readonly newTags: boolean
  readonly id: number
  readonly port: number
}

/** Names longer than a server keeps are cut. @throws ED2K_WIRE */
export function encodeOffers(files: readonly OfferedFile[], form: OfferForm): Uint8Array<ArrayBuffer> {
  const w = new LeWriter(32 + 100 * files.length).u32(files.length)
  for (const f of files) {
    const { id, port } = form.marks ? (f.complete ? WHOLE : PARTIAL) : form
    w.bytes(f.hash).u32(id).u16(port)
    writeTags(w, [{ name: ids.name, type: 'text', value: cut(f.name) }, ...sizeTags(f.size)], { newTags: form.newTags })
  }
  return w.done()
}

export function encodeFound(records: readonly FileRecord[]): Uint8Array<ArrayBuffer> {
  const w = new LeWriter(32 + 100 * records.length).u32(records.length)
  for (const f of records) {
    w.bytes(f.hash).u32(f.id).u16(f.port)
    const tags: Tag[] = [
      { name: ids.name, type: 'text', value: f.name },
      ...sizeTags(f.size),
      { name: ids.sources, type: 'u32', value: f.sources },
      { name: ids.complete, type: 'u32', value: f.completeSources }
    ]
    if (f.kind !== '') tags.push({ name: ids.kind, type: 'text', value: f.kind })
    writeTags(w, tags)
  }
  return w.done()
}

/** Reads offers and answers. A byte may follow that says whether there is more. @throws ED2K_WIRE */
export function decodeFiles(payload: Uint8Array): FileRecord[] {
  const r = new LeReader(payload)
  const count = r.u32()
  if (count * MIN_RECORD_BYTES > r.left) throw wireError('fewer files than were announced', { count })
  const files = Array.from({ length: count }, () => readFile(r))
  if (r.left > 1) throw wireError('bytes left after files', { left: r.left })
  return files
}

function readFile(r: LeReader): FileRecord {
  const [hash, id, port, tags] = [r.hash(), r.u32(), r.u16(), readTags(r)]
  const size = (numberTag(tags, ids.size) ?? 0) + (numberTag(tags, ids.sizeHigh) ?? 0) * 2 ** 32
  if (!Number.isSafeInteger(size)) throw wireError('a file of no possible size')
  return {
    hash,
    id,
    port,
    name: textTag(tags, ids.name) ?? '',
    size,
    kind: textTag(tags, ids.kind) ?? '',
    sources: numberTag(tags, ids.sources) ?? 0,
    completeSources: numberTag(tags, ids.complete) ?? 0
  }
}

/** Servers take 32 bits at a time. */
function sizeTags(size: number): Tag[] {
  const low: Tag = { name: ids.size, type: 'u32', value: size % 2 ** 32 }
  return size < 2 ** 32 ? [low] : [low, { name: ids.sizeHigh, type: 'u32', value: Math.floor(size / 2 ** 32) }]
}

/** Whole characters, as many as fit. */
function cut(name: string): string {
  let text = name.slice(0, MAX_SERVER_NAME_BYTES)
  while (new TextEncoder().encode(text).length > MAX_SERVER_NAME_BYTES) text = [...text].slice(0, -1).join('')
  return text
}
