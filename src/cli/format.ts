/** Text for people: sizes, rates, times, money, and names from peers made harmless. */
import { KithError } from '../base/errors.ts'
import { formatCoin } from '../wire/wei.ts'

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** Decimal units as curl and disks use them: 1500000 is "1.5 MB". */
export function formatBytes(n: number): string {
  let value = n
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}

export const formatRate = (bytesPerSecond: number): string => `${formatBytes(bytesPerSecond)}/s`

/** "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`
}

/** Wei (decimal string) as coin. */
export const formatWei = (wei: string): string => `${formatCoin(BigInt(wei))} coin`

export const formatPrice = (weiPerMb: string): string => (weiPerMb === '0' ? 'free' : `${formatCoin(BigInt(weiPerMb))} coin per MB`)

/** Bytes from "8000000", "8M", "1.5 GB", "512 KiB". One letter counts in thousands, "i" in 1024s. @throws BAD_SIZE */
export function parseSize(text: string): number {
  const m = /^([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?:([kKMGT])(i?)B?|B)?$/.exec(text.trim().replace(/\/s$/, ''))
  const power = m?.[2] ? ' kmgt'.indexOf(m[2].toLowerCase()) : 0
  const bytes = m ? Math.floor(Number(m[1]) * (m[3] ? 1024 : 1000) ** power) : Number.NaN
  if (Number.isSafeInteger(bytes)) return bytes
  throw new KithError('BAD_SIZE', 'not a size', {}, { hint: 'write digits and k, M or G, for example 8M' })
}

/** Milliseconds from "500ms", "10s", "5m", "2h", "7d", or a number of seconds. @throws BAD_DURATION */
export function parseDuration(text: string): number {
  const m = /^([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(ms|s|m|h|d)?$/.exec(text.trim())
  if (!m) throw new KithError('BAD_DURATION', 'not a time', {}, { hint: 'write a number and ms, s, m, h or d, for example 10s' })
  return Math.round(
    Number(m[1]) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[(m[2] ?? 's') as 'ms' | 's' | 'm' | 'h' | 'd']
  )
}

/** A whole number from 1; more than `max` is `max`. @throws BAD_NUMBER */
export function parseCount(text: string, max: number): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text.trim())) throw new KithError('BAD_NUMBER', 'not a number from 1 on')
  return Math.min(max, Number(text))
}

/** Lines of text that came from somebody else, each whole: a result or a message must not lose its end without a word. */
export const cleanLines = (text: string, maxLines: number = Number.POSITIVE_INFINITY): string[] =>
  text
    .split('\n')
    .slice(0, maxLines)
    .map(line => clean(line.replaceAll('\t', '  ').replace(/\r$/, ''), Number.POSITIVE_INFINITY))

/**
 * Text that came from somebody else, for one line of a terminal: control, direction and invisible characters cannot move the cursor or
 * hide the end of a name.
 */
export function clean(text: string, maxChars = 500): string {
  const safe = text.toWellFormed().replace(HARMFUL, '\ufffd')
  if (safe.length <= maxChars) return safe
  const chars = [...safe]
  return chars.length <= maxChars ? safe : `${chars.slice(0, maxChars - 1).join('')}…`
}

const HARMFUL = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu

/** JSON on one line of ASCII-safe control characters: also those above 0x7e that a terminal would obey. */
export const toJsonLine = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? v.toString() : v)).replace(
    /[\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
