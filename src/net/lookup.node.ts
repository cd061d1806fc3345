/** The system's name resolution, as `openBootstrap` takes it. */
import { lookup, resolveTxt } from 'node:dns/promises'

/** IP addresses of a DNS name, in the system's order. @throws the system's error codes (ENOTFOUND) */
export async function lookupName(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(found => found.address)
}

/** TXT records of a DNS name, each put together. @throws the system's error codes */
export async function lookupTxt(name: string): Promise<readonly string[]> {
  return (await resolveTxt(name)).map(parts => parts.join(''))
}
