/** Members of a payload, one by one: each has its type and its limit, or the payload is BAD_PAYLOAD. Nothing is looked up through a prototype. */
import { KithError } from '../base/errors.ts'
import { isJsonObject, type Json, type JsonObject } from '../wire/strict-json.ts'

export const badPayload = (field: string, what: string): KithError => new KithError('BAD_PAYLOAD', `${field} must be ${what}`, { field })

/** A member, or undefined when it is absent. */
export const member = (o: JsonObject, field: string): Json | undefined => (Object.hasOwn(o, field) ? o[field] : undefined)

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const DID = /^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/

export const isUuid = (text: string): boolean => UUID_V4.test(text)
export const isEntity = (text: string): boolean => DID.test(text)

/** Text of at most `max` UTF-16 units; `absent` stands for a member that is not there. @throws BAD_PAYLOAD */
export function text(o: JsonObject, field: string, max: number, absent?: string): string {
  const value = member(o, field) ?? absent
  if (typeof value !== 'string' || value.length > max || !value.isWellFormed()) throw badPayload(field, `text of at most ${max} characters`)
  return value
}

/** @throws BAD_PAYLOAD */
export function uuid(o: JsonObject, field: string): string {
  const value = text(o, field, 36)
  if (!isUuid(value)) throw badPayload(field, 'a UUID v4')
  return value
}

/** @throws BAD_PAYLOAD */
export function entity(o: JsonObject, field: string): string {
  const value = text(o, field, 128)
  if (!isEntity(value)) throw badPayload(field, 'a did:key')
  return value
}

/** A finite number from `min` to `max`. @throws BAD_PAYLOAD */
export function number(o: JsonObject, field: string, min: number, max: number, absent?: number): number {
  const value = member(o, field) ?? absent
  if (typeof value !== 'number' || !(value >= min && value <= max)) throw badPayload(field, `a number from ${min} to ${max}`)
  return value
}

/** @throws BAD_PAYLOAD */
export function hex(o: JsonObject, field: string, bytes: number): string {
  const value = text(o, field, 2 * bytes)
  if (value.length !== 2 * bytes || !/^[0-9a-f]*$/.test(value)) throw badPayload(field, `${bytes} bytes in lower-case hex`)
  return value
}

/** One of a few words. @throws BAD_PAYLOAD */
export function word<W extends string>(o: JsonObject, field: string, words: readonly W[], absent?: W): W {
  const value = member(o, field) ?? absent
  const found = words.find(w => w === value)
  if (found === undefined) throw badPayload(field, `one of ${words.join(', ')}`)
  return found
}

/** A list of at most `max` values. @throws BAD_PAYLOAD */
export function list(o: JsonObject, field: string, max: number): readonly Json[] {
  const value = member(o, field) ?? []
  if (!Array.isArray(value) || value.length > max) throw badPayload(field, `a list of at most ${max}`)
  return value as readonly Json[]
}

/** An object, or undefined when it is absent. @throws BAD_PAYLOAD */
export function object(o: JsonObject, field: string): JsonObject | undefined {
  const value = member(o, field)
  if (value !== undefined && !isJsonObject(value)) throw badPayload(field, 'an object')
  return value
}

/** `YYYY-MM-DDTHH:MM:SS(.mmm)Z` as ms since 1970. @throws BAD_PAYLOAD */
export function date(o: JsonObject, field: string): number {
  const value = text(o, field, 24)
  const ms = Date.parse(value)
  const isDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/.test(value) && Number.isFinite(ms)
  // Date.parse takes 30 February for 1 March.
  if (!isDate || new Date(ms).toISOString().slice(0, 19) !== value.slice(0, 19)) throw badPayload(field, 'a date in UTC')
  return ms
}
