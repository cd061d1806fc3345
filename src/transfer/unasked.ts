/**
 * What a link names but Kith does not ask, in words: addresses in private networks and of this machine count only when the user names
 * them (threats HT8, BT11, ED6), and who shares at home must be told so, rather than be left waiting.
 */
import { classOfHost } from './address-filter.ts'

/** A tracker (URL) or a peer of a link. */
export interface Named {
  readonly option: '--tracker' | '--peer'
  /** As the option takes it. */
  readonly value: string
}

export const trackersNamed = (urls: readonly string[]): Named[] => urls.map(value => ({ option: '--tracker', value }))
export const peersNamed = (peers: readonly { readonly host: string; readonly port: number }[]): Named[] =>
  peers.map(({ host, port }) => ({ option: '--peer', value: `${host.includes(':') ? `[${host}]` : host}:${port}` }))

/**
 * What to tell the user, with the option that has the first of them asked.
 * @param given what the user named, as it was given @returns undefined when all of it may be asked
 */
export function unaskedText(named: readonly Named[], given: readonly string[]): string | undefined {
  const near = named.filter(n => !given.includes(n.value)).map(n => ({ ...n, host: hostOf(n) }))
  const first = near.find(n => ['private', 'loopback'].includes(classOfHost(n.host) ?? 'public'))
  if (!first) return undefined
  const where = classOfHost(first.host) === 'private' ? 'in a private network' : 'on this machine'
  return `the link names ${first.host}, ${where}; such are asked only when you name them: ${first.option} ${first.value}`
}

function hostOf({ option, value }: Named): string {
  try {
    return new URL(option === '--peer' ? `peer://${value}` : value).hostname.replace(/^\[|\]$/g, '')
  } catch {
    return ''
  }
}
