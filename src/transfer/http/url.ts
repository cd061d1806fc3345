/** A plain HTTP(S) URL taken apart for a request. The checks are in ../address-filter.ts. Pure. */
import { checkUrl } from '../address-filter.ts'

export interface UrlParts {
  readonly tls: boolean
  /** Name (punycode) or IP literal without brackets. */
  readonly host: string
  readonly port: number
  /** Host header. */
  readonly authority: string
  /** Path with query. */
  readonly path: string
  /** Strong ETag the file must have, from `withEtag`. */
  readonly etag: string | undefined
}

/** An URL and the ETag it was probed with in one text, for `Endpoint.extra`. A space cannot be part of either. */
export const withEtag = (url: string, etag: string | undefined): string => (etag === undefined ? url : `${url} ${etag}`)

/** Takes apart what `withEtag` joined. Addresses are checked when they are resolved. @throws URL_FORBIDDEN */
export function splitUrl(text: string): UrlParts {
  const [url = '', etag] = text.split(' ')
  const checked = checkUrl(url, { allowPrivate: true, allowLoopback: true })
  return { ...checked, etag: etag !== undefined && isStrongEtag(etag) ? etag : undefined }
}

/** `"…"` in printable ASCII; weak tags do not promise equal bytes. */
export const isStrongEtag = (etag: string): boolean => /^"[\x21\x23-\x7e]{1,200}"$/.test(etag)
