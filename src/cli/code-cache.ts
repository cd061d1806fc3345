/** Node's compile cache for the program's own code: the second start takes half the time. In the user's folders, never in a shared /tmp. */
import { enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { makePrivateFolder } from '../platform/files.node.ts'

export function enableCodeCache(env: Readonly<Record<string, string | undefined>>): void {
  const { KITH_HOME: home, XDG_CACHE_HOME: xdg } = env
  // A relative folder would follow the working directory around; without one there is no cache.
  const folder = home ? join(home, 'cache') : join(xdg || join(homedir(), '.cache'), 'kith')
  if (!isAbsolute(folder)) return
  try {
    makePrivateFolder(folder) // Node would let everybody look into a home that it makes
    enableCompileCache(folder)
  } catch {
    // a home that cannot be written is for the command itself to report
  }
}
