/** How two nodes exchange the descriptions of a connection without a tracker. `transfer/webtorrent-signalling.ts` does it over libp2p. */
export interface SignalledOffer {
  /** 20 bytes: what the connection is about. */
  readonly infoHash: Uint8Array
  readonly sdp: string
}

export interface SignalledAnswer {
  readonly sdp: string
}

export interface Signalling {
  /** Offers a connection to a peer. @throws PEER_UNREACHABLE, PEER_TIMEOUT, PEER_REFUSED, RATE_LIMITED, PEER_PROTOCOL, any WIRE_ code */
  exchange(peerId: string, offer: SignalledOffer, signal: AbortSignal): Promise<SignalledAnswer>
  /** Answers offers until disposed. What the listener throws is told to the caller as a code. */
  handle(listener: (offer: SignalledOffer, peerId: string, signal: AbortSignal) => Promise<SignalledAnswer>): Disposable
  /** Where the peer is authenticated at the moment: a description of its may name addresses of that kind, and public ones. */
  scopeOf(peerId: string): 'public' | 'private' | 'loopback'
}
