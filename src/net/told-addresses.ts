/**
 * Which addresses are told to whom, as other libp2p programs do it: whoever is connected from the internet could not use addresses of a
 * local network or of this machine, and would learn what is behind a router. Scope gates of others refuse them as well.
 */
import type { Connection } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { parseAddress, type Scope, scopeOfIp } from './address-scope.ts'
import { ipOf } from './libp2p-rpc.ts'

/** Scopes that are told to those connected from a scope; all others hear of public addresses only. */
const TOLD: Readonly<Partial<Record<Scope, readonly Scope[]>>> = {
  loopback: ['loopback', 'private', 'link-local'],
  private: ['private', 'link-local'],
  'link-local': ['private', 'link-local']
}
const HIDDEN: readonly Scope[] = ['loopback', 'private', 'link-local']

/**
 * @param address multiaddr; through a relay it is the relay's address that counts, and names are told: the user chose to announce them
 * @param askers scopes of the asker's connections, none if it has no direct one
 */
export function mayBeTold(address: string, askers: readonly Scope[]): boolean {
  const parsed = parseAddress(address)
  if (!parsed || parsed.isName) return true
  const scope = scopeOfIp(parsed.host)
  return !HIDDEN.includes(scope) || askers.some(a => TOLD[a]?.includes(scope))
}

/** Where these connections of one peer come from, as `mayBeTold` wants it. */
export const askerScopes = (connections: readonly Pick<Connection, 'remoteAddr' | 'direct'>[]): Scope[] =>
  connections.flatMap(c => {
    const ip = ipOf(c)
    return ip === undefined ? [] : [scopeOfIp(ip)]
  })

interface Telling {
  readonly addressManager: { getAddresses(): Multiaddr[] }
}

/** libp2p's components as a service should see them that answers this peer: with the addresses that may be told to it. */
export function componentsToldTo<C extends Telling>(components: C, connection: Connection): C {
  const all = components.addressManager.getAddresses()
  const askers = askerScopes([connection])
  const told = all.filter(a => mayBeTold(a.toString(), askers))
  return told.length === all.length
    ? components
    : (Object.create(components, { addressManager: { value: { getAddresses: () => told } } }) as C)
}
