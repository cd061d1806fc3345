/**
 * File names from peers are display text. `safeName` makes one path segment out of any text, the same on every system: nothing
 * in it can leave the folder, hide an extension by direction marks, or name a device.
 */

/** Longest name on disk in bytes; leaves room for " (2)" and ".part" under the usual limit of 255. */
const MAX_BYTES = 200
const RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)(\.|$)/i
/** Control characters, line and paragraph separators, direction marks, and other slashes (U+2044, U+2215, …). */
const FORBIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2044\u2060-\u206f\u2215\u29f8\u3164\ufeff\uff0f\uff3c\ufff0-\uffff<>:"/\\|?*]|[\ufe00-\ufe0f]/gu

/** One safe path segment; `fallback` (say, the file id) when nothing is left. */
export function safeName(display: string, fallback: string): string {
  let name = display
    .toWellFormed()
    .normalize('NFC')
    .replace(FORBIDDEN, '_')
    .replace(/\p{Cn}|\p{Co}/gu, '_')
  name = name.replace(/[ .]+$/u, '').replace(/^[ ]+/u, '')
  if (name.startsWith('.')) name = `_${name.slice(1)}` // nothing hidden, and never ".." or the part file's prefix
  if (RESERVED.test(name)) name = `_${name}`
  name = cut(name)
  return name === '' || /^_*$/.test(name) ? fallback : name
}

/** "report.pdf" → "report (2).pdf". */
export function numberedName(name: string, n: number): string {
  const dot = name.lastIndexOf('.')
  return dot > 0 ? `${name.slice(0, dot)} (${n})${name.slice(dot)}` : `${name} (${n})`
}

/** Display text for a screen: what would move the cursor or reorder letters is replaced. */
export const displayName = (text: string): string =>
  text.toWellFormed().replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, '�')

/** Cuts to MAX_BYTES of UTF-8 between characters, keeping a short extension. */
function cut(name: string): string {
  const bytes = (s: string): number => new TextEncoder().encode(s).length
  if (bytes(name) <= MAX_BYTES) return name
  const dot = name.lastIndexOf('.')
  const extension = dot > 0 && bytes(name.slice(dot)) <= 20 ? name.slice(dot) : ''
  let stem = ''
  for (const { segment } of new Intl.Segmenter().segment(name.slice(0, name.length - extension.length))) {
    if (bytes(stem) + bytes(segment) + bytes(extension) > MAX_BYTES) break
    stem += segment
  }
  return stem.replace(/[ .]+$/u, '') + extension
}
