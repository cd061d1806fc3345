/**
 * Strict JSON, for what is signed (threats SM1-SM7). `JSON.parse` takes the last of two equal keys, rounds numbers, and makes three
 * different strings of lone surrogates that sign as the same bytes; here each of these is refused, so that two programs cannot read two
 * things out of one signed text. Canonical form: RFC 8785.
 * Spec: docs/wire/message.md §1
 */
import { fromUtf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { MAX_JSON_DEPTH, MAX_JSON_NUMBER_CHARS, MAX_MESSAGE_FRAME_BYTES } from './limits.ts'

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export type JsonObject = { readonly [key: string]: Json }

/** JSON whose numbers are something else than JavaScript's. */
export type JsonOf<N> = null | boolean | N | string | readonly JsonOf<N>[] | { readonly [key: string]: JsonOf<N> }

export interface ParseOptions {
  /** Default 1 MiB. */
  readonly maxBytes?: number
  /** Arrays and objects inside each other. Default 64. */
  readonly maxDepth?: number
}

/**
 * Reads one JSON value: UTF-8 without BOM, no key twice, no `__proto__`, no lone surrogate, nothing after it. Numbers must be spelled as
 * RFC 8785 spells them (1, not 1.0 or 1E0), so that they are exactly what the sender wrote; integers beyond 2^53 - 1 are refused.
 * @throws MALFORMED_JSON, TOO_DEEP, TOO_LARGE
 */
export function parseJson(bytes: Uint8Array, options: ParseOptions = {}): Json {
  return parseJsonWith(bytes, readNumber, options)
}

/** As parseJson, for what must be an object. @throws MALFORMED_JSON, TOO_DEEP, TOO_LARGE */
export function parseJsonObject(bytes: Uint8Array, options: ParseOptions = {}): JsonObject {
  const json = parseJson(bytes, options)
  if (!isJsonObject(json)) throw new KithError('MALFORMED_JSON', 'not a JSON object')
  return json
}

/** As parseJson; `number` makes a value of each number's text, or returns undefined to refuse it. */
export function parseJsonWith<N>(bytes: Uint8Array, number: (text: string) => N | undefined, options: ParseOptions = {}): JsonOf<N> {
  const { maxBytes = MAX_MESSAGE_FRAME_BYTES, maxDepth = MAX_JSON_DEPTH } = options
  if (bytes.length > maxBytes) throw new KithError('TOO_LARGE', 'the JSON text is too long', { bytes: bytes.length, maxBytes })
  return new Parser(textOf(bytes), number, maxDepth).all()
}

export const isJsonObject = (json: Json | undefined): json is JsonObject =>
  typeof json === 'object' && json !== null && !Array.isArray(json)

/**
 * RFC 8785. Two values with the same text are equal, and the text is read back by parseJson.
 * @throws MALFORMED_JSON for what JSON or parseJson has no form for (NaN, lone surrogates, integers beyond 2^53, undefined), TOO_DEEP
 */
export function canonicalJson(value: Json): string {
  return canonical(value, MAX_JSON_DEPTH)
}

function canonical(value: Json, depth: number): string {
  switch (typeof value) {
    case 'string':
      return quoted(value)
    case 'number':
      return numberText(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      break
    default:
      throw new KithError('MALFORMED_JSON', 'not a JSON value', { type: typeof value })
  }
  if (value === null) return 'null'
  if (depth === 0) throw new KithError('TOO_DEEP', 'the JSON value is nested too deeply')
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(v => canonical(v, depth - 1)).join(',')}]`
  const object = value as JsonObject
  let text = '{'
  for (const key of sortedKeys(object)) {
    if (key === '__proto__') throw new KithError('MALFORMED_JSON', 'a member is called __proto__')
    if (text.length > 1) text += ','
    text += `${quoted(key)}:${canonical(object[key]!, depth - 1)}`
  }
  return `${text}}`
}

/** RFC 8785 §3.2.3 orders by UTF-16 code units, as `<` and sort() do. Most objects are in order already. */
function sortedKeys(object: JsonObject): string[] {
  const keys = Object.keys(object)
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! > keys[i]!) return keys.sort()
  return keys
}

const NEEDS_NO_ESCAPE = /^[ !#-[\]-~]*$/

function quoted(text: string): string {
  if (NEEDS_NO_ESCAPE.test(text)) return `"${text}"`
  if (!text.isWellFormed()) throw new KithError('MALFORMED_JSON', 'text holds a lone surrogate')
  return JSON.stringify(text)
}

function numberText(value: number): string {
  const text = String(value)
  if (readNumber(text) === undefined && !Object.is(value, -0))
    throw new KithError('MALFORMED_JSON', 'a number that JSON cannot carry exactly')
  return text
}

function textOf(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    throw new KithError('MALFORMED_JSON', 'not UTF-8', {}, { cause })
  }
}

/** A number in RFC 8785's spelling. An integer without exponent lies within ±(2^53 - 1). */
function readNumber(text: string): number | undefined {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return String(value) === text ? value : undefined
  const isExact = Number.isFinite(value) && String(value) === text
  return isExact && (!Number.isInteger(value) || text.includes('e')) ? value : undefined
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const CONTROL = /[\u0000-\u001f]/
const [QUOTE, COMMA, COLON, BACKSLASH] = [0x22, 0x2c, 0x3a, 0x5c]

/** Recursive descent; the depth is bounded, and each character is looked at a bounded number of times. */
class Parser<N> {
  readonly #text: string
  readonly #number: (text: string) => N | undefined
  readonly #maxDepth: number
  /** Usually false, and then no string needs to be looked through. */
  readonly #hasControls: boolean
  /** Place of the first backslash that is not passed yet; 2^32 - 1: there is none. */
  #backslash = -1
  #at = 0

  constructor(text: string, number: (text: string) => N | undefined, maxDepth: number) {
    this.#text = text
    this.#hasControls = CONTROL.test(text)
    this.#number = number
    this.#maxDepth = maxDepth
  }

  all(): JsonOf<N> {
    const value = this.#value(this.#next(), 0)
    if (!Number.isNaN(this.#next())) this.#fail('there is something after the value')
    return value
  }

  /** The code of the next character that is not a blank, which is passed; NaN at the end. */
  #next(): number {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at++)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return code
    }
  }

  #value(code: number, depth: number): JsonOf<N> {
    switch (code) {
      case QUOTE:
        return this.#string()
      case 0x7b:
        return this.#object(depth + 1)
      case 0x5b:
        return this.#array(depth + 1)
      case 0x74:
        return this.#word('true', true)
      case 0x66:
        return this.#word('false', false)
      case 0x6e:
        return this.#word('null', null)
      default:
        return this.#numeral()
    }
  }

  #object(depth: number): { readonly [key: string]: JsonOf<N> } {
    if (depth > this.#maxDepth) throw new KithError('TOO_DEEP', 'the JSON text is nested too deeply', { maxDepth: this.#maxDepth })
    const out: { [key: string]: JsonOf<N> } = {}
    let code = this.#next()
    if (code === 0x7d) return out
    for (;;) {
      if (code !== QUOTE) this.#fail('a member has no name')
      const key = this.#string()
      // An assignment to __proto__ would not make a member, so a reader behind this one could see what was not signed.
      if (key === '__proto__') this.#fail('a member is called __proto__')
      if (Object.hasOwn(out, key)) this.#fail('a member is there twice')
      if (this.#next() !== COLON) this.#fail('a member has no value')
      out[key] = this.#value(this.#next(), depth)
      code = this.#next()
      if (code === 0x7d) return out
      if (code !== COMMA) this.#fail('an object does not end')
      code = this.#next()
    }
  }

  #array(depth: number): readonly JsonOf<N>[] {
    if (depth > this.#maxDepth) throw new KithError('TOO_DEEP', 'the JSON text is nested too deeply', { maxDepth: this.#maxDepth })
    const out: JsonOf<N>[] = []
    let code = this.#next()
    if (code === 0x5d) return out
    for (;;) {
      out.push(this.#value(code, depth))
      code = this.#next()
      if (code === 0x5d) return out
      if (code !== COMMA) this.#fail('an array does not end')
      code = this.#next()
    }
  }

  /** What follows an opening quote. Raw surrogates cannot be lone, since the text came from UTF-8; escaped ones can. */
  #string(): string {
    const text = this.#text
    let end = text.indexOf('"', this.#at)
    if (this.#backslash < this.#at) this.#backslash = text.indexOf('\\', this.#at) >>> 0
    if (this.#backslash > end && end >= 0) {
      const plain = text.slice(this.#at, end)
      if (this.#hasControls && CONTROL.test(plain)) this.#fail('text holds a control character')
      this.#at = end + 1
      return plain
    }
    while (end >= 0 && this.#isEscaped(end)) end = text.indexOf('"', end + 1)
    if (end < 0) this.#fail('text does not end')
    const value = this.#unescaped(text.slice(this.#at - 1, end + 1))
    if (!value.isWellFormed()) this.#fail('text holds a lone surrogate')
    this.#at = end + 1
    return value
  }

  #isEscaped(quote: number): boolean {
    let before = quote
    while (before > this.#at && this.#text.charCodeAt(before - 1) === BACKSLASH) before--
    return (quote - before) % 2 === 1
  }

  #unescaped(quotedText: string): string {
    try {
      return JSON.parse(quotedText) as string
    } catch {
      return this.#fail('text holds a forbidden character or escape')
    }
  }

  #numeral(): N {
    NUMBER.lastIndex = this.#at - 1
    const text = NUMBER.exec(this.#text)?.[0] ?? this.#fail('not a JSON value')
    this.#at = NUMBER.lastIndex
    const value = text.length > MAX_JSON_NUMBER_CHARS ? undefined : this.#number(text)
    return value ?? this.#fail('a number is not spelled as RFC 8785 does, or is too large')
  }

  #word<W>(word: string, value: W): W {
    if (!this.#text.startsWith(word, this.#at - 1)) this.#fail('not a JSON value')
    this.#at += word.length - 1
    return value
  }

  #fail(why: string): never {
    throw new KithError('MALFORMED_JSON', why, { at: this.#at - 1 })
  }
}
