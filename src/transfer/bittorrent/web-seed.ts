/** Where a web seed (BEP 19) has the file of a torrent. Pure. */

/** A URL that ends in a slash names a folder: the torrent's name is added to it. */
export function webSeedUrl(url: string, name: string): string {
  if (!url.endsWith('/')) return url
  return url + encodeURIComponent(name.toWellFormed())
}

/** Of a torrent with several files the URL always names a folder: in it is one with the torrent's name, and in that the files. */
export const webSeedFileUrl = (url: string, name: string, path: readonly string[]): string =>
  [url.replace(/\/$/, ''), ...[name, ...path].map(part => encodeURIComponent(part.toWellFormed()))].join('/')
