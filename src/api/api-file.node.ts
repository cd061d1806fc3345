/** `api.json` in the state folder: how later commands find the API of the process that holds the home. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { KithError } from '../base/errors.ts'
import { makePrivateFolder, readSecretFile, writeFileDurably } from '../platform/files.node.ts'

export interface ApiFile {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string
  readonly token: string
  readonly pid: number
}

const pathIn = (folder: string): string => join(folder, 'api.json')

/** Mode 0600, whole or not at all. */
export function writeApiFile(folder: string, file: ApiFile): void {
  makePrivateFolder(folder)
  writeFileDurably(pathIn(folder), `${JSON.stringify(file)}\n`)
}

/**
 * Undefined when there is none, or when the process that wrote it is gone (a crash leaves it behind).
 * @throws KEY_FILE_MODE when others may read the token, API_ANSWER when it is no api.json
 */
export function readApiFile(folder: string): ApiFile | undefined {
  let text: string
  try {
    text = readSecretFile(pathIn(folder))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const file = parse(text)
  if (!file) throw new KithError('API_ANSWER', `${pathIn(folder)} is damaged`, {}, { hint: 'restart the node that uses this home' })
  return isAlive(file.pid) ? file : undefined
}

/** Removes it if it is still the one with this token. */
export function removeApiFile(folder: string, token: string): void {
  try {
    if (parse(readFileSync(pathIn(folder), 'utf8'))?.token === token) rmSync(pathIn(folder), { force: true })
  } catch {
    // gone already
  }
}

function parse(text: string): ApiFile | undefined {
  try {
    const { url, token, pid } = JSON.parse(text) as Record<string, unknown>
    const good = typeof url === 'string' && /^http:\/\/(127\.0\.0\.1|\[::1\]):\d{1,5}$/.test(url)
    if (!good || typeof token !== 'string' || token.length < 32 || typeof pid !== 'number') return undefined
    return { url, token, pid }
  } catch {
    return undefined
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
