/**
 * Long texts that came as files, one file each, encrypted with a key of this home as messages.db is: segments of nonce (12) ‖ AES-256-GCM
 * ciphertext, each bound to its message and place, so that the beginning can be read alone. The oldest go when there are too many bytes, of
 * one sender or in all.
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { openAead, randomBytes } from '#crypto'
import { sha256 } from '#hash'
import { bytesToHex, concatBytes, fromUtf8, utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { makePrivateFolder, syncFolder, writeFileDurably } from '../../platform/files.node.ts'
import { MAX_LONG_TEXTS_BYTES, MAX_LONG_TEXTS_BYTES_PER_PEER } from '../limits.ts'

const SEGMENT = 64 * 1024
const OVERHEAD = 12 + 16
const SUFFIX = '.text'

interface Stored {
  readonly file: string
  readonly bytes: number
  readonly at: number
}

export class SealedTexts {
  readonly #folder: string
  readonly #aead: ReturnType<typeof openAead>

  /** @param key 32 bytes of this home alone. The folder is made with the first text. */
  constructor(folder: string, key: Uint8Array) {
    this.#folder = folder
    this.#aead = openAead(key)
  }

  has(from: string, id: string): boolean {
    return statSync(this.#path(from, id), { throwIfNoEntry: false }) !== undefined
  }

  /** Durable when it returns. @throws DISK_FULL and other errors of the system */
  put(from: string, id: string, text: Uint8Array): void {
    makePrivateFolder(this.#folder)
    const parts: Uint8Array[] = []
    for (let at = 0; at === 0 || at < text.length; at += SEGMENT) {
      const nonce = randomBytes(12)
      const isLast = at + SEGMENT >= text.length
      parts.push(nonce, this.#aead.seal(nonce, text.subarray(at, at + SEGMENT), place(from, id, at / SEGMENT, isLast)))
    }
    writeFileDurably(this.#path(from, id), concatBytes(...parts))
    syncFolder(this.#folder)
    this.#makeRoom(this.#nameOf(from, id), senderPart(from))
  }

  /** The whole text; undefined: there is none. @throws STORE_CORRUPT */
  whole(from: string, id: string): string | undefined {
    const path = this.#path(from, id)
    if (!this.has(from, id)) return undefined
    return fromUtf8Lossy(this.#open(readFileSync(path), from, id, true))
  }

  /** The first 64 KiB, and how many bytes there are in all. @throws STORE_CORRUPT */
  head(from: string, id: string): { readonly text: string; readonly bytes: number } | undefined {
    if (!this.has(from, id)) return undefined
    const file = openSync(this.#path(from, id), 'r')
    try {
      const { size } = fstatSync(file)
      const first = new Uint8Array(Math.min(size, SEGMENT + OVERHEAD))
      readSync(file, first, 0, first.length, 0)
      const isAll = first.length === size
      const bytes = size - Math.ceil(size / (SEGMENT + OVERHEAD)) * OVERHEAD
      return { text: fromUtf8Lossy(this.#open(first, from, id, isAll)), bytes }
    } finally {
      closeSync(file)
    }
  }

  #open(sealed: Uint8Array, from: string, id: string, toEnd: boolean): Uint8Array {
    const parts: Uint8Array[] = []
    for (let at = 0, n = 0; at < sealed.length; at += SEGMENT + OVERHEAD, n++) {
      const part = sealed.subarray(at, at + SEGMENT + OVERHEAD)
      const isLast = toEnd && at + part.length === sealed.length
      const plain = this.#aead.open(part.subarray(0, 12), part.subarray(12), place(from, id, n, isLast))
      if (!plain) throw new KithError('STORE_CORRUPT', 'a long text was changed on disk, or belongs to another identity', { id })
      parts.push(plain)
    }
    return concatBytes(...parts)
  }

  #makeRoom(kept: string, sender: string): void {
    const all: Stored[] = readdirSync(this.#folder)
      .filter(f => f.endsWith(SUFFIX))
      .map(file => {
        const { size, mtimeMs } = statSync(join(this.#folder, file))
        return { file, bytes: size, at: mtimeMs }
      })
      .sort((a, b) => a.at - b.at)
    const drop = (some: Stored[], max: number): void => {
      let sum = some.reduce((n, s) => n + s.bytes, 0)
      for (const s of some) {
        if (sum <= max) return
        if (s.file === kept) continue
        rmSync(join(this.#folder, s.file), { force: true })
        sum -= s.bytes
      }
    }
    drop(
      all.filter(s => s.file.startsWith(sender)),
      MAX_LONG_TEXTS_BYTES_PER_PEER
    )
    drop(
      all.filter(s => this.#exists(s.file)),
      MAX_LONG_TEXTS_BYTES
    )
  }
  #exists(file: string): boolean {
    return statSync(join(this.#folder, file), { throwIfNoEntry: false }) !== undefined
  }
  #path(from: string, id: string): string {
    return join(this.#folder, this.#nameOf(from, id))
  }
  #nameOf(from: string, id: string): string {
    return `${senderPart(from)}-${id}${SUFFIX}`
  }
}

/** Names say neither who wrote nor what. */
const senderPart = (from: string): string => bytesToHex(sha256(utf8(from))).slice(0, 16)
const place = (from: string, id: string, n: number, isLast: boolean): Uint8Array =>
  utf8(`kith/text/1 ${from} ${id} ${n} ${isLast ? 'last' : ''}`)

/** What is no UTF-8 becomes the replacement character: a cut at the end of a segment, or a sender that does not care. */
function fromUtf8Lossy(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}
