/** Which address a listener takes of those in `listen`. Pure. */

/** Everywhere, over IPv4 and IPv6. */
const ANY_V4 = '0.0.0.0'
const ANY_V6 = '::'

/** Listeners take one address: `::` stands for IPv4 as well, unless only that was named. */
export function tcpHost(listen: readonly string[]): string {
  return listen.includes(ANY_V4) && listen.includes(ANY_V6) ? ANY_V6 : (listen[0] ?? ANY_V4)
}

/** For what speaks IPv4 alone, or first: Kad, the DHT of BitTorrent. Without any the first address. */
export function ipv4Host(listen: readonly string[]): string {
  return listen.find(ip => !ip.includes(':')) ?? listen[0] ?? ANY_V4
}

/** What this machine itself connects to for a listener of `listen`, as in a URL. */
export function ownHost(listen: readonly string[]): string {
  const host = listen[0] ?? ANY_V4
  if (host === ANY_V4) return '127.0.0.1'
  if (host === ANY_V6) return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
