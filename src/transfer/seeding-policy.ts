/**
 * Spec 004, "Default Protocol Selection (Seeder Side)": over which protocols a file is offered when the user named none. The first is the
 * one that the spec would choose alone. Pure.
 */
import type { Reachability } from '../net/reachability.ts'

export interface SeederNetwork {
  readonly reachability: Reachability
  readonly environment: 'node' | 'browser'
  /** Whether others reach the BitTorrent port all the same, for example because a router forwards it. */
  readonly bittorrentReachable?: boolean
}

/**
 * Protocol names as in offers, best first.
 *
 * | network         | protocols                                                                        |
 * | --------------- | -------------------------------------------------------------------------------- |
 * | public address  | HTTP and HTTPS, as every client speaks them; BitTorrent and ed2k for theirs      |
 * | behind NAT      | WebTorrent, which gets through; BitTorrent beside it where its port is reachable |
 * | not known       | all: peers of the same network can connect                                       |
 * | browser         | WebTorrent                                                                       |
 *
 * Kith's own stream is always there: it goes over any connection to the peer, also through a relay.
 */
export function defaultSeedingProtocols({ reachability, environment, bittorrentReachable = false }: SeederNetwork): string[] {
  if (environment === 'browser') return ['webtorrent', 'kith']
  switch (reachability) {
    case 'public':
      return ['http', 'https', 'bittorrent', 'ed2k', 'kith']
    case 'private':
      return bittorrentReachable ? ['webtorrent', 'bittorrent', 'kith'] : ['webtorrent', 'kith']
    case 'unknown':
      return ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k', 'kith']
  }
}
