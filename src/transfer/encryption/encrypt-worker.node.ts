/**
 * The worker that encrypts a file to be shared, or decrypts one that is arriving. Encrypting reads the source once, in order. Decrypting
 * follows the part file as it becomes contiguous, so that the plaintext is there a moment after the last chunk, and a wrong key is
 * found out by the first one. docs/wire/encryption.md is the layout.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { encode } from '../../base/codec.ts'
import { KithError } from '../../base/errors.ts'
import { CLEAR_HEAD_BYTES, type ClearHead, clearHeadCodec, sealedHeadCodec, TAG_BYTES } from '../../wire/encrypted-file.ts'
import { ENCRYPTED_SEGMENT_BYTES } from '../../wire/limits.ts'
import { FileCipher, fileKey } from '../file-cipher.node.ts'
import { type CipherMessage, Decryption, type DecryptJob, type EncryptJob, fill, NEW_FILE, writeAll } from './decryption.node.ts'
import { SteadyFlush } from './steady-flush.node.ts'

const PROGRESS_BYTES = 8 * 1024 * 1024

if (parentPort) {
  const port = parentPort
  const tell = (m: CipherMessage): void => port.postMessage(m)
  const fail = (error: unknown): void => {
    const { code, message, hint } = error as KithError
    tell({ code: code ?? 'EIO', message, hint })
    port.close()
  }
  const job = workerData as EncryptJob | DecryptJob
  try {
    if (job.work === 'encrypt') {
      await encrypt(job, tell)
      port.close()
    } else {
      const decryption = new Decryption(job, tell)
      let written = false
      port.on('message', (upTo: number) => {
        if (written) return
        try {
          written = decryption.follow(upTo)
          if (written) decryption.end().then(() => port.close(), fail)
        } catch (error) {
          fail(error)
        }
      })
    }
  } catch (error) {
    fail(error)
  }
}

async function encrypt(job: EncryptJob, tell: (m: CipherMessage) => void): Promise<void> {
  const { size, name, mime, salt, iterations, secret } = job
  const sealedBytes = encode(sealedHeadCodec, { sha256: new Uint8Array(32), size, name, mime }).length + TAG_BYTES
  const kdf = 'passphrase' in secret ? 'passphrase' : 'key'
  const head: ClearHead = { kdf, iterations: kdf === 'key' ? 0 : iterations, salt, segmentBytes: ENCRYPTED_SEGMENT_BYTES, sealedBytes }
  const clear = encode(clearHeadCodec, head)
  const cipher = new FileCipher(fileKey(head, secret), clear)
  const source = openSync(job.from, constants.O_RDONLY)
  const target = openSync(job.to, NEW_FILE, 0o600)
  const flush = new SteadyFlush(target)
  const hash = createHash('sha256')
  const block = Buffer.alloc(ENCRYPTED_SEGMENT_BYTES)
  const count = Math.ceil(size / ENCRYPTED_SEGMENT_BYTES)
  for (let i = 0, at = 0; i < count; i++) {
    const plain = block.subarray(0, Math.min(block.length, size - at))
    if (fill(source, plain, at) < plain.length) throw new KithError('FILE_CHANGED', 'the file became shorter while it was read')
    hash.update(plain)
    const offset = CLEAR_HEAD_BYTES + sealedBytes + i * (ENCRYPTED_SEGMENT_BYTES + TAG_BYTES)
    writeAll(target, cipher.seal(i === count - 1 ? 'last' : 'segment', i, plain), offset)
    at += plain.length
    flush.wrote(plain.length)
    if (at % PROGRESS_BYTES > 0) continue
    tell({ progress: at })
    await turn() // a flush that has ended lets the next begin
  }
  // Sealed once, after the hash is known: a nonce never seals two things.
  const sealed = cipher.seal('head', 0, encode(sealedHeadCodec, { sha256: new Uint8Array(hash.digest()), size, name, mime }))
  writeAll(target, [Buffer.from(clear), ...sealed], 0)
  await flush.end()
  closeSync(target)
  closeSync(source)
  tell({ progress: size })
  tell({ done: true })
}
