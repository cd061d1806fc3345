/** What stands for the other end of a link before anybody is known. PeerIds are free, so a public address counts before them. */
import { networkOf, rateKeyOf, scopeOfIp } from '../../net/address-scope.ts'
import type { MessageLink } from '../link.ts'

/** Its public address (an IPv6 /64 is one); else, on this machine, in the local network or behind a relay, its PeerId. */
export const originKey = ({ address, peerId, via }: Pick<MessageLink, 'address' | 'peerId' | 'via'>): string =>
  address !== undefined && (peerId === undefined || scopeOfIp(address) === 'public') ? rateKeyOf(address) : (peerId ?? via)

/** Where it is, to tell who takes how many places: the network of a public address, else the address; all that comes through relays is one. */
export const originNetwork = ({ address }: Pick<MessageLink, 'address'>): string =>
  address === undefined ? 'relayed' : scopeOfIp(address) === 'public' ? networkOf(address) : rateKeyOf(address)
