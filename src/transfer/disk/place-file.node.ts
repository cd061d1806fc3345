/** Gives a finished file its name. */
import { linkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { KithError } from '../../base/errors.ts'
import { syncFolder } from '../../platform/files.node.ts'
import { numberedName } from '../safe-name.ts'

/**
 * The file appears under its name at once and whole; what is there already is never replaced.
 * @param path of the file, durable, in the same file system
 * @returns the path it got: `name`, or `name (2)` … @throws PATH_FORBIDDEN
 */
export function placeFile(path: string, folder: string, name: string): string {
  for (let n = 1; n < 10_000; n++) {
    const target = join(folder, n === 1 ? name : numberedName(name, n))
    try {
      linkSync(path, target) // unlike rename, link never replaces what is there
      unlinkSync(path)
      syncFolder(folder)
      return target
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
  throw new KithError('PATH_FORBIDDEN', 'too many files of that name', { folder })
}
