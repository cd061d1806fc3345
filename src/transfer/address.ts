/** What a user may give to `kith get`, told apart by its form alone. */
import { hexToBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { parseCid } from '../wire/cid.ts'
import { type Link, parseLink } from '../wire/link.ts'
import { MAX_ADDRESS_CHARS } from './limits.ts'

export type Address =
  | { readonly kind: 'kith'; readonly link: Link }
  | { readonly kind: 'magnet'; readonly text: string }
  | { readonly kind: 'torrent'; readonly path: string }
  | { readonly kind: 'ed2k'; readonly text: string }
  | { readonly kind: 'url'; readonly url: URL }

/** @throws BAD_LINK with what would be understood */
export function parseAddress(input: string): Address {
  const text = input.trim()
  if (text.length > MAX_ADDRESS_CHARS) throw bad('the address is too long')
  if (text.startsWith('kith:')) return { kind: 'kith', link: parseLink(text) }
  if (text.startsWith('magnet:')) return { kind: 'magnet', text }
  if (/^https?:\/\//i.test(text)) return { kind: 'url', url: parseUrl(text) }
  if (/^[0-9a-fA-F]{64}$/.test(text)) return { kind: 'kith', link: bare(hexToBytes(text)) }
  if (/^b[a-z2-7]{58}$/.test(text)) return { kind: 'kith', link: bare(parseCid(text)) }
  if (/\.torrent$/i.test(text)) return { kind: 'torrent', path: text }
  if (/^ed2k:/i.test(text)) return { kind: 'ed2k', text }
  throw bad('this is not an address Kith understands')
}

function parseUrl(text: string): URL {
  try {
    return new URL(text)
  } catch (cause) {
    throw new KithError('BAD_LINK', 'the URL is damaged', {}, { cause })
  }
}

const bare = (fileId: Uint8Array): Link => ({ fileId, root: undefined, size: undefined, name: undefined, via: [] })
const bad = (why: string): KithError =>
  new KithError(
    'BAD_LINK',
    why,
    {},
    { hint: 'give a kith: link, a file id (64 hex digits), a CID, a magnet: link, a .torrent file, an ed2k link or an http(s) URL' }
  )
