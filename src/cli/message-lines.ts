/** Messages as people read them. All that came from others is made harmless first. */
import type { MessageView } from '../node/ask-types.ts'
import { clean, cleanLines, formatBytes, formatDuration } from './format.ts'

/** Of one text in a list; `kith msg show` has the rest. */
const LISTED_LINES = 40
const LISTED_CHARS = 4000
const INDENT = '    '

/** What became of a message, in words. `own`: no node stays behind to send it. */
export function describeSent(m: MessageView, own: boolean, now: number = Date.now()): string[] {
  const who = nameOf(m)
  const seeds = m.file && own ? [`${clean(m.file.name, 60)} is given to them while 'kith up' runs.`] : []
  if (m.state === 'delivered' && m.reason) return [`Kept in ${who}: ${clean(m.reason.message, 200)}.`]
  if (m.state === 'delivered') return [`Delivered to ${who}.`, ...seeds]
  if (m.state === 'relayed') return [`Sealed and left with a peer that keeps it for ${who}.`, ...seeds]
  if (m.state === 'failed') return [`Not delivered to ${who}${m.reason ? `: ${reasonOf(m)}` : ''}.`]
  const first = m.reason
    ? `Not delivered to ${who} yet: ${reasonOf(m)}.`
    : m.state === 'sent'
      ? `Sent to ${who}, who has not confirmed it yet.`
      : `Not delivered to ${who} yet.`
  const next = own
    ? "It waits on this disk, encrypted: 'kith up' sends it when they can be reached."
    : `It waits on this disk, encrypted${m.retry ? `; ${nextTry(m.retry, now)}` : ', and is sent when they can be reached'}.`
  return [first, next, m.group === undefined ? `  kith msg cancel ${m.id} takes it back` : `  id ${m.id}`]
}

/** Lines of a list: when, who, what; then its state, and a file that came with it. */
export function linesOf(m: MessageView, now: number = Date.now()): string[] {
  const who = m.group === undefined || m.direction === 'out' ? nameOf(m) : `${nameOf(m)} in ${clean(m.group, 40)}`
  const old = m.legacy ? ' (not encrypted, old version)' : ''
  const head = `${localTime(m.createdAt)}  ${m.direction === 'in' ? 'from' : 'to'} ${who}${old}: `
  const [first = '', ...rest] = contentOf(m)
  const body = rest.length === 0 ? [head + first] : [head.trimEnd(), ...[first, ...rest].map(l => INDENT + l)]
  return [...body, ...fileLines(m), ...(m.direction === 'out' ? [`${INDENT}${stateOf(m, now)}  ${m.id}`] : [])]
}

/** All that a message says, and nothing else, for `kith msg show`. */
export function wholeOf(m: MessageView): string[] {
  if (m.text === undefined) return [...contentOf(m), ...fileLines(m)]
  return [...cleanLines(m.text), ...fileLines(m)]
}

function contentOf(m: MessageView): string[] {
  if (m.type === 'error') return [`[error ${clean(String(m.body['error_code']), 60)}] ${clean(String(m.body['error_message'] ?? ''), 300)}`]
  if (m.text === undefined)
    return [m.file ? '[a long text]' : m.type === 'agent_message' ? '[not kept any more]' : `[${clean(m.type, 40)}]`]
  if (m.text === '' && m.file) return ['[a file]']
  const all = m.text.slice(0, LISTED_CHARS)
  const lines = cleanLines(all.replace(/\n+$/, ''), LISTED_LINES)
  const isCut = m.textBytes !== undefined || m.text.length > all.length || all.split('\n').length > LISTED_LINES
  return isCut ? [...lines, `… all of it: kith msg show ${m.id}`] : lines
}

function fileLines(m: MessageView): string[] {
  if (!m.file) return []
  const what = `${INDENT}with ${clean(m.file.name, 200)}, ${formatBytes(m.file.size)}`
  return m.direction === 'out' ? [what] : [what, `${INDENT}kith get '${clean(m.file.link, 4096)}'`]
}

function stateOf(m: MessageView, now: number): string {
  const why = m.reason ? `: ${reasonOf(m)}` : ''
  const next = m.retry ? `, ${nextTry(m.retry, now)}` : ''
  return `${m.state}${why}${next}`
}

function reasonOf(m: MessageView): string {
  const { code = '', message = '' } = m.reason ?? {}
  const since = m.retry ? ` since ${localTime(m.retry.since)}` : ''
  return `${clean(message, 300)}${since}${m.group === undefined ? ` (${clean(code, 60)})` : ''}`
}

const nextTry = ({ at }: { readonly at: number }, now: number): string =>
  at <= now + 500 ? 'it is tried again now' : `next try in ${formatDuration((at - now) / 1000)}`

export const nameOf = (m: MessageView): string =>
  m.group !== undefined && m.direction === 'out' ? clean(m.group, 60) : clean(m.peerName ?? `…${m.peer.slice(-8)}`, 60)

/** "2026-11-21 19:32" where the user is. */
export function localTime(ms: number): string {
  const d = new Date(ms)
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`
}
