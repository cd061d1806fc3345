/**
 * The text that Python's `json.dumps(value, sort_keys=True, separators=(",", ":"))` makes of a value that `json.loads` has read: what
 * entities before version 1.1 sign. It differs from RFC 8785 in four ways: what is not ASCII is escaped, names are ordered by code point,
 * 1.0 stays 1.0, and exponents are written in Python's way.
 * Spec: docs/wire/message.md §6
 */
import { KithError } from '../base/errors.ts'
import { type Json, type JsonOf, parseJsonWith } from './strict-json.ts'

/** A number as JavaScript has it, and as Python writes it. */
export interface PythonNumber {
  readonly value: number
  readonly text: string
}
export type PythonJson = JsonOf<PythonNumber>

/** Strict JSON as parseJson reads it, but for numbers, which may have any of JSON's spellings. @throws MALFORMED_JSON, TOO_DEEP, TOO_LARGE */
export const parsePythonJson = (bytes: Uint8Array): PythonJson => parseJsonWith(bytes, readNumber)

const isNumber = (json: PythonJson): json is PythonNumber => json instanceof NumberOfPython

/** As Python writes it. */
export function pythonJson(json: PythonJson): string {
  if (typeof json === 'string') return quoted(json)
  if (typeof json !== 'object' || json === null) return String(json)
  if (isNumber(json)) return json.text
  if (Array.isArray(json)) return `[${(json as readonly PythonJson[]).map(pythonJson).join(',')}]`
  const members = Object.entries(json as { readonly [key: string]: PythonJson }).sort(([a], [b]) => byCodePoint(a, b))
  return `{${members.map(([key, value]) => `${quoted(key)}:${pythonJson(value)}`).join(',')}}`
}

/** The value without Python's spelling of its numbers. */
export function plainJson(json: PythonJson): Json {
  if (typeof json !== 'object' || json === null) return json
  if (isNumber(json)) return json.value
  if (Array.isArray(json)) return (json as readonly PythonJson[]).map(plainJson)
  return Object.fromEntries(Object.entries(json as { readonly [key: string]: PythonJson }).map(([key, value]) => [key, plainJson(value)]))
}

/** Not a plain object, so that no text of a peer can look like one. */
class NumberOfPython implements PythonNumber {
  readonly value: number
  readonly text: string
  constructor(value: number, text: string) {
    this.value = value
    this.text = text
  }
}

/** Integers that would be rounded here, and what Python calls inf, are refused. */
function readNumber(text: string): PythonNumber | undefined {
  const value = Number(text)
  if (/[.eE]/.test(text)) return Number.isFinite(value) ? new NumberOfPython(value, floatText(value)) : undefined
  return Number.isSafeInteger(value) ? new NumberOfPython(value + 0, String(value)) : undefined
}

/** Python's repr of a float: shortest digits, an exponent below 1e-4 and from 1e16 on. */
function floatText(value: number): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  const [, first = '', more = '', exponentText = ''] = /^(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(Math.abs(value).toExponential()) ?? []
  const exponent = Number(exponentText)
  const digits = first + more
  if (exponent < -4 || exponent >= 16) {
    const size = String(Math.abs(exponent)).padStart(2, '0')
    return `${sign}${first}${more && `.${more}`}e${exponent < 0 ? '-' : '+'}${size}`
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`
}

const NOT_ASCII = /[^ -~]/g

/** JSON.stringify escapes quotes, backslashes and controls as Python does; DEL and above are left to do. */
const quoted = (text: string): string =>
  JSON.stringify(text).replace(NOT_ASCII, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Order of code points. Units order differently where a surrogate meets U+E000 to U+FFFF. */
function byCodePoint(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (x !== y) return place(x) - place(y)
  }
  return a.length - b.length
}
const place = (unit: number): number => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)

/** The members of an object. @throws MALFORMED_JSON for any other value */
export function pythonObject(json: PythonJson): { readonly [key: string]: PythonJson } {
  if (typeof json !== 'object' || json === null || Array.isArray(json) || isNumber(json))
    throw new KithError('MALFORMED_JSON', 'not a JSON object')
  return json as { readonly [key: string]: PythonJson }
}
