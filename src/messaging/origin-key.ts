/** What stands for the other end of a link before anybody is known. PeerIds are free, so a public address counts before them. */
import { rateKeyOf, scopeOfIp } from '../net/address-scope.ts'
import type { MessageLink } from './link.ts'

/** Its public address (an IPv6 /64 is one); else, on this machine, in the local network or behind a relay, its PeerId. */
export const originKey = ({ address, peerId, via }: Pick<MessageLink, 'address' | 'peerId' | 'via'>): string =>
  address !== undefined && (peerId === undefined || scopeOfIp(address) === 'public') ? rateKeyOf(address) : (peerId ?? via)
