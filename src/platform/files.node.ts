/** Files written so that a crash leaves the old or the new content whole, and the lock that keeps one process per data directory. */
import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync
} from 'node:fs'
import { dirname, join } from 'node:path'
import { KithError } from '../base/errors.ts'

/** Creates a folder (and its parents) that only its owner may enter. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
}

/** tmp + fsync + rename + fsync of the folder: after this returns, a power cut leaves the new content. */
export function writeFileDurably(path: string, content: Uint8Array | string, mode = 0o600): void {
  const tmp = `${path}.tmp-${process.pid}`
  const fd = openSync(tmp, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, mode)
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
    fsyncSync(fd)
  } catch (error) {
    rmSync(tmp, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
  renameSync(tmp, path)
  syncFolder(dirname(path))
}

/** Makes renames and new names in a folder durable. */
export function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Reads a key file and refuses one that others may read or that is empty. @throws KEY_FILE_MODE, KEY_FILE_EMPTY */
export function readSecretFile(path: string): string {
  const { mode, size } = statSync(path)
  if ((mode & 0o077) !== 0) {
    throw new KithError('KEY_FILE_MODE', `other users can read ${path}`, { path }, { hint: `run: chmod 600 '${path}'` })
  }
  if (size === 0)
    throw new KithError('KEY_FILE_EMPTY', `${path} is empty`, { path }, { hint: 'restore it from a backup or from the recovery phrase' })
  return readFileSync(path, 'utf8')
}

export interface FileLock extends Disposable {
  readonly path: string
}

/**
 * Takes the lock of a data directory: a file `lock` that names the process. A lock whose process is gone is taken over.
 * @throws ALREADY_RUNNING with the pid of the holder
 */
export function lockFolder(folder: string): FileLock {
  makePrivateFolder(folder)
  const taken = (pid: number): KithError =>
    new KithError(
      'ALREADY_RUNNING',
      `another kith process (${pid}) uses ${folder}`,
      { pid, folder },
      { hint: 'use that one, or stop it first' }
    )
  return lockFile(join(folder, 'lock'), taken)
}

/**
 * Takes a lock: the file `path`, which names this process. A lock whose process is gone is taken over.
 * @throws what `taken` makes of the holder's pid
 */
export function lockFile(path: string, taken: (pid: number) => KithError): FileLock {
  const own = `${path}.${process.pid}.${++lockNumber}`
  const me = `${process.pid} ${startTimeOf(process.pid)}\n`
  writeFileDurably(own, me)
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        linkSync(own, path) // atomic: fails if the name exists
        return heldLock(path, me)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        const [pid, start] = readLock(path)
        if (pid > 0 && isSameProcess(pid, start)) throw taken(pid)
        rmSync(path, { force: true })
      }
    }
  } finally {
    rmSync(own, { force: true })
  }
  throw taken(0)
}
let lockNumber = 0

function heldLock(path: string, me: string): FileLock {
  let held = true
  return {
    path,
    [Symbol.dispose]: () => {
      if (held) releaseLock(path, me)
      held = false // the same process may hold it again by now
    }
  }
}

function releaseLock(path: string, me: string): void {
  try {
    if (readFileSync(path, 'utf8') === me) unlinkSync(path)
  } catch {
    // the folder is gone: nothing to release
  }
}

function readLock(path: string): [number, string] {
  try {
    const [pid = '', start = ''] = readFileSync(path, 'utf8').trim().split(' ')
    return [Number(pid) || 0, start]
  } catch {
    return [0, '']
  }
}

function isSameProcess(pid: number, start: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return start === '' || startTimeOf(pid) === start
}

/** Start time in clock ticks since boot, so that a reused pid is not taken for the holder. Empty where /proc is absent. */
function startTimeOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
