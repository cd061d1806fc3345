/** Readers of option values, for commander. */
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { InvalidArgumentError } from 'commander'

/** For repeatable options. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

export function portNumber(text: string): number {
  const n = Number(text)
  if (!/^[0-9]{1,5}$/.test(text) || n > 65_535) throw new InvalidArgumentError('A port is a number up to 65535.')
  return n
}

type Collector = (value: string, before?: readonly string[]) => string[]
const collector =
  (isRight: (value: string) => boolean, rule: string): Collector =>
  (value, before) => {
    if (!isRight(value)) throw new InvalidArgumentError(rule)
    return collect(value, before)
  }

export const ipAddresses: Collector = collector(v => isIP(v) !== 0, 'An IP address is needed, for example 0.0.0.0 or ::.')
export const hostPorts: Collector = collector(
  v => Number(/^[^\s/@]{1,253}:([0-9]{1,5})$/.exec(v)?.[1]) <= 65_535,
  'It looks like host:port.'
)
export const rpcUrls: Collector = collector(v => /^https?:\/\/[^\s/]/.test(v) && URL.canParse(v), 'It looks like http://host:port.')

/**
 * An address for a node, which may have another working directory. Links come out of mails and chats: with the quotes around them, and broken
 * into lines. No link has white space in it, so what is there was added on the way.
 */
export function addressOf(text: string): string {
  const bare = text
    .trim()
    .replace(/^(?<open>["'`<\u2018\u201c\u201e\u00ab])(?<inner>[\s\S]*)["'`>\u2018\u2019\u201c\u201d\u00bb]$/u, '$<inner>')
    .trim()
  if (/^(?:kith|magnet|ed2k|https?):/i.test(bare)) return bare.replace(/\s*[\r\n]+\s*/g, '')
  if (/^[0-9a-z]{20,}$/i.test(bare)) return bare
  const isFile = !/^[a-z0-9+]{2,}:/i.test(text) && /\.torrent$/i.test(text)
  return isFile ? resolve(text) : text
}

/** `--protocol a --protocol b` and `--protocols a,b` say the same. What does not name a protocol is for the node to refuse. */
export function protocolsOf(options: { readonly protocol?: readonly string[]; readonly protocols?: string }): {
  readonly protocols?: readonly string[]
} {
  const listed = options.protocols?.split(',').map(p => p.trim()) ?? []
  const names = [...new Set([...(options.protocol ?? []), ...listed])]
  return names.length === 0 ? {} : { protocols: names }
}
