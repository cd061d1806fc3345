/**
 * Whether others can connect to this host from outside its own network. Three things tell: what the user set, what peers found when they
 * dialled back (AutoNAT v2), and which addresses the machine itself has. Pure.
 */
import { scopeOfIp } from './address-scope.ts'

/** `unknown`: peers of the same network can connect, whether others can is not known. */
export type Reachability = 'public' | 'private' | 'unknown'

export interface ReachabilityFacts {
  /** IP addresses at which this host listens. */
  readonly interfaces: readonly string[]
  /** What peers found out; undefined: nothing yet. */
  readonly autonat: 'public' | 'private' | undefined
  /** What the user says; it overrides the rest. */
  readonly setting: 'public' | 'private' | undefined
}

/**
 * The user's word, else what peers found, else a public IPv4 address of our own: routers let nobody in to an IPv6 address unless told to.
 * A host that does not listen is private.
 */
export function decideReachability({ interfaces, autonat, setting }: ReachabilityFacts): Reachability {
  if (setting !== undefined) return setting
  if (interfaces.length === 0) return 'private'
  if (autonat !== undefined) return autonat
  return interfaces.some(ip => !ip.includes(':') && scopeOfIp(ip) === 'public') ? 'public' : 'unknown'
}
