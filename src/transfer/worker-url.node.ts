/** Where a worker's source is: in a folder beside this file from a checkout (.ts), or beside the bundle (.js). */
const SOURCES = {
  'verify-worker': './disk/verify-worker.node.ts',
  'follow-worker': './disk/follow-worker.node.ts',
  'hash-worker': './hashing/hash-worker.node.ts',
  'encrypt-worker': './encryption/encrypt-worker.node.ts'
} as const

export function workerUrl(name: keyof typeof SOURCES): URL {
  return new URL(import.meta.url.endsWith('.ts') ? SOURCES[name] : `./${name}.js`, import.meta.url)
}
