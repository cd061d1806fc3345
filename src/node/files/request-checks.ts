/** What is wrong with a request is said at once, before a file is hashed or a peer is asked. */
import { KithError } from '../../base/errors.ts'
import type { Address } from '../../transfer/address.ts'
import { checkProtocol } from '../protocols.ts'
import type { GetRequest, ShareRequest } from '../types.ts'

/** Slower transfers only look as if they hung. */
const MIN_RATE = 1024

/** @throws BAD_RATE, BAD_ADDRESS, UNKNOWN_PROTOCOL */
export function checkShareRequest({ uploadLimit, trackers = [], protocols = [] }: ShareRequest): void {
  checkRate(uploadLimit)
  for (const tracker of trackers) checkTracker(tracker)
  for (const name of protocols) checkProtocol(name)
}

/** @throws BAD_RATE, BAD_ADDRESS, UNKNOWN_PROTOCOL */
export function checkGetRequest(address: Address, { limit, trackers = [], peers = [], protocols = [], prefer }: GetRequest): void {
  checkRate(limit)
  for (const tracker of trackers) checkTracker(tracker)
  for (const peer of peers) checkPeer(peer)
  for (const name of prefer === undefined ? protocols : [...protocols, prefer]) checkProtocol(name)
  const { needs, what } = NEEDS[address.kind]
  if (protocols.length > 0 && !needs.some(n => protocols.includes(n)))
    throw new KithError('UNKNOWN_PROTOCOL', `${what} is fetched over ${needs.join(' or ')}`, {}, { hint: 'leave --protocol away' })
}

/** Kinds of addresses and the protocols that understand them. */
const NEEDS: Readonly<Record<Address['kind'], { readonly needs: readonly string[]; readonly what: string }>> = {
  kith: { needs: ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k', 'kith'], what: 'a kith: link' },
  url: { needs: ['http', 'https'], what: 'a URL' },
  magnet: { needs: ['bittorrent', 'webtorrent'], what: 'a magnet link' },
  torrent: { needs: ['bittorrent', 'webtorrent'], what: 'a torrent' },
  ed2k: { needs: ['ed2k'], what: 'an ed2k link' }
}

function checkRate(bytesPerSecond: number | undefined): void {
  if (bytesPerSecond === undefined || bytesPerSecond >= MIN_RATE) return
  throw new KithError('BAD_RATE', `a limit is at least ${MIN_RATE} bytes per second`, { bytesPerSecond }, { hint: 'for example 2M' })
}

function checkTracker(url: string): void {
  if (url.length <= 2048 && /^(https?|udp|wss?):\/\/[^\s/]/i.test(url) && URL.canParse(url)) return
  const hint = 'a tracker looks like https://host/announce, udp://host:port or wss://host'
  throw new KithError('BAD_ADDRESS', `${JSON.stringify(url.slice(0, 60))} is not the URL of a tracker`, {}, { hint })
}

function checkPeer(text: string): void {
  const port = Number(/^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253}):([0-9]{1,5})$/.exec(text)?.[1])
  if (port >= 1 && port <= 65_535) return
  throw new KithError('BAD_ADDRESS', `${JSON.stringify(text.slice(0, 60))} is not host:port`, {}, { hint: 'for example 192.0.2.7:6881' })
}
