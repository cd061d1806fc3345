/** Readers of option values, for commander. */
import { InvalidArgumentError } from 'commander'

/** For repeatable options. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

export function portNumber(text: string): number {
  const n = Number(text)
  if (!/^[0-9]{1,5}$/.test(text) || n > 65_535) throw new InvalidArgumentError('A port is a number up to 65535.')
  return n
}
