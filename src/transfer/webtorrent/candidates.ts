/** Which addresses of a description are tried or told: the address rules of every other protocol (threats BT13, HT8-HT10). */
import { canonicalIp } from '../../net/address-scope.ts'
import { type AddressPolicy, checkClass, checkPort, classOfAddress } from '../address-filter.ts'
import { MAX_CANDIDATES_PER_ADDRESS } from './limits.ts'
import type { Candidate, Description } from './sdp.ts'

/**
 * A description without the candidates that the policy forbids. Names (mDNS) always go: they would be looked up in our own network by a
 * stranger's wish. Of one address only the first few stay: each is sent half a dozen questions, and nobody has proved that it is theirs.
 */
export function keepAllowed(description: Description, policy: AddressPolicy): Description {
  const counts = new Map<string, number>()
  const isOneOfFew = ({ address }: Candidate): boolean => {
    const key = canonicalIp(address) ?? address
    const count = (counts.get(key) ?? 0) + 1
    counts.set(key, count)
    return count <= MAX_CANDIDATES_PER_ADDRESS
  }
  return { ...description, candidates: description.candidates.filter(c => isAllowed(c, policy) && isOneOfFew(c)) }
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
