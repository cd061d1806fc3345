/** Members of a payload, one by one: each has its type and its limit, or the payload is BAD_PAYLOAD. Nothing is looked up through a prototype. */
import { KithError } from '../base/errors.ts'
import { looksLikeDid } from './did-key.ts'
import { isUuidV4 } from './secure-message.ts'
import { isJsonObject, type Json, type JsonObject } from './strict-json.ts'

export const badPayload = (field: string, what: string): KithError => new KithError('BAD_PAYLOAD', `${field} must be ${what}`, { field })

/** A member, or undefined when it is absent. */
export const member = (o: JsonObject, field: string): Json | undefined => (Object.hasOwn(o, field) ? o[field] : undefined)

/** Text of at most `max` UTF-16 units; `absent` stands for a member that is not there. @throws BAD_PAYLOAD */
export function text(o: JsonObject, field: string, max: number, absent?: string): string {
  const value = member(o, field) ?? absent
  if (typeof value !== 'string' || value.length > max || !value.isWellFormed()) throw badPayload(field, `text of at most ${max} characters`)
  return value
}

/** @throws BAD_PAYLOAD */
export function uuid(o: JsonObject, field: string): string {
  const value = member(o, field)
  if (!isUuidV4(value)) throw badPayload(field, 'a UUID v4')
  return value
}

/** A UUID v4, or undefined when it is absent. @throws BAD_PAYLOAD */
export const optionalUuid = (o: JsonObject, field: string): string | undefined =>
  member(o, field) === undefined ? undefined : uuid(o, field)

/** The did:key of an entity. @throws BAD_PAYLOAD */
export function entity(o: JsonObject, field: string): string {
  const value = member(o, field)
  if (typeof value !== 'string' || !looksLikeDid(value)) throw badPayload(field, 'a did:key')
  return value
}

/** A number from `min` to `max`. @throws BAD_PAYLOAD */
export function number(o: JsonObject, field: string, min: number, max: number, absent?: number): number {
  const value = member(o, field) ?? absent
  if (typeof value !== 'number' || !(value >= min && value <= max)) throw badPayload(field, `a number from ${min} to ${max}`)
  return value
}

/** @throws BAD_PAYLOAD */
export function integer(o: JsonObject, field: string, min: number, max: number, absent?: number): number {
  const value = number(o, field, min, max, absent)
  if (!Number.isSafeInteger(value)) throw badPayload(field, 'an integer')
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

/** A list of at most `max` values; absent, an empty one. @throws BAD_PAYLOAD */
export function list(o: JsonObject, field: string, max: number): readonly Json[] {
  const value = member(o, field) ?? []
  if (!Array.isArray(value) || value.length > max) throw badPayload(field, `a list of at most ${max}`)
  return value as readonly Json[]
}

/** A list of at most `max` texts, each of 1 to `maxChars`. @throws BAD_PAYLOAD */
export function texts(o: JsonObject, field: string, max: number, maxChars: number): readonly string[] {
  const values = list(o, field, max)
  const isText = (v: Json): v is string => typeof v === 'string' && v !== '' && v.length <= maxChars && v.isWellFormed()
  if (!values.every(isText)) throw badPayload(field, `a list of texts of at most ${maxChars} characters`)
  return values
}

/** An object, or undefined when it is absent. @throws BAD_PAYLOAD */
export function object(o: JsonObject, field: string): JsonObject | undefined {
  const value = member(o, field)
  if (value !== undefined && !isJsonObject(value)) throw badPayload(field, 'an object')
  return value
}

const ERROR_CODE = /^[A-Z][A-Z0-9_]{0,63}$/

/** An error code: a word that others can compare. @throws BAD_PAYLOAD */
export function errorCode(o: JsonObject, field: string): string {
  const value = member(o, field)
  if (typeof value !== 'string' || !ERROR_CODE.test(value)) throw badPayload(field, 'an error code')
  return value
}
