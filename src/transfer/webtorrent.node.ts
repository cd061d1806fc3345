/** The door to webtorrent/, which is private to this folder: the protocol, and the tracker that a node can be. */
import type { Rpc } from '../net/rpc.ts'
import type { FeedContext } from './plan.node.ts'
import {
  openWebSocketTracker,
  type TrackerServer,
  type TrackerServerDeps,
  type TrackerServerOptions
} from './webtorrent/tracker-server.node.ts'
import {
  openWebTorrent,
  type RtcHints,
  type WebTorrent,
  type WebTorrentDeps,
  type WebTorrentOptions
} from './webtorrent/webtorrent.node.ts'
import { rpcSignalling } from './webtorrent-signalling.ts'

export interface OpenRtcDeps extends Omit<WebTorrentDeps, 'signalling'> {
  /** Brings nodes together without a tracker. */
  readonly rpc: Rpc
}

/** Opens the protocol "webtorrent"; shares are served from then on. @throws WEBRTC_UNAVAILABLE, BAD_ICE_SERVER */
export const openRtc = ({ rpc, ...deps }: OpenRtcDeps, options: WebTorrentOptions = {}): Promise<WebTorrent> =>
  openWebTorrent({ ...deps, signalling: rpcSignalling(rpc) }, options)

/** Opens a WebSocket tracker. @throws PORT_UNAVAILABLE */
export const openRtcTracker = (deps: TrackerServerDeps, options: TrackerServerOptions = {}): Promise<TrackerServer> =>
  openWebSocketTracker(deps, options)

/** A swarm of browsers and other programs for a file whose chunks are its pieces: what they send is checked by SHA-256 like all else. */
export function openRtcOthers(webtorrent: WebTorrent, given: RtcHints, infoHash: Uint8Array, context: FeedContext): AsyncDisposable {
  const torrent = { infoHash, size: context.grid.size, pieceLength: context.grid.chunkBytes, info: undefined }
  return webtorrent.openSwarm({
    torrent,
    trust: 'given',
    ...given,
    left: () => context.bytesLeft(),
    onSource: source => {
      if (!context.add(source)) void source[Symbol.asyncDispose]()
    }
  })
}
