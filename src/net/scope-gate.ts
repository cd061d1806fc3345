/**
 * Which addresses may be dialled (DESIGN §6): public ones always; loopback, private and link-local ones only if somebody entitled to
 * named them. There is no switch that opens everything. One gate belongs to one host.
 *
 * | who named it | what it opens                                                                                        |
 * | ------------ | ---------------------------------------------------------------------------------------------------- |
 * | `listen`     | the scope of an explicit listen address (0.0.0.0 opens nothing)                                      |
 * | `bootstrap`  | the scope of a bootstrap address, and its DNS name                                                   |
 * | `user`       | that host alone, at any port: links and mirrors come from strangers, even when the user pasted them  |
 * | `lan`        | that host alone                                                                                      |
 * | `connection` | that host alone: a peer authenticated itself from there                                              |
 */
import { parseAddress, type Scope, scopeOfIp } from './address-scope.ts'
import { MAX_KNOWN_HOSTS } from './limits.ts'

export type AddressSource = 'listen' | 'bootstrap' | 'user' | 'lan' | 'connection'

export class ScopeGate {
  readonly #scopes = new Set<Scope>(['public'])
  /** Hosts by who named them, oldest first, so that no way of learning can push out what another taught. */
  readonly #hosts: Readonly<Record<AddressSource, Set<string>>> = {
    listen: new Set(),
    bootstrap: new Set(),
    user: new Set(),
    lan: new Set(),
    connection: new Set()
  }

  /** Learns from a multiaddr. What cannot be read, and unusable addresses, open nothing. */
  allow(address: string, source: AddressSource): void {
    const parsed = parseAddress(source === 'listen' ? address.replace('/tcp/0', '/tcp/1') : address)
    if (!parsed) return
    if (parsed.isName) {
      if (source === 'user' || source === 'bootstrap') this.#remember(parsed.host, source)
      return
    }
    this.#allowIp(parsed.host, source)
  }

  /** Learns that an IP address may be used, for example that of an authenticated connection. */
  allowIp(ip: string, source: 'user' | 'lan' | 'connection'): void {
    const parsed = parseAddress(`/${ip.includes(':') ? 'ip6' : 'ip4'}/${ip}/tcp/1`)
    if (parsed) this.#allowIp(parsed.host, source)
  }

  /** Whether a multiaddr may be dialled. DNS names count only when the user or a bootstrap list named exactly them. */
  permits(address: string): boolean {
    const parsed = parseAddress(address)
    if (!parsed) return false
    return parsed.isName ? this.#knows(parsed.host) : this.permitsIp(parsed.host)
  }

  /** Whether a connection to this IP address may be made. */
  permitsIp(ip: string): boolean {
    const scope = scopeOfIp(ip)
    if (scope === 'unusable') return false
    if (this.#scopes.has(scope)) return true
    const host = parseAddress(`/${ip.includes(':') ? 'ip6' : 'ip4'}/${ip}/tcp/1`)?.host
    return host !== undefined && this.#knows(host)
  }

  #allowIp(host: string, source: AddressSource): void {
    const scope = scopeOfIp(host)
    if (scope === 'unusable') return
    if (source === 'listen' || source === 'bootstrap') this.#scopes.add(scope)
    else if (scope !== 'public') this.#remember(host, source)
  }

  #remember(host: string, source: AddressSource): void {
    const hosts = this.#hosts[source]
    hosts.delete(host)
    hosts.add(host)
    if (hosts.size > MAX_KNOWN_HOSTS) hosts.delete(hosts.values().next().value!)
  }

  #knows(host: string): boolean {
    return Object.values(this.#hosts).some(hosts => hosts.has(host))
  }
}
