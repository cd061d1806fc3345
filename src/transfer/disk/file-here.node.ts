/** Whether a file is in the folder already: then it is neither fetched again nor laid beside itself under a second name. */
import { createHash } from 'node:crypto'
import { createReadStream, lstatSync } from 'node:fs'
import { join } from 'node:path'
import { equalBytes } from '../../base/bytes.ts'
import type { Plan } from '../plan.node.ts'
import { safeName } from '../safe-name.ts'

const READ_BYTES = 1024 * 1024

/**
 * @param onReading called when a file of that name and size is there, which takes a while to read
 * @returns the path of a file of the plan's name, size and SHA-256; undefined when there is none, when the plan does not know the hash, or
 * when the file cannot be read. @throws what `signal` aborts with
 */
export async function fileHere(folder: string, plan: Plan, onReading: () => void, signal: AbortSignal): Promise<string | undefined> {
  if (!plan.fileId || plan.files) return undefined
  const path = join(folder, safeName(plan.name, plan.stem))
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    // Not through a link: what it leads to is elsewhere, and may change there.
    if (!stat?.isFile() || stat.size !== plan.grid.size) return undefined
    onReading()
    const hash = createHash('sha256')
    for await (const part of createReadStream(path, { highWaterMark: READ_BYTES, signal })) hash.update(part as Buffer)
    return equalBytes(hash.digest(), plan.fileId) ? path : undefined
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}
