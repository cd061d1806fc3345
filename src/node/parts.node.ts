/** The open parts of a node, as open.node.ts hands them to the running node. */
import type { Logger } from '../base/log.ts'
import type { DhtFinder } from '../discovery/dht-finder.ts'
import type { Identity } from '../identity/identity.ts'
import type { Host } from '../net/host.ts'
import type { ScopeGate } from '../net/scope-gate.ts'
import type { OfferDeps } from '../transfer/offers.ts'
import type { TransferProtocol } from '../transfer/protocol.ts'
import type { ShareBook } from '../transfer/share-book.node.ts'
import type { KeptTorrent, TorrentBook } from '../transfer/torrent-book.node.ts'
import type { FirstWorkers } from '../transfer/verify-workers.node.ts'
import type { Config } from './config.ts'
import type { Networks } from './networks.node.ts'
import type { Payments } from './payments.node.ts'

export interface NodeParts {
  readonly config: Config
  readonly log: Logger
  readonly identity: Identity
  readonly host: Host
  readonly finder: DhtFinder
  readonly gate: ScopeGate
  readonly payments: Payments
  readonly shares: ShareBook
  /** Torrents of others. */
  readonly torrents: TorrentBook
  readonly networks: Networks
  readonly offers: OfferDeps
  readonly httpPort: number
  /** Every protocol of this node; which is tried first is transfer/finding/download-policy.ts. */
  readonly protocols: readonly TransferProtocol[]
  /** Started ahead of the first download. */
  readonly workers?: FirstWorkers | undefined
  /** Told what the parts notice; set by the running node. */
  readonly notices: Notices
}

export interface Notices {
  shareStopped?: (fileId: Uint8Array, reason: string) => void
  torrentStopped?: (torrent: KeptTorrent) => void
  admitted?: (fileId: Uint8Array, bytes: number) => void
}
