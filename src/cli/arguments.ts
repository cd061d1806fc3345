/** Readers of option values, for commander. */
import { InvalidArgumentError } from 'commander'

/** For repeatable options. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

export function portNumber(text: string): number {
  const n = Number(text)
  if (!/^[0-9]{1,5}$/.test(text) || n > 65_535) throw new InvalidArgumentError('A port is a number up to 65535.')
  return n
}

/** `--protocol a --protocol b` and `--protocols a,b` say the same. */
export function protocolsOf(options: { readonly protocol?: readonly string[]; readonly protocols?: string }): {
  readonly protocols?: readonly string[]
} {
  const listed = options.protocols?.split(',').map(p => p.trim()) ?? []
  const names = [...(options.protocol ?? []), ...listed].filter(p => p !== '')
  return names.length === 0 ? {} : { protocols: names }
}
