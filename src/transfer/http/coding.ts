/** Content codings for ordinary clients (RFC 9110 §12.5.3): what they take, and which files may be worth it. Never for Kith peers. Pure. */
import type { Share } from '../protocol.ts'
import { MAX_ENCODED_BYTES, MIN_ENCODED_BYTES } from './limits.ts'

export type Coding = 'br' | 'gzip'
/** In the order of preference. */
export const CODINGS: readonly Coding[] = ['br', 'gzip']

const TEXT =
  /^(?:text\/.+|application\/(?:json|xml|javascript|ecmascript|x-javascript|x-sh|x-tar|sql|yaml|toml|rtf|wasm|postscript|.+\+(?:json|xml))|image\/(?:svg\+xml|bmp)|font\/(?:ttf|otf))$/i

/** Whether the file's type and size say that it could be sent compressed: its answers then depend on Accept-Encoding. */
export const mayBeEncoded = (share: Share): boolean =>
  share.pricePerMb === 0n && share.grid.size >= MIN_ENCODED_BYTES && share.grid.size <= MAX_ENCODED_BYTES && TEXT.test(share.mime)

/** The coding that a client likes best; undefined: as it is. What is malformed counts for nothing. */
export function chooseCoding(header: string | undefined): Coding | undefined {
  const weights = new Map<string, number>()
  for (const item of header?.split(',') ?? []) {
    const m = /^[ \t]*([a-zA-Z0-9*-]{1,32})[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?$/.exec(item)
    if (m) weights.set(m[1]!.toLowerCase(), Number(m[2] ?? 1))
  }
  const weightOf = (name: string): number => weights.get(name) ?? weights.get('*') ?? 0
  const identity = weights.get('identity') ?? 0
  let best: Coding | undefined
  for (const coding of CODINGS) if (weightOf(coding) > (best ? weightOf(best) : 0) && weightOf(coding) >= identity) best = coding
  return best
}
