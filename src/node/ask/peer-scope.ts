/**
 * Where a peer may send this node: to public addresses, and into the local network or this machine only when the peer itself is connected
 * from there, and only to hosts that anybody entitled has named (net/scope-gate.ts). Else a link in a task would be a way to talk to what
 * its giver cannot reach.
 */
import { parseAddress, scopeOfIp } from '../../net/address-scope.ts'
import type { ScopeGate } from '../../net/scope-gate.ts'

export interface PeerScopeDeps {
  readonly gate: Pick<ScopeGate, 'permits'>
  /** multiaddrs of the open connections. */
  peers(): readonly { readonly peerId: string; readonly address: string }[]
}

/** @param address multiaddr that a peer named @param peerIds of that peer */
export function mayBeDialledFor({ gate, peers }: PeerScopeDeps, address: string, peerIds: readonly string[]): boolean {
  const scope = directScope(address, 'relays too')
  if (scope === 'public') return true
  if (scope === undefined || !gate.permits(address)) return false
  return peers().some(p => peerIds.includes(p.peerId) && directScope(p.address) === scope)
}

/** undefined: a name, or nothing that can be dialled; through a relay that is where the relay is, which says nothing of the peer itself. */
function directScope(address: string, relays?: 'relays too'): ReturnType<typeof scopeOfIp> | undefined {
  const parsed = parseAddress(address)
  if (!parsed || parsed.isName || (parsed.relay !== undefined && !relays)) return undefined
  const scope = scopeOfIp(parsed.host)
  return scope === 'unusable' ? undefined : scope
}
