/**
 * What a client searches for at a server (16): a tree in prefix order.
 *
 *     00 (00 and | 01 or | 02 not) left right         01 text: all words of it are in the name
 *     02 text | name of a tag: the tag is the text     03 u32 | u8 comparison | name of a tag     08 u64, the same
 *
 * Comparisons: 0 =, 1 >, 2 <, 3 ≥, 4 ≤, 5 ≠. Spec: docs/wire/ed2k.md §10
 */
import { LeReader, LeWriter, wireError } from './bytes.ts'
import { MAX_SEARCH_DEPTH, MAX_SEARCH_TERMS, MAX_TEXT_BYTES } from './limits.ts'

const JOINS = ['and', 'or', 'not'] as const
const COMPARISONS = ['=', '>', '<', '>=', '<=', '!='] as const

export type Search =
  /** 'not': left without right. */
  | { readonly kind: 'join'; readonly by: (typeof JOINS)[number]; readonly left: Search; readonly right: Search }
  | { readonly kind: 'words'; readonly text: string }
  /** `field`: one byte, or a name as Latin-1. */
  | { readonly kind: 'text'; readonly field: number | string; readonly text: string }
  | {
      readonly kind: 'number'
      readonly field: number | string
      readonly is: (typeof COMPARISONS)[number]
      readonly value: number
    }

/** What a search can be held against. */
export interface Searchable {
  /** In lower case. */
  readonly name: string
  readonly size: number
  readonly kind: string
  readonly sources: number
  readonly completeSources: number
}

export function encodeSearch(search: Search): Uint8Array<ArrayBuffer> {
  const w = new LeWriter()
  write(w, search)
  return w.done()
}

/** @throws ED2K_WIRE also when it has too many terms or is nested too deep */
export function decodeSearch(payload: Uint8Array): Search {
  const r = new LeReader(payload)
  const budget = { terms: MAX_SEARCH_TERMS }
  const search = read(r, budget, 0)
  r.end()
  return search
}

/** A test for files, prepared once for many. Tags that are not known here match nothing. */
export function matcherOf(search: Search): (file: Searchable) => boolean {
  switch (search.kind) {
    case 'join': {
      const left = matcherOf(search.left)
      const right = matcherOf(search.right)
      if (search.by === 'or') return file => left(file) || right(file)
      const wanted = search.by === 'and'
      return file => left(file) && right(file) === wanted
    }
    case 'words': {
      const words = wordsOf(search.text)
      return file => words.length > 0 && words.every(word => file.name.includes(word))
    }
    case 'text': {
      const text = search.text.toLowerCase()
      return file => textFieldOf(file, search.field)?.toLowerCase() === text
    }
    case 'number':
      return file => {
        const value = numberFieldOf(file, search.field)
        return value !== undefined && compare(value, search.is, search.value)
      }
  }
}

const wordsOf = (text: string): string[] =>
  text
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter(w => w !== '')

function textFieldOf(file: Searchable, field: number | string): string | undefined {
  if (field === 0x03) return file.kind
  if (field === 0x04) return /\.([^.]{1,16})$/.exec(file.name)?.[1] ?? ''
  return undefined
}

function numberFieldOf(file: Searchable, field: number | string): number | undefined {
  if (field === 0x02) return file.size
  if (field === 0x15) return file.sources
  return field === 0x30 ? file.completeSources : undefined
}

function compare(a: number, is: (typeof COMPARISONS)[number], b: number): boolean {
  switch (is) {
    case '=':
      return a === b
    case '>':
      return a > b
    case '<':
      return a < b
    case '>=':
      return a >= b
    case '<=':
      return a <= b
    case '!=':
      return a !== b
  }
}

function write(w: LeWriter, s: Search): void {
  if (s.kind === 'join') {
    w.u8(0).u8(JOINS.indexOf(s.by))
    write(w, s.left)
    write(w, s.right)
  } else if (s.kind === 'words') w.u8(1).text16(s.text)
  else if (s.kind === 'text') writeField(w.u8(2).text16(s.text), s.field)
  else {
    if (s.value < 2 ** 32) w.u8(3).u32(s.value)
    else w.u8(8).u64(s.value)
    writeField(w.u8(COMPARISONS.indexOf(s.is)), s.field)
  }
}

function writeField(w: LeWriter, field: number | string): void {
  const bytes = typeof field === 'number' ? [field] : Array.from(field, c => c.charCodeAt(0))
  w.u16(bytes.length)
  for (const b of bytes) w.u8(b)
}

function read(r: LeReader, budget: { terms: number }, depth: number): Search {
  if (--budget.terms < 0 || depth > MAX_SEARCH_DEPTH) throw wireError('a search of too many terms')
  const kind = r.u8()
  switch (kind) {
    case 0: {
      const by = JOINS[r.u8()]
      if (!by) throw wireError('terms joined in an unknown way')
      const left = read(r, budget, depth + 1)
      return { kind: 'join', by, left, right: read(r, budget, depth + 1) }
    }
    case 1:
      return { kind: 'words', text: r.text16(MAX_TEXT_BYTES) }
    case 2: {
      const text = r.text16(MAX_TEXT_BYTES)
      return { kind: 'text', text, field: readField(r) }
    }
    case 3:
    case 8: {
      const value = kind === 3 ? r.u32() : r.u64()
      const is = COMPARISONS[r.u8()]
      if (!is) throw wireError('an unknown comparison')
      return { kind: 'number', is, value, field: readField(r) }
    }
    default:
      throw wireError('an unknown term of a search', { kind })
  }
}

function readField(r: LeReader): number | string {
  const length = r.u16()
  if (length > 255) throw wireError('name of a tag is too long', { length })
  const bytes = r.bytes(length)
  return length === 1 ? bytes[0]! : String.fromCharCode(...bytes)
}
