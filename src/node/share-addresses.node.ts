/** Every address of a share, as a person or another program can use it. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { bytesToHex } from '../base/bytes.ts'
import { scopeOfIp } from '../net/address-scope.ts'
import { formatEd2kLink } from '../transfer/ed2k.node.ts'
import type { EncryptedStore } from '../transfer/encrypted-store.node.ts'
import type { ShareRecord, ShareState } from '../transfer/share-store.node.ts'
import { torrentOf, writeTorrent } from '../transfer/torrents.node.ts'
import type { NodeParts } from './parts.node.ts'
import type { ShareView } from './types.ts'
import { shareView } from './views.node.ts'

type Torrent = ReturnType<typeof torrentOf>

export class ShareAddresses {
  readonly #parts: NodeParts
  readonly #encrypted: EncryptedStore
  readonly #folder: string

  constructor(parts: NodeParts, encrypted: EncryptedStore) {
    this.#parts = parts
    this.#encrypted = encrypted
    this.#folder = join(parts.config.folders.data, 'torrents')
  }

  view(record: ShareRecord, state: ShareState = 'seeding', uploaded = 0): ShareView {
    const { host, httpPort } = this.#parts
    const hosts = [
      ...new Set(host.addresses().flatMap(a => (a.includes('/p2p-circuit') ? [] : (/^\/ip[46]\/([^/]+)\//.exec(a)?.[1] ?? []))))
    ]
    // Sandboxes and test machines have nothing but documentation addresses, which nobody dials: then loopback serves this machine at least.
    const outer = hosts.filter(h => !['loopback', 'unusable'].includes(scopeOfIp(h)))
    const shown = outer.length > 0 ? outer : hosts
    const direct = host.addresses().filter(a => a.includes('/tcp/') && !a.includes('/ws') && shown.some(h => a.includes(`/${h}/`)))
    const relayed = host.addresses().filter(a => a.includes('/p2p-circuit'))
    const withHttp = record.protocols.includes('http') && record.pricePerMb === 0n
    const torrent = this.#torrentOf(record, shown)
    const plain = torrent?.infoHashV2 ? this.#torrentOf(record, shown, true) : undefined
    return shareView(record, {
      state,
      uploaded,
      via: [...new Set([...direct.slice(0, 4), ...relayed.slice(0, 2)])],
      magnet: torrent?.magnet,
      httpUrls: withHttp ? shown.map(h => `http://${h.includes(':') ? `[${h}]` : h}:${httpPort}/${bytesToHex(record.fileId)}`) : [],
      torrentPath: torrent && this.#pathOf(torrent),
      plain: plain && { magnet: plain.magnet, torrentPath: this.#pathOf(plain) },
      ed2k: this.#ed2kOf(record),
      encrypted: this.#encrypted.find(record.path)
    })
  }

  /** Writes the .torrent files of a share that has any. */
  writeTorrents(record: ShareRecord): void {
    for (const isPlain of [false, true]) {
      const torrent = this.#torrentOf(record, [], isPlain)
      if (torrent) writeTorrent(this.#folder, record.name, torrent.infoHash, torrent.bytes)
    }
  }

  /**
   * @param hosts at which browsers find our tracker; none for a file, which outlives addresses
   * @param isPlain v1 only: aria2 and Transmission 3 cannot read a hybrid
   */
  #torrentOf(
    { name, pieces, v2, protocols, stamp, trackers }: ShareRecord,
    hosts: readonly string[],
    isPlain = false
  ): Torrent | undefined {
    const isWeb = protocols.includes('webtorrent')
    if (!pieces || !(isWeb || protocols.includes('bittorrent'))) return undefined
    const port = this.#parts.networks.webtorrent.service.opened?.tracker.port
    const own = isWeb && port !== undefined ? hosts.map(h => `ws://${h.includes(':') ? `[${h}]` : h}:${port}`) : []
    return torrentOf({ name, size: stamp.size, pieces, v2: isPlain ? undefined : v2, trackers: [...trackers, ...own] })
  }

  #pathOf({ infoHash }: Torrent): string | undefined {
    const suffix = `-${bytesToHex(infoHash).slice(0, 8)}.torrent`
    const found = listFolder(this.#folder).find(f => f.endsWith(suffix))
    return found && join(this.#folder, found)
  }

  /** Only free files are served over ed2k. */
  #ed2kOf({ name, stamp, ed2k, protocols, pricePerMb }: ShareRecord): string | undefined {
    if (!ed2k || !protocols.includes('ed2k') || pricePerMb !== 0n) return undefined
    return formatEd2kLink({ name, size: stamp.size, hash: ed2k.hash, aich: ed2k.aich })
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
