/**
 * Messages between a WebSocket tracker and its clients, as WebTorrent's trackers speak: JSON, in which info-hashes and ids of 20 bytes are
 * strings of 20 characters below U+0100. Read strictly in both directions; unknown members are skipped. Pure.
 * Spec: docs/wire/webtorrent.md §2
 */
import { KithError } from '../../base/errors.ts'
import { MAX_SDP_BYTES } from '../../wire/rtc.ts'
import { MAX_RELAYED_OFFERS, MAX_SCRAPE_HASHES } from './limits.ts'

export interface OfferItem {
  /** 20 bytes. */
  readonly offerId: Uint8Array
  readonly sdp: string
}

export type ClientEvent = 'started' | 'stopped' | 'completed' | undefined

/** From a client to its tracker. */
export type ClientMessage =
  | {
      readonly kind: 'announce'
      readonly infoHash: Uint8Array
      readonly peerId: Uint8Array
      readonly event: ClientEvent
      /** Bytes that are missing; undefined when the client does not know. */
      readonly left: number | undefined
      readonly offers: readonly OfferItem[]
    }
  | {
      readonly kind: 'answer'
      readonly infoHash: Uint8Array
      readonly peerId: Uint8Array
      readonly toPeerId: Uint8Array
      readonly offerId: Uint8Array
      readonly sdp: string
    }
  | { readonly kind: 'scrape'; readonly infoHashes: readonly Uint8Array[] }

/** From a tracker to its client. */
export type TrackerMessage =
  | {
      readonly kind: 'announced'
      readonly infoHash: Uint8Array
      readonly intervalSeconds: number | undefined
      readonly complete: number
      readonly incomplete: number
    }
  | {
      readonly kind: 'offer' | 'answer'
      readonly infoHash: Uint8Array
      readonly peerId: Uint8Array
      readonly offerId: Uint8Array
      readonly sdp: string
    }
  | { readonly kind: 'failure'; readonly infoHash: Uint8Array | undefined; readonly reason: string }
  | { readonly kind: 'unknown' }

type Json = Readonly<Record<string, unknown>>

/** What a client sent. @throws TRACKER_MESSAGE and nothing else */
export function readClientMessage(text: string): ClientMessage {
  const m = parse(text)
  const action = own(m, 'action')
  if (action === 'scrape') {
    const asked = own(m, 'info_hash')
    const list = Array.isArray(asked) ? (asked as unknown[]) : [asked]
    if (list.length > MAX_SCRAPE_HASHES) throw bad('too many info-hashes')
    return { kind: 'scrape', infoHashes: list.map(hash => bytes20(hash, 'info_hash')) }
  }
  if (action !== 'announce') throw bad('unknown action')
  const infoHash = bytes20(own(m, 'info_hash'), 'info_hash')
  const peerId = bytes20(own(m, 'peer_id'), 'peer_id')
  const answer = own(m, 'answer')
  if (answer !== undefined && answer !== null) {
    const toPeerId = bytes20(own(m, 'to_peer_id'), 'to_peer_id')
    return { kind: 'answer', infoHash, peerId, toPeerId, offerId: bytes20(own(m, 'offer_id'), 'offer_id'), sdp: sdpOf(answer, 'answer') }
  }
  return { kind: 'announce', infoHash, peerId, event: eventOf(own(m, 'event')), left: countOf(own(m, 'left')), offers: offersOf(m) }
}

/** What a tracker sent. @throws TRACKER_MESSAGE and nothing else */
export function readTrackerMessage(text: string): TrackerMessage {
  const m = parse(text)
  const reason = own(m, 'failure reason')
  if (typeof reason === 'string') {
    const hash = own(m, 'info_hash')
    return { kind: 'failure', infoHash: hash === undefined ? undefined : bytes20(hash, 'info_hash'), reason: reason.slice(0, 200) }
  }
  if (own(m, 'action') !== 'announce') return { kind: 'unknown' }
  const infoHash = bytes20(own(m, 'info_hash'), 'info_hash')
  for (const kind of ['offer', 'answer'] as const) {
    const part = own(m, kind)
    if (part === undefined || part === null) continue
    const peerId = bytes20(own(m, 'peer_id'), 'peer_id')
    return { kind, infoHash, peerId, offerId: bytes20(own(m, 'offer_id'), 'offer_id'), sdp: sdpOf(part, kind) }
  }
  const intervalSeconds = countOf(own(m, 'interval')) ?? countOf(own(m, 'min interval'))
  return {
    kind: 'announced',
    infoHash,
    intervalSeconds,
    complete: countOf(own(m, 'complete')) ?? 0,
    incomplete: countOf(own(m, 'incomplete')) ?? 0
  }
}

/** Text of a client's message. Bytes never sent or missing are not told: 0 means complete, anything else not. */
export function writeClientMessage(m: ClientMessage): string {
  if (m.kind === 'scrape') return JSON.stringify({ action: 'scrape', info_hash: m.infoHashes.map(text20) })
  const head = { action: 'announce', info_hash: text20(m.infoHash), peer_id: text20(m.peerId) }
  if (m.kind === 'answer') {
    const to = { to_peer_id: text20(m.toPeerId), offer_id: text20(m.offerId) }
    return JSON.stringify({ ...head, ...to, answer: { type: 'answer', sdp: m.sdp } })
  }
  const offers = m.offers.map(o => ({ offer: { type: 'offer', sdp: o.sdp }, offer_id: text20(o.offerId) }))
  const figures = { uploaded: 0, downloaded: 0, left: m.left ?? null }
  return JSON.stringify({ ...head, ...figures, ...(m.event ? { event: m.event } : {}), numwant: offers.length, offers })
}

/** Text of a tracker's message. */
export function writeTrackerMessage(m: Exclude<TrackerMessage, { kind: 'unknown' }>): string {
  const head = { action: 'announce', ...(m.infoHash ? { info_hash: text20(m.infoHash) } : {}) }
  if (m.kind === 'failure') return JSON.stringify({ ...head, 'failure reason': m.reason })
  if (m.kind === 'announced')
    return JSON.stringify({ ...head, interval: m.intervalSeconds, complete: m.complete, incomplete: m.incomplete })
  const ids = { peer_id: text20(m.peerId), offer_id: text20(m.offerId) }
  return JSON.stringify({ ...head, ...ids, [m.kind]: { type: m.kind, sdp: m.sdp } })
}

/** Text of the answer to a scrape. */
export function writeScrape(files: Iterable<readonly [infoHash: Uint8Array, complete: number, incomplete: number]>): string {
  const entries = [...files].map(([hash, complete, incomplete]) => [text20(hash), { complete, incomplete, downloaded: complete }] as const)
  return JSON.stringify({ action: 'scrape', files: Object.fromEntries(entries) })
}

function parse(text: string): Json {
  let m: unknown
  try {
    m = JSON.parse(text)
  } catch {
    throw bad('not JSON')
  }
  if (m === null || typeof m !== 'object' || Array.isArray(m)) throw bad('not an object')
  return m as Json
}

function offersOf(m: Json): OfferItem[] {
  const offers = own(m, 'offers')
  if (!Array.isArray(offers)) return []
  return (offers as unknown[]).slice(0, MAX_RELAYED_OFFERS).map(item => {
    if (item === null || typeof item !== 'object') throw bad('offers')
    return { offerId: bytes20(own(item as Json, 'offer_id'), 'offer_id'), sdp: sdpOf(own(item as Json, 'offer'), 'offer') }
  })
}

function sdpOf(part: unknown, type: string): string {
  if (part === null || typeof part !== 'object') throw bad(type)
  const sdp = own(part as Json, 'sdp')
  if (typeof sdp !== 'string' || sdp === '' || sdp.length > MAX_SDP_BYTES || own(part as Json, 'type') !== type) throw bad(type)
  return sdp
}

/** A member, never one that every object inherits. */
const own = (m: Json, name: string): unknown => (Object.hasOwn(m, name) ? m[name] : undefined)

const eventOf = (value: unknown): ClientEvent => (value === 'started' || value === 'stopped' || value === 'completed' ? value : undefined)

const countOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER) : undefined

const text20 = (b: Uint8Array): string => String.fromCharCode(...b)

function bytes20(value: unknown, name: string): Uint8Array {
  if (typeof value !== 'string' || value.length !== 20) throw bad(name)
  const out = new Uint8Array(20)
  for (let i = 0; i < 20; i++) {
    const code = value.charCodeAt(i)
    if (code > 0xff) throw bad(name)
    out[i] = code
  }
  return out
}

const bad = (what: string): KithError => new KithError('TRACKER_MESSAGE', `a message of a tracker is not usable: ${what}`)
