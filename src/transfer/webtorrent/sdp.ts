/**
 * Descriptions of WebRTC connections (RFC 8866, 8839, 8841, 8842): read strictly, kept as the few values that a data channel needs, and
 * written anew, so that no text of a stranger reaches the native library. What a data channel does not need is skipped; what
 * contradicts it, or comes twice, is refused. Pure.
 */
import { KithError } from '../../base/errors.ts'
import { MAX_SDP_BYTES } from '../../wire/rtc.ts'
import { DEFAULT_CHANNEL_MESSAGE_BYTES, MAX_CANDIDATES, MAX_SDP_LINE_CHARS, MAX_SDP_LINES, MIN_CHANNEL_MESSAGE_BYTES } from './limits.ts'

export type Setup = 'actpass' | 'active' | 'passive'
export type CandidateKind = 'host' | 'srflx' | 'prflx' | 'relay'

/** Where the other side can perhaps be reached (RFC 8839 §5.1); only UDP is read. */
export interface Candidate {
  readonly foundation: string
  readonly priority: number
  /** Address in text, or a name that ends in .local. */
  readonly address: string
  readonly port: number
  readonly kind: CandidateKind
}

export interface Description {
  readonly ufrag: string
  readonly pwd: string
  /** SHA-256 of the DTLS certificate: upper-case hex with colons. */
  readonly fingerprint: string
  readonly setup: Setup
  readonly mid: string
  readonly sctpPort: number
  /** Longest message its sender takes; 0: any. */
  readonly maxMessageBytes: number
  readonly candidates: readonly Candidate[]
}

const badSdp = (why: string): KithError => new KithError('BAD_SDP', `a description of a connection is not usable: ${why}`)

/** Attributes that count, with what each may look like. One of them twice is refused; the first two may stand in either part. */
const ATTRIBUTES: Readonly<Record<string, RegExp>> = {
  fingerprint: /^(?:sha-256 (?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2})$/i,
  setup: /^(?:actpass|active|passive)$/,
  'ice-ufrag': /^[A-Za-z0-9+/]{4,256}$/,
  'ice-pwd': /^[A-Za-z0-9+/]{22,256}$/,
  mid: /^[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,32}$/,
  'sctp-port': /^[0-9]{1,5}$/,
  'max-message-size': /^[0-9]{1,10}$/
}
const MEDIA = /^m=application [0-9]{1,5} (?:UDP|TCP)\/DTLS\/SCTP webrtc-datachannel$/

/** Reads an offer or an answer. @throws BAD_SDP and nothing else */
export function readDescription(text: string, type: 'offer' | 'answer'): Description {
  const found = readLines(text)
  const need = (name: string): string => found.values.get(name) ?? fail(`no ${name}`)
  const setup = need('setup') as Setup
  if ((type === 'offer') !== (setup === 'actpass')) throw badSdp(`setup ${setup} in an ${type}`)
  const sctpPort = Number(need('sctp-port'))
  if (sctpPort === 0 || sctpPort > 65_535) throw badSdp('sctp-port')
  const maxMessageBytes = Number(found.values.get('max-message-size') ?? DEFAULT_CHANNEL_MESSAGE_BYTES)
  if (maxMessageBytes !== 0 && maxMessageBytes < MIN_CHANNEL_MESSAGE_BYTES) throw badSdp('max-message-size')
  return {
    ufrag: need('ice-ufrag'),
    pwd: need('ice-pwd'),
    fingerprint: need('fingerprint').slice('sha-256 '.length).toUpperCase(),
    setup,
    mid: need('mid'),
    sctpPort,
    maxMessageBytes,
    candidates: found.candidates
  }
}

/** The one spelling in which descriptions leave this node and reach the native library. */
export function writeDescription(d: Description): string {
  const lines = [
    'v=0',
    'o=- 1 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${d.mid}`,
    'a=msid-semantic:WMS *',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    ...d.candidates.map(c => `a=${writeCandidate(c)}`),
    'a=end-of-candidates',
    `a=ice-ufrag:${d.ufrag}`,
    `a=ice-pwd:${d.pwd}`,
    `a=fingerprint:sha-256 ${d.fingerprint}`,
    `a=setup:${d.setup}`,
    `a=mid:${d.mid}`,
    `a=sctp-port:${d.sctpPort}`,
    `a=max-message-size:${d.maxMessageBytes}`
  ]
  return `${lines.join('\r\n')}\r\n`
}

/**
 * One candidate as it stands behind "a=". The address and port that a reflexive one stands for are nobody's business: RFC 8839 §5.1 lets
 * them be hidden so.
 */
export function writeCandidate({ foundation, priority, address, port, kind }: Candidate): string {
  const related = kind === 'host' ? '' : ` raddr ${address.includes(':') ? '::' : '0.0.0.0'} rport 9`
  return `candidate:${foundation} 1 UDP ${priority} ${address} ${port} typ ${kind}${related}`
}

interface Found {
  readonly values: ReadonlyMap<string, string>
  readonly candidates: readonly Candidate[]
}

function readLines(text: string): Found {
  if (text.length > MAX_SDP_BYTES) throw badSdp('too long')
  const lines = text.split(/\r?\n/, MAX_SDP_LINES + 1)
  if (lines.length > MAX_SDP_LINES) throw badSdp('too many lines')
  if (lines[0] !== 'v=0') throw badSdp('it does not begin with v=0')
  const values = new Map<string, string>()
  const candidates: Candidate[] = []
  let media = 0
  for (const line of lines) {
    if (line.length > MAX_SDP_LINE_CHARS) throw badSdp('a line is too long')
    if (line.startsWith('m=')) {
      if (!MEDIA.test(line) || ++media > 1) throw badSdp('it asks for more than one data channel')
      continue
    }
    const attribute = /^a=([a-z-]{1,32}):(.*)$/.exec(line)
    if (!attribute) continue
    const [, name = '', value = ''] = attribute
    if (name === 'candidate') keepCandidate(value, candidates)
    else if (Object.hasOwn(ATTRIBUTES, name)) keepValue(name, value, values)
  }
  if (media === 0) throw badSdp('no data channel')
  return { values, candidates }
}

function keepValue(name: string, value: string, values: Map<string, string>): void {
  if (name === 'fingerprint' && !/^sha-256 /i.test(value)) return // a further hash of the same certificate
  if (!ATTRIBUTES[name]!.test(value)) throw badSdp(`${name} is malformed`)
  const before = values.get(name)
  if (before !== undefined && before !== value) throw badSdp(`two values of ${name}`) // for the session and for its one part
  values.set(name, value)
}

const CANDIDATE =
  /^([A-Za-z0-9+/]{1,32}) ([12]) (udp|tcp) ([0-9]{1,10}) ([0-9A-Fa-f:.]{2,45}|[A-Za-z0-9-]{1,63}\.local) ([0-9]{1,5}) typ (host|srflx|prflx|relay)(?: .*)?$/i

function keepCandidate(value: string, candidates: Candidate[]): void {
  const [, foundation = '', component, transport = '', priority, address = '', port, kind = ''] = CANDIDATE.exec(value) ?? []
  if (component !== '1' || transport.toLowerCase() !== 'udp') return // a kind that is not used here
  if (Number(port) === 0 || Number(port) > 65_535 || Number(priority) >= 2 ** 32) return
  if (candidates.length >= MAX_CANDIDATES) throw badSdp(`more than ${MAX_CANDIDATES} candidates`)
  const found = { foundation, priority: Number(priority), address: address.toLowerCase(), port: Number(port) }
  candidates.push({ ...found, kind: kind.toLowerCase() as CandidateKind })
}

function fail(why: string): never {
  throw badSdp(why)
}
