/** Columns that text takes on a terminal, well enough to keep a line from wrapping. */

const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]$/u
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]$/u

const widthOfChar = (c: string): number => (ZERO.test(c) ? 0 : WIDE.test(c) ? 2 : 1)

export function widthOf(text: string): number {
  let n = 0
  for (const c of text) n += widthOfChar(c)
  return n
}

/** At most `columns` wide; what does not fit is cut and marked. */
export function truncate(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  let out = ''
  let n = 0
  for (const c of text) {
    const w = widthOfChar(c)
    if (n + w > columns - 1) break
    out += c
    n += w
  }
  return columns > 0 ? `${out}…` : ''
}

/** Exactly `columns` wide, filled with spaces on the right (or left). */
export function pad(text: string, columns: number, side: 'right' | 'left' = 'right'): string {
  const cut = truncate(text, columns)
  const fill = ' '.repeat(Math.max(0, columns - widthOf(cut)))
  return side === 'right' ? cut + fill : fill + cut
}
