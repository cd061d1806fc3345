/**
 * How far an IP address or a multiaddr reaches: this machine, the local network, a link, or everybody. Pure; every spelling that
 * hides one address in another (IPv4-mapped, NAT64, 6to4) counts as the address inside.
 */
import { MAX_ADDRESS_CHARS } from './limits.ts'

/** `unusable`: nothing that a peer could be reached at (unspecified, multicast, documentation, reserved, unreadable). */
export type Scope = 'loopback' | 'private' | 'link-local' | 'public' | 'unusable'

/** What a multiaddr names first: where the connection would go. */
export interface AddressHost {
  /** Canonical IP text, or the DNS name in lower case. */
  readonly host: string
  readonly isName: boolean
  /** TCP port; undefined for other transports. */
  readonly port: number | undefined
  /** PeerId text at the end, if there is one. */
  readonly peerId: string | undefined
  /** PeerId text of the relay through which it goes, which is then what host and port name; undefined for a direct address. */
  readonly relay: string | undefined
}

/** Scope of an IPv4 or IPv6 address in text. A zone ("%eth0") is ignored. */
export function scopeOfIp(ip: string): Scope {
  const v4 = parseIpv4(ip)
  if (v4) return scopeOfIpv4(v4)
  const v6 = parseIpv6(ip.split('%')[0]!)
  return v6 ? scopeOfIpv6(v6) : 'unusable'
}

/**
 * Scope of a multiaddr. DNS names and ways through a relay are `unusable` here: where they lead is not known before they are resolved, or
 * never.
 */
export function scopeOfAddress(address: string): Scope {
  const parsed = parseAddress(address)
  return !parsed || parsed.isName || parsed.relay !== undefined ? 'unusable' : scopeOfIp(parsed.host)
}

/** One spelling for one IP address: IPv4-mapped IPv6 as IPv4, IPv6 in full groups. undefined when it is not an IP address. */
export function canonicalIp(ip: string): string | undefined {
  const v4 = parseIpv4(ip)
  if (v4) return v4.join('.')
  const v6 = parseIpv6(ip.split('%')[0]!)
  if (!v6) return undefined
  return embedded(v6, 'mapped')?.join('.') ?? v6.map(g => g.toString(16)).join(':')
}

/** What counts as one customer for limits: an IPv4 address, or an IPv6 /64, of which one customer has all. */
export function rateKeyOf(ip: string): string {
  const canonical = canonicalIp(ip)
  if (canonical === undefined) return 'unknown'
  return canonical.includes(':') ? canonical.split(':').slice(0, 4).join(':') : canonical
}

/** Network whose members probably have one operator: IPv4 /24, IPv6 /48. */
export function networkOf(ip: string): string {
  const canonical = canonicalIp(ip)
  if (canonical === undefined) return 'unknown'
  return canonical.includes(':') ? canonical.split(':').slice(0, 3).join(':') : canonical.split('.').slice(0, 3).join('.')
}

/**
 * Reads where a multiaddr leads: `/ip4/…/tcp/…` with or without a PeerId, or through one relay, which must be named:
 * `/ip4/…/tcp/…/p2p/RELAY/p2p-circuit[/p2p/PEER]`. undefined when it is neither, names no host, or has port 0.
 */
export function parseAddress(address: string): AddressHost | undefined {
  if (address.length > MAX_ADDRESS_CHARS || !address.startsWith('/')) return undefined
  const parts = address.split('/').slice(1)
  const circuit = parts.indexOf('p2p-circuit')
  if (circuit < 0) return parseDirect(parts)
  const rest = parts.slice(circuit + 1)
  const relay = parseDirect(parts.slice(0, circuit))
  const isWhole = rest.length === 0 || (rest.length === 2 && rest[0] === 'p2p' && rest[1] !== '')
  if (!relay?.peerId || !isWhole || parts[circuit - 2] !== 'p2p') return undefined
  return { ...relay, peerId: rest[1], relay: relay.peerId }
}

function parseDirect(parts: string[]): AddressHost | undefined {
  if (parts[0] === 'ip6zone') parts.splice(0, 2)
  const [kind, value = '', transport, portText = ''] = parts
  const isName = kind === 'dns' || kind === 'dns4' || kind === 'dns6'
  const host = isName ? nameOf(value) : kind === 'ip4' || kind === 'ip6' ? canonicalIp(value) : undefined
  if (host === undefined || !/^[0-9]{1,5}$/.test(portText)) return undefined
  const port = Number(portText)
  if ((transport !== 'tcp' && transport !== 'udp') || port === 0 || port > 65535) return undefined
  const p2p = parts.lastIndexOf('p2p')
  const peerId = p2p >= 0 ? parts[p2p + 1] : undefined
  return { host, isName, port: transport === 'tcp' ? port : undefined, peerId, relay: undefined }
}

const nameOf = (text: string): string | undefined =>
  /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$/.test(text) ? text.toLowerCase() : undefined

function parseIpv4(text: string): number[] | undefined {
  if (!/^(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}$/.test(text)) return undefined
  const parts = text.split('.').map(Number)
  return parts.every(p => p <= 255) ? parts : undefined
}

/** Eight groups of 16 bit. */
function parseIpv6(text: string): number[] | undefined {
  if (text.length > 45 || !/^[0-9a-fA-F:.]+$/.test(text)) return undefined
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map(half => groupsOf(half))
  if (!head || (halves.length === 2 && !tail)) return undefined
  const missing = 8 - head.length - (tail?.length ?? 0)
  if (halves.length === 1) return missing === 0 ? head : undefined
  return missing >= 1 ? [...head, ...Array<number>(missing).fill(0), ...tail!] : undefined
}

function groupsOf(half: string): number[] | undefined {
  if (half === '') return []
  const groups: number[] = []
  const parts = half.split(':')
  for (const [i, part] of parts.entries()) {
    const v4 = part.includes('.') && i === parts.length - 1 ? parseIpv4(part) : undefined
    if (v4) groups.push(v4[0]! * 256 + v4[1]!, v4[2]! * 256 + v4[3]!)
    else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16))
    else return undefined
  }
  return groups
}

function scopeOfIpv4([a, b, c]: readonly number[]): Scope {
  const is = (x: number, y?: number, z?: number): boolean => a === x && (y === undefined || b === y) && (z === undefined || c === z)
  if (is(127)) return 'loopback'
  if (is(169, 254)) return 'link-local'
  if (is(10) || is(192, 168) || (is(172) && b! >= 16 && b! <= 31) || (is(100) && b! >= 64 && b! <= 127)) return 'private'
  // 198.18/15 is for tests between two networks: reachable only from inside one.
  if (is(198, 18) || is(198, 19)) return 'private'
  if (is(0) || is(192, 0, 0) || is(192, 0, 2) || is(192, 88, 99) || is(198, 51, 100) || is(203, 0, 113) || a! >= 224) return 'unusable'
  return 'public'
}

function scopeOfIpv6(g: readonly number[]): Scope {
  for (const kind of ['mapped', 'nat64', '6to4'] as const) {
    const inside = embedded(g, kind)
    if (inside) return scopeOfIpv4(inside)
  }
  const first = g[0]!
  if (g.slice(0, 7).every(x => x === 0) && g[7] === 1) return 'loopback'
  if ((first & 0xfe00) === 0xfc00) return 'private'
  if ((first & 0xffc0) === 0xfe80) return 'link-local'
  // 2000::/3 is all of the public space; in it, Teredo, ORCHID, documentation and benchmarks are not reachable.
  if ((first & 0xe000) !== 0x2000) return 'unusable'
  if (first === 0x2001 && (g[1]! < 0x200 || g[1] === 0xdb8)) return 'unusable'
  if (first === 0x3fff && g[1]! < 0x1000) return 'unusable'
  return 'public'
}

function embedded(g: readonly number[], kind: 'mapped' | 'nat64' | '6to4'): number[] | undefined {
  const bytes = (hi: number, lo: number): number[] => [hi >> 8, hi & 255, lo >> 8, lo & 255]
  const zeros = (from: number, to: number): boolean => g.slice(from, to).every(x => x === 0)
  if (kind === 'mapped') return zeros(0, 5) && g[5] === 0xffff ? bytes(g[6]!, g[7]!) : undefined
  if (kind === 'nat64') return g[0] === 0x64 && g[1] === 0xff9b && zeros(2, 6) ? bytes(g[6]!, g[7]!) : undefined
  return g[0] === 0x2002 ? bytes(g[1]!, g[2]!) : undefined
}
