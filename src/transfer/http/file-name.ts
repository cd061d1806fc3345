/** File names in Content-Disposition (RFC 6266, RFC 8187): display text both ways, never a path. Pure. */

/** Characters that move the cursor, reverse the line, or separate folders. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069/\\]/g
const MAX_CHARS = 255

/** `attachment` with the name in ASCII for old readers and in UTF-8 for the others; the result is printable ASCII without CR or LF. */
export function contentDisposition(name: string): string {
  const clean = name.toWellFormed().replace(UNSAFE, '_').slice(0, MAX_CHARS).toWellFormed() || 'file'
  const ascii = clean.replace(/[^A-Za-z0-9 ._()+,=@-]/g, '_')
  const encoded = encodeURIComponent(clean).replace(/['()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`
}

/** The name in a Content-Disposition header, cleaned for display; undefined when there is none. */
export function fileNameOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  const extended = /;\s*filename\*\s*=\s*utf-8'[a-z-]{0,20}'([^;\s"]{1,1000})/i.exec(header)
  const plain = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.){0,1000})"|([^\s;"]{1,1000}))/i.exec(header)
  const name = (extended && decode(extended[1]!)) ?? plain?.[1]?.replace(/\\(.)/g, '$1') ?? plain?.[2]
  return name === undefined ? undefined : cleanName(name)
}

/** The last part of a URL's path, decoded and cleaned; undefined when it has none. */
export function fileNameOfPath(path: string): string | undefined {
  const last = path.split('?')[0]!.split('/').at(-1) ?? ''
  return cleanName(decode(last) ?? last)
}

function cleanName(name: string): string | undefined {
  const clean = name.toWellFormed().replace(UNSAFE, '_').trim().slice(0, MAX_CHARS).toWellFormed()
  return /^[._ ]*$/.test(clean) ? undefined : clean
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
