/** Range and Content-Range (RFC 9110 §14), one range in bytes only. Pure. */
import { KithError } from '../../base/errors.ts'

/** First and last byte, both inclusive. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/**
 * What a Range header asks of a file of `size` bytes.
 * @returns the range cut to the file, or 'unsatisfiable' (answer 416): beyond the file, several ranges, or another unit
 * @throws HTTP_RANGE when it is not a Range header at all (answer 400)
 */
export function parseRange(header: string, size: number): ByteRange | 'unsatisfiable' {
  const unit = /^([a-zA-Z0-9!#$%&'*+.^_`|~-]{1,32})=/.exec(header)
  if (!unit || header.length > 16_384) throw new KithError('HTTP_RANGE', 'not a Range header', { length: header.length })
  if (unit[1] !== 'bytes' || header.includes(',')) return 'unsatisfiable'
  const m = /^bytes=([0-9]{0,20})-([0-9]{0,20})$/.exec(header)
  if (!m || (m[1] === '' && m[2] === '')) throw new KithError('HTTP_RANGE', 'not a byte range', { length: header.length })
  if (m[1] === '') {
    const suffix = Number(m[2])
    return suffix === 0 || size === 0 ? 'unsatisfiable' : { first: Math.max(0, size - suffix), last: size - 1 }
  }
  const first = Number(m[1])
  const last = m[2] === '' ? size - 1 : Math.min(Number(m[2]), size - 1)
  if (m[2] !== '' && BigInt(m[2]!) < BigInt(m[1]!)) throw new KithError('HTTP_RANGE', 'a byte range that ends before it begins')
  return first >= size ? 'unsatisfiable' : { first, last }
}

/** `bytes 0-9/100` */
export const contentRange = (range: ByteRange, size: number): string => `bytes ${range.first}-${range.last}/${size}`

/** Reads `bytes 0-9/100` or `bytes 0-9/*`; undefined for anything else, also for numbers above 2^53. */
export function parseContentRange(header: string): (ByteRange & { readonly size: number | undefined }) | undefined {
  const m = /^bytes ([0-9]{1,16})-([0-9]{1,16})\/([0-9]{1,16}|\*)$/.exec(header)
  if (!m) return undefined
  const first = Number(m[1])
  const last = Number(m[2])
  const size = m[3] === '*' ? undefined : Number(m[3])
  if (![first, last, size ?? 0].every(Number.isSafeInteger) || last < first || (size !== undefined && last >= size)) return undefined
  return { first, last, size }
}
