/** `/dnsaddr/NAME/p2p/PEER`: multiaddrs of a peer in TXT records of `_dnsaddr.NAME`, perhaps by way of further names. */
import { MAX_ADDRESSES_PER_PROVIDER, MAX_DNSADDR_LOOKUPS } from './limits.ts'

/** TXT records of a DNS name. Rejects when there are none. */
export type LookupTxt = (name: string) => Promise<readonly string[]>

const FORM = /^\/dnsaddr\/([A-Za-z0-9][A-Za-z0-9.-]{0,250})\/p2p\/([1-9A-HJ-NP-Za-km-z]{20,90})$/

/** PeerId that the address is for; undefined when it is not a /dnsaddr with one. */
export const dnsaddrPeer = (address: string): string | undefined => FORM.exec(address)?.[2]

/** All addresses of that peer that its names lead to, within MAX_DNSADDR_LOOKUPS questions. Never rejects. */
export async function resolveDnsaddr(address: string, lookupTxt: LookupTxt): Promise<string[]> {
  const peer = dnsaddrPeer(address)
  const found = new Set<string>()
  const asked = new Set<string>()
  const waiting = [address]
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const name = FORM.exec(next)?.[1]?.toLowerCase()
    if (name === undefined || asked.has(name) || asked.size >= MAX_DNSADDR_LOOKUPS) continue
    asked.add(name)
    for (const record of await lookupTxt(`_dnsaddr.${name}`).catch(() => [])) {
      const value = record.startsWith('dnsaddr=') ? record.slice('dnsaddr='.length) : ''
      if (!value.endsWith(`/p2p/${peer}`)) continue
      if (dnsaddrPeer(value) === peer) waiting.push(value)
      else if (found.size < MAX_ADDRESSES_PER_PROVIDER) found.add(value)
    }
  }
  return [...found]
}
