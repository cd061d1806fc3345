/** Every address of a share, as a person or another program can use it. */
import { readdirSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { join } from 'node:path'
import { bytesToHex } from '../../base/bytes.ts'
import { type Scope, scopeOfIp } from '../../net/address-scope.ts'
import { formatEd2kLink } from '../../transfer/ed2k.node.ts'
import type { EncryptedStore } from '../../transfer/encrypted-store.node.ts'
import type { ShareRecord, ShareState, ShareSummary } from '../../transfer/share-store.node.ts'
import { magnetOf, torrentOf, writeTorrent } from '../../transfer/torrents.node.ts'
import type { NodeParts } from '../parts.node.ts'
import type { ShareView } from '../types.ts'
import { shareView } from '../views.node.ts'

const TORRENT_PROTOCOLS = ['bittorrent', 'webtorrent']
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

const REACH: readonly Scope[] = ['public', 'private', 'link-local']
const NOBODY = REACH.length
/** The widest first. An IPv6 address of one link means nothing to those who do not know the interface. */
function reachOf(ip: string): number {
  const scope = scopeOfIp(ip)
  const at = REACH.indexOf(scope)
  return at < 0 || (scope === 'link-local' && !isIPv4(ip)) ? NOBODY : at
}

/** Addresses of this node in one link. */
const MAX_LINK_HOSTS = 4

export class ShareAddresses {
  readonly #parts: NodeParts
  readonly #encrypted: EncryptedStore
  readonly #folder: string

  constructor(parts: NodeParts, encrypted: EncryptedStore) {
    this.#parts = parts
    this.#encrypted = encrypted
    this.#folder = join(parts.config.folders.data, 'torrents')
  }

  view(share: ShareSummary, state: ShareState = 'seeding', uploaded = 0): ShareView {
    const { host, httpPort } = this.#parts
    const addresses = host.addresses()
    const relayed = addresses.filter(a => a.includes('/p2p-circuit'))
    const direct = addresses.filter(a => !relayed.includes(a))
    const hosts = [...new Set(direct.flatMap(a => /^\/ip[46]\/([^/]+)\//.exec(a)?.[1] ?? []))]
    // Sandboxes and test machines have nothing but documentation addresses, which nobody dials: then loopback serves this machine at least.
    const outer = hosts.filter(h => reachOf(h) < NOBODY).sort((a, b) => reachOf(a) - reachOf(b))
    const shown = outer.length > 0 ? outer : hosts
    const tcp = direct.filter(a => a.includes('/tcp/') && !a.includes('/ws'))
    const via = shown.flatMap(h => tcp.filter(a => a.includes(`/${h}/`)))
    const withHttp = share.protocols.includes('http') && share.pricePerMb === 0n
    const torrent = TORRENT_PROTOCOLS.some(p => share.protocols.includes(p)) ? share : undefined
    const trackers = [...share.trackers, ...this.#webTrackers(share, shown)]
    const peers = this.#torrentPeers(share, shown)
    const magnet = (infoHash: Uint8Array, infoHashV2?: Uint8Array): string =>
      magnetOf({ infoHash, infoHashV2, name: share.name, trackers, peers })
    return shareView(share, {
      state,
      uploaded,
      via: [...via.slice(0, MAX_LINK_HOSTS), ...relayed.slice(0, 2)],
      magnet: torrent?.infoHash && magnet(torrent.infoHash, torrent.infoHashV2),
      httpUrls: withHttp ? shown.map(h => `http://${bracketed(h)}:${httpPort}/${bytesToHex(share.fileId)}`) : [],
      torrentPath: torrent?.infoHash && this.#pathOf(torrent.infoHash),
      plain: torrent?.plainInfoHash && { magnet: magnet(torrent.plainInfoHash), torrentPath: this.#pathOf(torrent.plainInfoHash) },
      ed2k: this.#ed2kOf(share, shown),
      encrypted: this.#encrypted.find(share.path)
    })
  }

  /** Writes the .torrent files of a share that has any: aria2 and Transmission 3 cannot read a hybrid. */
  writeTorrents({ name, pieces, v2, protocols, stamp, trackers }: ShareRecord): void {
    if (!pieces || !TORRENT_PROTOCOLS.some(p => protocols.includes(p))) return
    for (const tree of v2 ? [v2, undefined] : [undefined]) {
      const { infoHash, bytes } = torrentOf({ name, size: stamp.size, pieces, v2: tree, trackers })
      writeTorrent(this.#folder, name, infoHash, bytes)
    }
  }

  /** ws:// URLs of our own tracker, for browsers; in links only, since a file outlives addresses. */
  #webTrackers({ protocols }: ShareSummary, hosts: readonly string[]): readonly string[] {
    const port = this.#parts.networks.webtorrent.service.opened?.tracker.port
    return port === undefined || !protocols.includes('webtorrent') ? [] : hosts.map(h => `ws://${bracketed(h)}:${port}`)
  }

  /** Where other programs reach our BitTorrent port, for `x.pe` of BEP 9; in links only. Paid files they could not fetch. */
  #torrentPeers({ protocols, pricePerMb }: ShareSummary, hosts: readonly string[]): readonly { host: string; port: number }[] {
    const { port } = this.#parts.networks.bittorrent.opened
    if (!port || !protocols.includes('bittorrent') || pricePerMb !== 0n) return []
    return hosts.slice(0, MAX_LINK_HOSTS).map(host => ({ host, port }))
  }

  #pathOf(infoHash: Uint8Array): string | undefined {
    const suffix = `-${bytesToHex(infoHash).slice(0, 8)}.torrent`
    const found = listFolder(this.#folder).find(f => f.endsWith(suffix))
    return found && join(this.#folder, found)
  }

  /** Only free files are served over ed2k. The link names us as a source: nobody need be asked who has the file. */
  #ed2kOf({ name, stamp, ed2k, protocols, pricePerMb }: ShareSummary, hosts: readonly string[]): string | undefined {
    if (!ed2k || !protocols.includes('ed2k') || pricePerMb !== 0n) return undefined
    const port = this.#parts.networks.ed2k.service.opened?.port
    const sources =
      port === undefined
        ? []
        : hosts
            .filter(isIPv4)
            .slice(0, MAX_LINK_HOSTS)
            .map(host => ({ host, port }))
    return formatEd2kLink({ name, size: stamp.size, hash: ed2k.hash, aich: ed2k.aich, sources })
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
