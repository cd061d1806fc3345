/** The picture of a running download as lines of text; drawing them is live-screen.ts. */
import type { DownloadView, NodeEvent, SourceView } from '../node/types.ts'
import { clean, formatBytes, formatDuration, formatRate, formatWei } from './format.ts'
import { pad, truncate } from './text-width.ts'

/** Wraps text in colour; the identity when colours are off. */
export interface Palette {
  good(text: string): string
  bad(text: string): string
  dim(text: string): string
  strong(text: string): string
}

export const plainPalette: Palette = { good: t => t, bad: t => t, dim: t => t, strong: t => t }

const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    `\u001b[${on}m${text}\u001b[${off}m`
export const colourPalette: Palette = { good: sgr(32, 39), bad: sgr(31, 39), dim: sgr(2, 22), strong: sgr(1, 22) }

/** Sources shown; the rest are counted in one line. */
const MAX_SOURCE_LINES = 12
/** Most useful first. */
const ORDER: Readonly<Record<SourceView['state'], number>> = { active: 0, idle: 1, connecting: 2, unpaid: 3, lost: 4, dropped: 5 }

/** Total line, then one line per source. No line is wider than `columns`. */
export function renderDownload(view: DownloadView, columns: number, palette: Palette = plainPalette): string[] {
  const width = Math.max(20, Math.min(columns, 160))
  const lines = [totalLine(view, width, palette)]
  const sources = view.sources.toSorted((a, b) => ORDER[a.state] - ORDER[b.state] || b.bytes - a.bytes)
  for (const s of sources.slice(0, MAX_SOURCE_LINES)) lines.push(sourceLine(s, view, width, palette))
  const hidden = sources.slice(MAX_SOURCE_LINES)
  if (hidden.length > 0) {
    const bytes = hidden.reduce((n, s) => n + s.bytes, 0)
    lines.push(palette.dim(truncate(`  and ${hidden.length} more sources, ${formatBytes(bytes)}`, width)))
  }
  if (view.state !== 'fetching' || sources.length === 0) lines.push(palette.dim(truncate(`  ${clean(view.message)}`, width)))
  return lines
}

function totalLine(view: DownloadView, width: number, palette: Palette): string {
  const share = view.size ? view.verifiedBytes / view.size : 0
  const done = view.size ? `${formatBytes(view.verifiedBytes)} of ${formatBytes(view.size)}` : formatBytes(view.verifiedBytes)
  const eta = view.etaSeconds === undefined || view.state !== 'fetching' ? '' : `  ${formatDuration(view.etaSeconds)} left`
  const money = view.owedWei === '0' && view.paidWei === '0' ? '' : `  owes ${formatWei(view.owedWei)}`
  const whole = `${percent(share)}  ${done}  ${formatRate(view.rate)}${eta}${money}`
  // Where there is no place for all of it, how much is left out: the rate and the time tell more.
  const tail = whole.length + 9 <= width ? whole : `${percent(share)}  ${formatRate(view.rate)}${eta}${money}`
  const bar = Math.min(30, width - tail.length - 16)
  const name = pad(clean(view.name ?? 'file', 60), Math.max(8, Math.min(28, width - tail.length - Math.max(0, bar) - 3)))
  const drawn = bar >= 6 ? `${palette.good(barOf(share, bar))} ` : ''
  return bar >= 6 ? `${palette.strong(name)} ${drawn}${tail}` : truncate(`${name} ${tail}`, width)
}

/** protocol, peer, rate, bytes, then how much of what has come this source brought. */
function sourceLine(s: SourceView, view: DownloadView, width: number, palette: Palette): string {
  const brought = view.sources.reduce((n, x) => n + x.bytes, 0)
  const left = `  ${pad(clean(s.protocol, 12), 10)} ${pad(clean(s.peer, 40), 14)} ${pad(formatRate(s.rate), 10, 'left')} ${pad(formatBytes(s.bytes), 9, 'left')} `
  const notes = [
    s.state === 'active' ? '' : s.state,
    s.badChunks > 0 ? `${s.badChunks} bad` : '',
    s.pricePerMb === '0' ? '' : `owes ${formatWei(s.owedWei)}`,
    clean(s.note ?? '', 80)
  ]
  const right = ` ${notes.filter(n => n !== '').join(', ')}`
  const bar = Math.max(0, Math.min(20, width - left.length - 24))
  const text = bar >= 4 ? left + pad(barOf(brought === 0 ? 0 : s.bytes / brought, bar), bar) : left
  const line = truncate(text + right, width)
  if (s.state === 'lost' || s.state === 'dropped' || s.badChunks > 0) return palette.bad(line)
  return s.state === 'active' ? line : palette.dim(line)
}

function barOf(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8)
  const part = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]!
  const full = '█'.repeat(Math.floor(eighths / 8)) + part
  return full + '░'.repeat(width - full.length)
}

const percent = (share: number): string =>
  `${Math.floor(Math.min(1, share) * 100)
    .toString()
    .padStart(3)}%`

/** One line for logs: what a person sees without a terminal. */
export function summaryLine(view: DownloadView): string {
  const active = view.sources.filter(s => s.state === 'active')
  const protocols = [...new Set(active.map(s => clean(s.protocol, 12)))].sort().join(', ')
  const from = active.length === 0 ? clean(view.message) : `from ${active.length} source${active.length === 1 ? '' : 's'} (${protocols})`
  if (!view.size) return `${view.state}: ${clean(view.message)}`
  const eta = view.etaSeconds === undefined ? '' : `, ${formatDuration(view.etaSeconds)} left`
  return `${percent(view.verifiedBytes / view.size).trim()} of ${formatBytes(view.size)}, ${formatRate(view.rate)} ${from}${eta}`
}

/** Hashing before a share, on one line. */
export function hashingLine(event: Extract<NodeEvent, { type: 'share:progress' }>): string {
  return `hashing ${percent(event.size === 0 ? 1 : event.hashedBytes / event.size).trim()} of ${formatBytes(event.size)}, ${formatRate(event.rate)}`
}
