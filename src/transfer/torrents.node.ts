/** BitTorrent for the rest of Kith: serves shares, opens sources, and makes the addresses by which other programs find a share. */
import { join } from 'node:path'
import { bytesToHex, concatBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { makePrivateFolder, writeFileDurably } from '../platform/files.node.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import { type BitTorrent, openBitTorrent, type PeerHints } from './bittorrent/bittorrent.node.ts'
import { formatMagnet } from './bittorrent/magnet.ts'
import { infoHashesOf, makeTorrent } from './bittorrent/metainfo.ts'
import { type PeerAddress, parsePeerAddress } from './bittorrent/urls.ts'
import type { V2Digest } from './digests.ts'
import type { ProbeOptions } from './http/probe.node.ts'
import type { HttpProtocol } from './http/source.node.ts'
import { PUBLIC_ROUTERS } from './mainline/mainline.node.ts'
import type { FeedContext } from './plan.node.ts'
import type { Share, ShareIndex, UploadGate } from './protocol.ts'
import { safeName } from './safe-name.ts'

export interface Torrents extends AsyncDisposable {
  readonly port: number
  readonly protocol: BitTorrent
}

export interface TorrentsDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly shares: ShareIndex
  readonly gate: UploadGate
  /** Fetches web seeds, and what is asked of their servers first; ways of its own unless given. */
  readonly http?: HttpProtocol
  readonly probe?: ProbeOptions
}

export interface TorrentsOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** Address of the DHT's socket; that of the listener by default. */
  readonly dhtHost?: string
  readonly encryption?: 'off' | 'allowed' | 'required'
  /** Tell clients on the local network what is shared. */
  readonly lsd?: boolean
  /** "host:port" of first nodes of the DHT. */
  readonly dhtBootstrap?: readonly string[]
  /** Join the public DHT. */
  readonly mainline?: boolean
}

/** Listens for peers; takes part in a DHT, which has no nodes but those that are named or met. @throws PORT_UNAVAILABLE */
export async function openTorrents(deps: TorrentsDeps, options: TorrentsOptions): Promise<Torrents> {
  const { listen, dhtHost, encryption, lsd, dhtBootstrap = [], mainline } = options
  const bootstrap = mainline ? [...dhtBootstrap, ...PUBLIC_ROUTERS] : dhtBootstrap
  const protocol = await openBitTorrent(deps, {
    listen,
    encryption,
    lsd,
    dht: { bootstrap, ...(dhtHost === undefined ? {} : { host: dhtHost }) }
  })
  return { protocol, port: protocol.port, [Symbol.asyncDispose]: () => protocol[Symbol.asyncDispose]() }
}

/** What a torrent is made of. */
export interface TorrentContent {
  readonly name: string
  readonly size: number
  /** SHA-1 of each 256 KiB piece. */
  readonly pieces: Uint8Array
  /** With it the torrent is a hybrid of v1 and v2, and its info-hash another one. */
  readonly v2?: V2Digest | undefined
  readonly trackers: readonly string[]
}

type SharedContent = Pick<Share, 'name' | 'grid' | 'pieces' | 'v2'>

/** v1 info-hash of a share that has pieces; empty otherwise. */
export const infoHashOf = (share: SharedContent): Uint8Array => infoHashesOf(share)[0] ?? new Uint8Array()

/** What an offer carries for BitTorrent: all of these hashes, one behind the other; empty without pieces. */
export const torrentHashes = (share: SharedContent): Uint8Array => concatBytes(...infoHashesOf(share))

export interface MadeTorrent {
  /** v1: 20 bytes. */
  readonly infoHash: Uint8Array
  /** 32 bytes; undefined without v2. */
  readonly infoHashV2: Uint8Array | undefined
  /** Names both hashes of a hybrid. */
  readonly magnet: string
  /** The .torrent file. */
  readonly bytes: Uint8Array
}

/**
 * Info-hashes, magnet link and .torrent bytes: a hybrid with `v2`, the plain torrent without it (a share that has both is served as both).
 * Names no tracker but those given.
 */
export function torrentOf({ name, size, pieces, v2, trackers }: TorrentContent): MadeTorrent {
  const { bytes, infoHash, infoHashV2 } = makeTorrent({ name, size, pieces, v2, pieceLength: CHUNK_BYTES, trackers })
  return { infoHash, infoHashV2, bytes, magnet: formatMagnet({ infoHash, infoHashV2, name, trackers }) }
}

/** Magnet link of a torrent that is known by its hashes. */
export const magnetOf = (torrent: {
  readonly infoHash: Uint8Array
  readonly infoHashV2?: Uint8Array | undefined
  readonly name: string
  readonly trackers: readonly string[]
  /** Addresses at which peers reach us. */
  readonly peers: readonly PeerAddress[]
}): string => formatMagnet(torrent)

/** Writes `<name>-<hash>.torrent` into a folder of its own. @returns its path */
export function writeTorrent(folder: string, name: string, infoHash: Uint8Array, bytes: Uint8Array): string {
  makePrivateFolder(folder)
  const path = join(folder, `${safeName(name, 'file')}-${bytesToHex(infoHash).slice(0, 8)}.torrent`)
  writeFileDurably(path, bytes, 0o644)
  return path
}

/** "host:port" texts of the user to peer addresses. @throws BAD_ADDRESS */
export function readPeers(texts: readonly string[]): PeerAddress[] {
  return texts.map(text => {
    const peer = parsePeerAddress(text)
    if (!peer)
      throw new KithError(
        'BAD_ADDRESS',
        `${JSON.stringify(text.slice(0, 60))} is not host:port`,
        {},
        { hint: 'for example 192.0.2.7:6881' }
      )
    return peer
  })
}

/** A swarm of other programs for a file whose chunks are its pieces: what they send is checked by SHA-256 like everything else. */
export function openOthers(bittorrent: BitTorrent, given: PeerHints, infoHash: Uint8Array, context: FeedContext): AsyncDisposable {
  const torrent = { infoHash, size: context.grid.size, pieceLength: context.grid.chunkBytes, info: undefined }
  return bittorrent.openSwarm({
    torrent,
    ...given,
    trust: 'given',
    download: context.grid,
    left: () => context.bytesLeft(),
    onSource: source => {
      if (!context.add(source)) void source[Symbol.asyncDispose]()
    }
  })
}
