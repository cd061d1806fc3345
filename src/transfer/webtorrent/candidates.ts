/** Which addresses of a description are tried or told: the address rules of every other protocol (threats BT13, HT8-HT10). */
import { type AddressPolicy, checkClass, checkPort, classOfAddress } from '../address-filter.ts'
import type { Candidate, Description } from './sdp.ts'

/**
 * A description without the candidates that the policy forbids. Names (mDNS) always go: they would be looked up in our own network by a
 * stranger's wish.
 */
export function keepAllowed(description: Description, policy: AddressPolicy): Description {
  return { ...description, candidates: description.candidates.filter(c => isAllowed(c, policy)) }
}

function isAllowed({ address, port }: Candidate, policy: AddressPolicy): boolean {
  if (address.endsWith('.local')) return false
  try {
    checkPort(port)
    checkClass(classOfAddress(address), policy, address)
    return true
  } catch {
    return false
  }
}
