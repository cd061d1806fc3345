/** Where a worker's source is: beside this file from a checkout (.ts), or beside the bundle (.js). */
export function workerUrl(name: 'verify-worker' | 'follow-worker' | 'hash-worker' | 'encrypt-worker'): URL {
  return import.meta.url.endsWith('.ts') ? new URL(`./${name}.node.ts`, import.meta.url) : new URL(`./${name}.js`, import.meta.url)
}
