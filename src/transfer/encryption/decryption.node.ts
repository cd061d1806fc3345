/** Decrypts a file as it becomes contiguous; runs in encrypt-worker.node.ts. */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, constants, openSync, readSync, writeSync, writevSync } from 'node:fs'
import { equalBytes } from '../../base/bytes.ts'
import { decode } from '../../base/codec.ts'
import { KithError } from '../../base/errors.ts'
import { CLEAR_HEAD_BYTES, plainSize, readClearHead, type SealedHead, sealedHeadCodec, TAG_BYTES } from '../../wire/encrypted-file.ts'
import { ENCRYPTED_SEGMENT_BYTES } from '../../wire/limits.ts'
import { FileCipher, type FileSecret, fileKey } from '../file-cipher.node.ts'
import { SteadyFlush } from './steady-flush.node.ts'

export interface EncryptJob {
  readonly work: 'encrypt'
  /** Plaintext of the user. */
  readonly from: string
  readonly size: number
  /** File to write; must not exist. */
  readonly to: string
  readonly secret: FileSecret
  readonly iterations: number
  readonly salt: Uint8Array
  readonly name: string
  readonly mime: string
}
export interface DecryptJob {
  readonly work: 'decrypt'
  /** The part file. */
  readonly from: string
  /** Size of the encrypted file. */
  readonly size: number
  readonly to: string
  readonly secret: FileSecret
}
export type CipherMessage =
  /** Bytes of input that are through. */
  | { readonly progress: number }
  | { readonly head: SealedHead }
  | { readonly done: true }
  | { readonly code: string; readonly message: string; readonly hint?: string | undefined }

const NO_FOLLOW = constants.O_RDONLY | constants.O_NOFOLLOW
export const NEW_FILE: number = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/** Decrypts what has become contiguous. */
export class Decryption {
  readonly #job: DecryptJob
  readonly #tell: (m: CipherMessage) => void
  readonly #source: number
  readonly #target: number
  readonly #hash: Hash = createHash('sha256')
  readonly #block = Buffer.alloc(ENCRYPTED_SEGMENT_BYTES + TAG_BYTES)
  readonly #flush: SteadyFlush
  #cipher: FileCipher | undefined
  #head: SealedHead | undefined
  #body = 0
  #segment = 0

  constructor(job: DecryptJob, tell: (m: CipherMessage) => void) {
    this.#job = job
    this.#tell = tell
    this.#source = openSync(job.from, NO_FOLLOW)
    this.#target = openSync(job.to, NEW_FILE, 0o600)
    this.#flush = new SteadyFlush(this.#target)
  }

  /** @returns true when all is written: `end` makes it durable. @throws KithError */
  follow(upTo: number): boolean {
    if (!this.#cipher && !this.#open(upTo)) return false
    const { size } = this.#job
    for (;;) {
      const offset = this.#body + this.#segment * this.#block.length
      if (offset >= size) return true
      const sealed = this.#block.subarray(0, Math.min(this.#block.length, size - offset))
      if (offset + sealed.length > upTo) return false
      this.#read(sealed, offset)
      const isLast = offset + sealed.length === size
      const plain = this.#cipher!.open(isLast ? 'last' : 'segment', this.#segment, sealed)
      this.#hash.update(plain)
      writeAll(this.#target, [plain], this.#segment * ENCRYPTED_SEGMENT_BYTES)
      this.#flush.wrote(plain.length)
      this.#segment++
    }
  }

  /** Called once, when all is written. @throws KithError, and what the disk says */
  async end(): Promise<void> {
    if (!equalBytes(this.#hash.digest(), this.#head!.sha256)) throw failed('the decrypted file does not have the hash in its head')
    await this.#flush.end()
    closeSync(this.#target)
    closeSync(this.#source)
    this.#tell({ done: true })
  }

  /** Opens the head. @returns false while it is not here yet */
  #open(upTo: number): boolean {
    if (upTo < Math.min(CLEAR_HEAD_BYTES, this.#job.size)) return false
    const clear = Buffer.alloc(CLEAR_HEAD_BYTES)
    this.#read(clear, 0)
    const head = readClearHead(clear)
    if (plainSize(this.#job.size, head.sealedBytes) === undefined) throw failed('the encrypted file has an impossible size')
    if (upTo < CLEAR_HEAD_BYTES + head.sealedBytes) return false
    const cipher = new FileCipher(fileKey(head, this.#job.secret), clear)
    const sealed = Buffer.alloc(head.sealedBytes)
    this.#read(sealed, CLEAR_HEAD_BYTES)
    this.#head = decode(sealedHeadCodec, openHead(cipher, sealed))
    if (this.#head.size !== plainSize(this.#job.size, head.sealedBytes)) throw failed('the head tells another size')
    this.#body = CLEAR_HEAD_BYTES + head.sealedBytes
    this.#cipher = cipher
    this.#tell({ head: this.#head })
    return true
  }

  #read(into: Buffer, at: number): void {
    if (fill(this.#source, into, at) < into.length) throw failed('the encrypted file is cut short')
  }
}

/** Only a wrong secret fails here unless somebody forged a whole file: chunk hashes have been checked. */
function openHead(cipher: FileCipher, sealed: Buffer): Buffer {
  try {
    return cipher.open('head', 0, sealed)
  } catch (cause) {
    throw new KithError(
      'WRONG_KEY',
      'the key or passphrase is wrong',
      {},
      { cause, hint: 'what has arrived is kept: run it again with the right one' }
    )
  }
}

const failed = (why: string): KithError => new KithError('DECRYPTION_FAILED', why)

/** Reads until the block is full or the file ends. @returns bytes read */
export function fill(fd: number, block: Buffer, at: number): number {
  let n = 0
  while (n < block.length) {
    const got = readSync(fd, block, n, block.length - n, at + n)
    if (got === 0) break
    n += got
  }
  return n
}

/** Writes all parts one after another. */
export function writeAll(fd: number, parts: Buffer[], at: number): void {
  let written = writevSync(fd, parts, at)
  const total = parts.reduce((n, p) => n + p.length, 0)
  if (written === total) return
  const rest = Buffer.concat(parts)
  while (written < total) written += writeSync(fd, rest, written, total - written, at + written)
}
