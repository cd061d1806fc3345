/**
 * The `kith:` link: where a file can be named in one line.
 *
 *     kith:<cid>?root=<base64url>&size=<bytes>&name=<percent-encoded>&enc=<key|passphrase>&via=<multiaddr>…#key=<base64url>
 *
 * Only the CID is required. `root` lets each chunk be checked at once. `via` (≤ 8) are addresses to ask first.  `enc`: the file
 * is encrypted, by the key in the fragment or by a passphrase. Secrets live in the fragment only. Unknown parameters are ignored; a known one may appear once (`via` more often).
 * Spec: docs/wire/transfer.md §6
 */
import { base64UrlToBytes, bytesToBase64Url } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { formatCid, parseCid } from './cid.ts'
import { CHUNK_BYTES, MAX_CHUNKS, MAX_LINK_CHARS, MAX_LINK_VIA, MAX_NAME_BYTES } from './limits.ts'

export interface Link {
  readonly fileId: Uint8Array
  readonly root: Uint8Array | undefined
  readonly size: number | undefined
  /** Display text from whoever made the link: never a path. */
  readonly name: string | undefined
  /** multiaddrs with /p2p/. */
  readonly via: readonly string[]
  /** The file is encrypted: what opens it. */
  readonly encrypted?: 'key' | 'passphrase' | undefined
  /** 32 bytes: the secret of the fragment. */
  readonly key?: Uint8Array | undefined
}

export function formatLink(link: Link): string {
  const params: string[] = []
  if (link.root) params.push(`root=${bytesToBase64Url(link.root)}`)
  if (link.size !== undefined) params.push(`size=${link.size}`)
  if (link.name !== undefined) params.push(`name=${encodeURIComponent(link.name)}`)
  if (link.encrypted !== undefined) params.push(`enc=${link.encrypted}`)
  for (const via of link.via) params.push(`via=${encodeURIComponent(via).replaceAll('%2F', '/')}`)
  const fragment = link.key ? `#key=${bytesToBase64Url(link.key)}` : ''
  return `kith:${formatCid(link.fileId)}${params.length > 0 ? `?${params.join('&')}` : ''}${fragment}`
}

/** @throws BAD_LINK with what is wrong in words */
export function parseLink(text: string): Link {
  const bad = (why: string): never => {
    throw new KithError('BAD_LINK', `the kith: link ${why}`, {}, { hint: 'copy the whole link again, in quotes' })
  }
  if (text.length > MAX_LINK_CHARS) bad('is too long')
  const m = /^kith:([a-z0-9]+)(?:\?([^#]*))?(?:#(.*))?$/.exec(text)
  if (!m) return bad('is not complete')
  const seen = new Set<string>()
  let root: Uint8Array | undefined
  let size: number | undefined
  let name: string | undefined
  let encrypted: Link['encrypted']
  const via: string[] = []
  for (const pair of (m[2] ?? '').split('&').filter(p => p !== '')) {
    const at = pair.indexOf('=')
    const key = at < 0 ? pair : pair.slice(0, at)
    const value = decode(at < 0 ? '' : pair.slice(at + 1)) ?? bad('has a damaged escape')
    if (seen.has(key) && key !== 'via') bad(`names ${JSON.stringify(key.slice(0, 20))} twice`)
    seen.add(key)
    if (key === 'root') root = readRoot(value) ?? bad('has a damaged root')
    else if (key === 'size') size = readSize(value) ?? bad('has an impossible size')
    else if (key === 'name')
      name =
        value.isWellFormed() && value.length > 0 && value.length <= MAX_NAME_BYTES
          ? value
          : bad('has a name that is empty, broken or too long')
    else if (key === 'enc') encrypted = value === 'key' || value === 'passphrase' ? value : bad('asks for an unknown encryption')
    else if (key === 'via') via.push(value)
  }
  if (via.length > MAX_LINK_VIA) bad('has too many addresses')
  if (via.some(v => !v.startsWith('/') || v.length > 512)) bad('has a damaged address')
  const link = { fileId: parseCid(m[1]!), root, size, name, via }
  if (encrypted === undefined) return link
  return encrypted === 'key'
    ? { ...link, encrypted, key: readKey(m[3] ?? '') ?? bad('lacks its key: what follows # was cut off') }
    : { ...link, encrypted }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
function readKey(fragment: string): Uint8Array | undefined {
  const m = /^key=([A-Za-z0-9_-]{43})$/.exec(fragment)
  return m ? readRoot(m[1]!) : undefined
}
function readRoot(text: string): Uint8Array | undefined {
  try {
    const bytes = base64UrlToBytes(text)
    return bytes.length === 32 ? bytes : undefined
  } catch {
    return undefined
  }
}
function readSize(text: string): number | undefined {
  const n = Number(text)
  return /^(0|[1-9][0-9]{0,15})$/.test(text) && n <= MAX_CHUNKS * CHUNK_BYTES ? n : undefined
}
