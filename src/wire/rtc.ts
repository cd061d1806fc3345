/**
 * Offer and answer of a WebRTC connection between two nodes, carried by net's request/response: no tracker is needed, and no reachable
 * port. What a description may hold is checked by `transfer/webtorrent`.
 * Spec: docs/wire/webtorrent.md §3
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'

/** Longest description of a connection (threats BT13); the usual one has 1 KiB. */
export const MAX_SDP_BYTES: number = 64 * 1024 - 1

/**
 * `rtc`: I offer a connection about this torrent.
 *
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |    20 | info-hash   |
 * |   2+n | offer: a session description, lines end in CR LF |
 */
export interface RtcOffer {
  readonly infoHash: Uint8Array
  readonly sdp: string
}
export const rtcOffer: Codec<RtcOffer> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.infoHash)
    w.text16(m.sdp)
  },
  read(r) {
    expectVersion(r, 1)
    return { infoHash: r.bytes(20), sdp: notEmpty(r.text16(MAX_SDP_BYTES)) }
  }
}

/**
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |   2+n | answer: a session description |
 */
export interface RtcAnswer {
  readonly sdp: string
}
export const rtcAnswer: Codec<RtcAnswer> = {
  write(w, m) {
    w.u8(1)
    w.text16(m.sdp)
  },
  read(r) {
    expectVersion(r, 1)
    return { sdp: notEmpty(r.text16(MAX_SDP_BYTES)) }
  }
}

function notEmpty(sdp: string): string {
  if (sdp === '') throw new KithError('WIRE_RANGE', 'an empty description')
  return sdp
}
