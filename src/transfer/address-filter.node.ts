/** Names to addresses: resolved once, every answer checked, one pinned (threats HT8, HT9: DNS rebinding). */
import { lookup as systemLookup } from 'node:dns/promises'
import { KithError } from '../base/errors.ts'
import { type AddressPolicy, checkClass, checkPort, classOfAddress, classOfHost } from './address-filter.ts'

/** All addresses of a name. */
export type Resolve = (name: string) => Promise<readonly string[]>

const MAX_ADDRESSES = 32

const systemResolve: Resolve = async name => (await systemLookup(name, { all: true })).map(a => a.address)

/**
 * The IP address to connect to for `host`. Literals pass through the same check. A name that resolves to any forbidden address is
 * refused as a whole: an honest public name has none. Connect to the returned address, never to the name again.
 * @throws FORBIDDEN_ADDRESS, URL_FORBIDDEN (port), SOURCE_LOST when the name does not resolve
 */
export async function resolveAndCheck(
  host: string,
  port: number,
  policy: AddressPolicy,
  resolve: Resolve = systemResolve
): Promise<string> {
  checkPort(port)
  const literal = classOfHost(host)
  if (literal) checkClass(literal, policy, host)
  if (literal && (host.includes(':') || /^[0-9.]+$/.test(host))) return host
  const addresses = await resolve(host).catch((cause: unknown) => {
    throw new KithError('SOURCE_LOST', 'the name does not resolve', { host }, { cause })
  })
  for (const address of addresses.slice(0, MAX_ADDRESSES)) checkClass(classOfAddress(address), policy, host)
  const [first] = addresses
  if (first === undefined) throw new KithError('SOURCE_LOST', 'the name has no address', { host })
  return first
}
