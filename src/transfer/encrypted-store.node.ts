/**
 * Ciphertext of the files that this node shares encrypted, with what opens them: one folder, mode 0700. A file is `<id>.kithenc`, its
 * secret `<id>.json` (mode 0600), where the id is random; the share book knows the ciphertext like any other file.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { randomBytes } from '#crypto'
import { base64UrlToBytes, bytesToBase64Url, bytesToHex } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { makePrivateFolder, syncFolder, writeFileDurably } from '../platform/files.node.ts'
import { encryptFile } from './encryption/file-encryption.node.ts'

/** What the owner knows about one encrypted share. */
export interface EncryptedEntry {
  /** Path of the ciphertext. */
  readonly path: string
  /** Name that seeders and the DHT see: says nothing. */
  readonly publicName: string
  /** The user's own file and its name. */
  readonly original: string
  readonly name: string
  /** 32 bytes for the link's fragment; undefined when a passphrase opens it, which is not kept. */
  readonly key: Uint8Array | undefined
  /** Shared by the node itself, for a message or a task: never the same as what the user shares. */
  readonly lent: boolean
}

export class EncryptedStore {
  readonly #folder: string
  readonly #entries = new Map<string, EncryptedEntry>()

  /**
   * What belongs to no share any more, or never did because the process was killed while it encrypted, is deleted; the user's own files are
   * never touched.
   * @param folder is made when the first file is encrypted @param isShared whether the share book has this ciphertext @throws STORE_CORRUPT
   */
  constructor(folder: string, isShared: (path: string) => boolean) {
    this.#folder = folder
    if (!existsSync(folder)) return
    const files = new Set(readdirSync(folder))
    for (const file of files) {
      const [id, isRecord] = [basename(file, '.json'), file.endsWith('.json')]
      const entry = isRecord && isId(id) ? readEntry(join(folder, file)) : undefined
      if (entry) this.#entries.set(entry.path, entry)
      if (entry && !isShared(entry.path)) this.remove(entry.path)
      const cut = basename(file, '.kithenc')
      if (file.endsWith('.kithenc') && isId(cut) && !files.has(`${cut}.json`)) rmSync(join(folder, file), { force: true })
    }
  }

  /** Encrypts a file with a new key, or for a passphrase. Durable when it resolves. @throws as `encryptFile` */
  async add(
    original: string,
    name: string,
    passphrase: string | undefined,
    onProgress: (bytes: number) => void,
    signal?: AbortSignal,
    lent = false
  ): Promise<EncryptedEntry> {
    makePrivateFolder(this.#folder)
    const id = bytesToHex(randomBytes(8))
    const path = join(this.#folder, `${id}.kithenc`)
    const key = passphrase === undefined ? randomBytes(32) : undefined
    const secret = key ? { key } : { passphrase: passphrase ?? '' }
    await encryptFile({ from: original, to: path, secret, name, mime: '' }, onProgress, signal)
    const entry: EncryptedEntry = { path, publicName: `${id}.kithenc`, original, name, key, lent }
    const json = { version: 1, original, name, ...(lent ? { lent } : {}), ...(key ? { key: bytesToBase64Url(key) } : {}) }
    writeFileDurably(join(this.#folder, `${id}.json`), `${JSON.stringify(json)}\n`)
    syncFolder(this.#folder)
    this.#entries.set(path, entry)
    return entry
  }

  /** The entry of a ciphertext by its path. */
  find(path: string): EncryptedEntry | undefined {
    return this.#entries.get(path)
  }

  /** The entry of a file that was encrypted with a key before, under this name, and was not touched since. */
  findOriginal(original: string, name: string, lent = false): EncryptedEntry | undefined {
    const changedMs = statSync(original, { throwIfNoEntry: false })?.ctimeMs ?? Number.POSITIVE_INFINITY
    return [...this.#entries.values()].find(e => {
      const madeMs = statSync(e.path, { throwIfNoEntry: false })?.birthtimeMs ?? 0
      return e.key && e.lent === lent && e.original === original && e.name === name && changedMs < madeMs
    })
  }

  /** Deletes ciphertext and secret; the user's own file is not touched. */
  remove(path: string): void {
    if (!this.#entries.delete(path)) return
    rmSync(path, { force: true })
    rmSync(join(dirname(path), `${basename(path, '.kithenc')}.json`), { force: true })
  }
}

/** As `add` makes them: other files in the folder are somebody else's. */
const isId = (text: string): boolean => /^[0-9a-f]{16}$/.test(text)

/** @throws STORE_CORRUPT: without the key the file could not be given to anybody again */
function readEntry(jsonPath: string): EncryptedEntry | undefined {
  const path = jsonPath.replace(/\.json$/, '.kithenc')
  if (!existsSync(path)) return undefined
  try {
    const { original, name, key, lent } = JSON.parse(readFileSync(jsonPath, 'utf8')) as Record<string, unknown>
    if (typeof original !== 'string' || typeof name !== 'string') throw new Error('fields are missing')
    return {
      path,
      publicName: basename(path),
      original,
      name,
      key: typeof key === 'string' ? base64UrlToBytes(key) : undefined,
      lent: lent === true
    }
  } catch (cause) {
    throw new KithError('STORE_CORRUPT', `the record of an encrypted share is damaged: ${jsonPath}`, { path: jsonPath }, { cause })
  }
}
