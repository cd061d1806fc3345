/** Where a web seed (BEP 19) has the file of a torrent. Pure. */

/** A URL that ends in a slash names a folder: the torrent's name is added to it. */
export function webSeedUrl(url: string, name: string): string {
  if (!url.endsWith('/')) return url
  return url + encodeURIComponent(name.toWellFormed())
}
