/** Offers and answers of WebRTC over request/response: method `rtc` (docs/wire/webtorrent.md §3). Works through relays too. */
import { decode, encode } from '../base/codec.ts'
import type { Rpc } from '../net/rpc.ts'
import { MAX_SDP_BYTES, rtcAnswer, rtcOffer } from '../wire/rtc.ts'
import { classOfAddress } from './address-filter.ts'
import type { Signalling } from './webtorrent/signalling.ts'

const METHOD = 'rtc'
const PER_SECOND = 2
/** Version, info-hash and length before the description. */
const HEAD_BYTES = 23
/** The other side looks for its addresses first. */
const TIMEOUT_MS = 15_000

/** Signalling between nodes. Errors of `exchange` are those of `Rpc.request` and of the codec. */
export function rpcSignalling(rpc: Rpc): Signalling {
  return {
    async exchange(peerId, offer, signal) {
      const limits = { maxResponseBytes: HEAD_BYTES + MAX_SDP_BYTES, timeoutMs: TIMEOUT_MS, signal }
      return decode(rtcAnswer, await rpc.request({ peerId }, METHOD, encode(rtcOffer, offer), limits))
    },
    handle: listener =>
      rpc.handle(METHOD, { maxRequestBytes: HEAD_BYTES + MAX_SDP_BYTES, perSecond: PER_SECOND }, async (body, { peerId, signal }) =>
        encode(rtcAnswer, await listener(decode(rtcOffer, body), peerId, signal))
      ),
    scopeOf(peerId) {
      const address = rpc.addressOf(peerId)
      const kind = address === undefined ? 'public' : classOfAddress(address)
      return kind === 'never' ? 'public' : kind
    }
  }
}
