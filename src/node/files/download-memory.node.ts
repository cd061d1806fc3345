/** The requests of downloads that run, in one small file, so that a node that is started again goes on with them. No secrets are in it. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { makePrivateFolder, writeFileDurably } from '../../platform/files.node.ts'
import type { GetRequest } from '../types.ts'

export class DownloadMemory {
  readonly #path: string
  #requests: readonly GetRequest[]

  /** @param path of the file; a damaged one is as good as none: part files keep what arrived */
  constructor(path: string) {
    this.#path = path
    this.#requests = read(path)
  }

  all(): readonly GetRequest[] {
    return this.#requests
  }

  /** Durable when it returns. */
  remember(given: GetRequest): void {
    const request = withoutSecret(given)
    if (this.#requests.some(r => same(r, request))) return
    this.#save([...this.#requests, request])
  }

  forget(request: GetRequest): void {
    this.#save(this.#requests.filter(r => !same(r, request)))
  }

  #save(requests: readonly GetRequest[]): void {
    this.#requests = requests
    makePrivateFolder(dirname(this.#path))
    writeFileDurably(this.#path, `${JSON.stringify({ version: 1, requests }, undefined, 1)}\n`)
  }
}

/** What stands behind "#" in a link is a secret, and so is a passphrase. */
const withoutSecret = ({ passphrase: _, ...r }: GetRequest): GetRequest => ({ ...r, address: r.address.split('#')[0]! })
const same = (a: GetRequest, b: GetRequest): boolean => withoutSecret(a).address === withoutSecret(b).address && a.folder === b.folder

function read(path: string): GetRequest[] {
  if (!existsSync(path)) return []
  try {
    const { requests } = JSON.parse(readFileSync(path, 'utf8')) as { requests: unknown }
    return Array.isArray(requests)
      ? (requests as GetRequest[]).filter(r => typeof r?.address === 'string' && typeof r.folder === 'string')
      : []
  } catch {
    return []
  }
}
