/**
 * Announcements to trackers and their answers: HTTP (BEP 3, compact lists of BEP 23 and BEP 7) and UDP (BEP 15). Pure.
 * At most 200 peers are kept of an answer and the interval is held between one minute and two hours.
 */
import { Reader, Writer } from '../../base/codec.ts'
import { KithError } from '../../base/errors.ts'
import { BDict, type BValue, decodeBencode } from './bencode.ts'
import { COMPACT4_BYTES, COMPACT6_BYTES, unpackPeers } from './compact.ts'
import { MAX_ANNOUNCE_MS, MAX_TRACKER_BYTES, MAX_TRACKER_PEERS, MIN_ANNOUNCE_MS } from './limits.ts'
import { type PeerAddress, parsePeerAddress } from './urls.ts'

export type AnnounceEvent = 'started' | 'stopped' | 'completed' | undefined

export interface Announcement {
  readonly infoHash: Uint8Array
  readonly peerId: Uint8Array
  /** Where peers can connect to us. */
  readonly port: number
  /** Bytes that are still missing. */
  readonly left: number
  readonly event: AnnounceEvent
}

export interface TrackerAnswer {
  readonly intervalMs: number
  readonly peers: readonly PeerAddress[]
}

export const trackerError = (why: string, options: ErrorOptions = {}): KithError =>
  new KithError('TRACKER_FAILED', `tracker: ${why}`, {}, options)

/** Address of an announcement over HTTP. */
export function announceUrl(tracker: string, a: Announcement): URL {
  const url = new URL(tracker)
  const bytes = (b: Uint8Array): string => Array.from(b, x => `%${x.toString(16).padStart(2, '0')}`).join('')
  const query =
    `info_hash=${bytes(a.infoHash)}&peer_id=${bytes(a.peerId)}&port=${a.port}&uploaded=0&downloaded=0&left=${a.left}` +
    `&compact=1&numwant=${MAX_TRACKER_PEERS}${a.event ? `&event=${a.event}` : ''}`
  url.search = url.search ? `${url.search}&${query}` : query
  return url
}

/** Reads the body of an HTTP tracker's answer. @throws TRACKER_FAILED */
export function readHttpAnswer(body: Uint8Array): TrackerAnswer {
  let root: BValue
  try {
    root = decodeBencode(body, { anyOrder: true, maxBytes: MAX_TRACKER_BYTES })
  } catch (cause) {
    throw trackerError('the answer is not bencoded', { cause })
  }
  if (!(root instanceof BDict)) throw trackerError('the answer is not a dictionary')
  const failure = root.bytes('failure reason')
  if (failure) throw trackerError(`it refused: ${new TextDecoder().decode(Uint8Array.from(failure.subarray(0, 200)))}`)
  const peers = [...peersOf(root.get('peers')), ...compactPeers(root.bytes('peers6') ?? new Uint8Array(), 16)]
  return { intervalMs: clampInterval(root.int('interval')), peers: peers.slice(0, MAX_TRACKER_PEERS) }
}

/** Compact list: `addressBytes` (4 or 16) of address and two of port each; a rest that is no whole entry is ignored. */
export const compactPeers = (bytes: Uint8Array, addressBytes: 4 | 16): PeerAddress[] =>
  unpackPeers(bytes, addressBytes === 4 ? COMPACT4_BYTES : COMPACT6_BYTES, MAX_TRACKER_PEERS)

const ACTIONS = { connect: 0, announce: 1, error: 3 } as const
const EVENTS = { completed: 1, started: 2, stopped: 3 } as const

/** | u64 0x41727101980 | u32 0 | u32 transaction | */
export function udpConnect(transaction: number): Uint8Array {
  const w = new Writer()
  w.u64(0x41727101980)
  w.u32(ACTIONS.connect)
  w.u32(transaction)
  return w.done()
}

/** @param connection the 8 bytes that the tracker gave @param key random, so that the tracker knows us at another address */
export function udpAnnounce(connection: Uint8Array, transaction: number, key: number, a: Announcement): Uint8Array {
  const w = new Writer()
  w.bytes(connection)
  w.u32(ACTIONS.announce)
  w.u32(transaction)
  w.bytes(a.infoHash)
  w.bytes(a.peerId)
  w.u64(0)
  w.u64(a.left)
  w.u64(0)
  w.u32(a.event ? EVENTS[a.event] : 0)
  w.u32(0)
  w.u32(key)
  w.u32(MAX_TRACKER_PEERS)
  w.u16(a.port)
  return w.done()
}

/** Connection id of a connect answer; undefined when the datagram answers something else. @throws TRACKER_FAILED */
export function readUdpConnect(bytes: Uint8Array, transaction: number): Uint8Array | undefined {
  const r = udpHead(bytes, ACTIONS.connect, transaction)
  if (!r) return undefined
  if (r.left < 8) throw trackerError('a connect answer is too short')
  return r.bytes(8)
}

/** @param addressBytes 4 when the tracker was asked over IPv4, else 16. undefined: answers something else. @throws TRACKER_FAILED */
export function readUdpAnnounce(bytes: Uint8Array, transaction: number, addressBytes: 4 | 16): TrackerAnswer | undefined {
  const r = udpHead(bytes, ACTIONS.announce, transaction)
  if (!r) return undefined
  if (r.left < 12) throw trackerError('an announce answer is too short')
  const intervalMs = clampInterval(r.u32())
  r.bytes(8) // leechers and seeders: not used
  return { intervalMs, peers: compactPeers(r.bytes(r.left), addressBytes) }
}

function udpHead(bytes: Uint8Array, action: number, transaction: number): Reader | undefined {
  if (bytes.length < 8) return undefined
  const r = new Reader(bytes)
  const got = r.u32()
  if (r.u32() !== transaction) return undefined
  if (got === ACTIONS.error) throw trackerError(`it refused: ${new TextDecoder().decode(r.bytes(Math.min(200, r.left)))}`)
  return got === action ? r : undefined
}

const clampInterval = (seconds: number | undefined): number =>
  Math.min(MAX_ANNOUNCE_MS, Math.max(MIN_ANNOUNCE_MS, (seconds ?? 1800) * 1000))

function peersOf(value: BValue | undefined): PeerAddress[] {
  if (value instanceof Uint8Array) return compactPeers(value, 4)
  if (!Array.isArray(value)) return []
  return (value as readonly BValue[]).slice(0, MAX_TRACKER_PEERS).flatMap(p => {
    if (!(p instanceof BDict)) return []
    const host = new TextDecoder().decode(Uint8Array.from(p.bytes('ip') ?? new Uint8Array()))
    return parsePeerAddress(`${host.includes(':') ? `[${host}]` : host}:${p.int('port') ?? 0}`) ?? []
  })
}
