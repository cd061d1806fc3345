/** What a field of a message may be, and how fields make a layout: `layout<Vote>({ height: uint(1), reason: text(2, 1024) })`. */
import { type Codec, decode, encode, type Writer } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { ProtoReader, textBytes, textOf, writeBytes, writeUint } from './protobuf.ts'

export interface Field<T> {
  /** @throws WIRE_RANGE, WIRE_TEXT, BAD_TEXT when the value is not one of this field */
  write(w: Writer, value: T): void
  /** @throws WIRE_RANGE, WIRE_TEXT, WIRE_TRUNCATED */
  read(r: ProtoReader): T
}

/** A message of these fields. They are named in the order of their numbers. */
export function layout<T extends object>(fields: { readonly [K in keyof T]-?: Field<T[K]> }): Codec<T> {
  const entries = Object.entries(fields) as [keyof T, Field<T[keyof T]>][]
  return {
    write(w, m) {
      for (const [name, field] of entries) field.write(w, m[name])
    },
    read(bytes) {
      const r = new ProtoReader(bytes)
      const message = Object.fromEntries(entries.map(([name, field]) => [name, field.read(r)])) as T
      r.end()
      return message
    }
  }
}

/** A number up to `max`; absent means 0. */
export function uint(field: number, max: number = Number.MAX_SAFE_INTEGER): Field<number> {
  const checked = (value: number): number => {
    if (value > max) throw new KithError('WIRE_RANGE', 'number above the limit', { field, value, max })
    return value
  }
  return { write: (w, v) => writeUint(w, field, checked(v)), read: r => checked(r.uint(field)) }
}

/** An enum with 0 for "unspecified", which is refused: 1 is the first of `names`. */
export function choice<T extends string>(field: number, names: readonly T[]): Field<T> {
  return {
    write(w, v) {
      const at = names.indexOf(v)
      if (at < 0) throw new KithError('WIRE_RANGE', 'not a value of this enum', { field })
      writeUint(w, field, at + 1)
    },
    read(r) {
      const name = names[r.uint(field) - 1]
      if (name === undefined) throw new KithError('WIRE_RANGE', 'not a value of this enum', { field })
      return name
    }
  }
}

/** A string of at most `max` bytes that has the form of `pattern`; absent means ''. */
export function text(field: number, max: number, pattern?: RegExp): Field<string> {
  const checked = (value: string): string => {
    if (pattern && !pattern.test(value)) throw new KithError('WIRE_TEXT', 'a text of another form than this field has', { field })
    return value
  }
  return {
    write(w, v) {
      if (checked(v) !== '') writeBytes(w, field, textBytes(v, max))
    },
    read: r => checked(textOf(present(r.bytes(field, max), field)))
  }
}

/** Bytes, at most `max`; absent means none. */
export function bytes(field: number, max: number): Field<Uint8Array> {
  return {
    write(w, v) {
      if (v.length > max) throw new KithError('WIRE_RANGE', 'too many bytes', { field, length: v.length, max })
      if (v.length > 0) writeBytes(w, field, v)
    },
    read: r => present(r.bytes(field, max), field)
  }
}

/** Exactly so many bytes: a key, a hash, a signature. */
export function fixed(field: number, length: number): Field<Uint8Array> {
  const checked = (value: Uint8Array | undefined): Uint8Array => {
    if (value?.length !== length) throw new KithError('WIRE_RANGE', 'a field of another length', { field, length })
    return value
  }
  return { write: (w, v) => writeBytes(w, field, checked(v)), read: r => checked(r.bytes(field, length)) }
}

/** A field that may be missing altogether. `inner` is one whose absence would be refused or mean something else. */
export function optional<T>(field: number, inner: Field<T>): Field<T | undefined> {
  return {
    write(w, v) {
      if (v !== undefined) inner.write(w, v)
    },
    read: r => (r.has(field) ? inner.read(r) : undefined)
  }
}

/** A message that must be there, of at most `max` bytes. */
export function nested<T>(field: number, codec: Codec<T>, max: number): Field<T> {
  return {
    write: (w, v) => writeBytes(w, field, bounded(encode(codec, v), max)),
    read(r) {
      const inner = r.bytes(field, max)
      if (!inner) throw new KithError('WIRE_RANGE', 'a message is missing', { field })
      return decode(codec, inner)
    }
  }
}

/** A repeated string, bytes or message: `maxCount` elements of at most `max` bytes each. */
export function list<T>(field: number, element: Codec<T>, maxCount: number, max: number): Field<readonly T[]> {
  const counted = (n: number): void => {
    if (n > maxCount) throw new KithError('WIRE_RANGE', 'too many elements', { field, max: maxCount })
  }
  return {
    write(w, v) {
      counted(v.length)
      for (const one of v) writeBytes(w, field, bounded(encode(element, one), max))
    },
    read(r) {
      const out: T[] = []
      for (let inner = r.bytes(field, max); inner; inner = r.bytes(field, max)) {
        out.push(decode(element, inner))
        counted(out.length)
      }
      return out
    }
  }
}

/** Elements of a repeated string and of repeated bytes. */
export const textElement: Codec<string> = {
  write: (w, v) => w.bytes(textBytes(v, Number.MAX_SAFE_INTEGER)),
  read: r => textOf(r.bytes(r.left))
}
export const bytesElement: Codec<Uint8Array> = { write: (w, v) => w.bytes(v), read: r => r.bytes(r.left) }

/** One of several messages, by name. */
export type Variant<M> = { readonly [K in keyof M]: { readonly kind: K; readonly body: M[K] } }[keyof M]

/** Exactly one of these messages; they are named in the order of their numbers. */
export function oneof<M extends object>(
  cases: { readonly [K in keyof M]: readonly [number, Codec<M[K]>] },
  max: number
): Field<Variant<M>> {
  const entries = Object.entries(cases) as [keyof M, readonly [number, Codec<M[keyof M]>]][]
  return {
    write(w, v) {
      const [field, codec] = cases[v.kind]
      writeBytes(w, field, bounded(encode(codec, v.body), max))
    },
    read(r) {
      for (const [kind, [field, codec]] of entries) {
        const inner = r.bytes(field, max)
        // A second one is out of order for whoever reads on.
        if (inner) return { kind, body: decode(codec, inner) }
      }
      throw new KithError('WIRE_RANGE', 'none of the messages that could be here')
    }
  }
}

/** google.protobuf.Timestamp in whole milliseconds since 1970. */
export function timestamp(field: number): Field<number> {
  return nested(field, timestampCodec, 20)
}

const NANOS = 1_000_000
/** 9999-12-31T23:59:59Z, the last second of a Timestamp. */
const MAX_SECONDS = 253_402_300_799
const parts = layout<{ seconds: number; nanos: number }>({ seconds: uint(1, MAX_SECONDS), nanos: uint(2, 999_999_999) })
const timestampCodec: Codec<number> = {
  write(w, ms) {
    const seconds = Math.floor(ms / 1000)
    parts.write(w, { seconds, nanos: (ms - seconds * 1000) * NANOS })
  },
  read(r) {
    const { seconds, nanos } = parts.read(r)
    if (nanos % NANOS !== 0) throw new KithError('WIRE_RANGE', 'a time that is not in whole milliseconds')
    return seconds * 1000 + nanos / NANOS
  }
}

/** Bytes of a field where an empty one is not written. */
function present(value: Uint8Array<ArrayBuffer> | undefined, field: number): Uint8Array<ArrayBuffer> {
  if (value?.length === 0) throw new KithError('WIRE_RANGE', 'a default value is spelled out', { field })
  return value ?? new Uint8Array()
}

function bounded(value: Uint8Array, max: number): Uint8Array {
  if (value.length > max) throw new KithError('WIRE_RANGE', 'a message inside is too long', { length: value.length, max })
  return value
}
