/** Which file an address means, without what opens it: a link whose key was cut off, or kept back, still says so. */
import { type Address, parseAddress } from '../transfer/address.ts'

/** @throws BAD_LINK */
export function parsePublicAddress(text: string): Address {
  if (!text.trim().startsWith('kith:')) return parseAddress(text)
  return parseAddress(text.split('#', 1)[0]!.replace(/([?&])enc=[a-z]+&?/, '$1'))
}
