/** AES-256-GCM over the segments of an encrypted file (wire/encrypted-file.ts). The key is used for one file only: its salt is random. */
import { createCipheriv, createDecipheriv, hkdfSync, pbkdf2Sync } from 'node:crypto'
import { KithError } from '../base/errors.ts'
import { type ClearHead, type NonceKind, segmentNonce, TAG_BYTES } from '../wire/encrypted-file.ts'

/** What opens a file: the 32 bytes of the link's fragment, or what a person typed. */
export type FileSecret = { readonly key: Uint8Array } | { readonly passphrase: string }

/**
 * The AES key of a file. PBKDF2 takes a good part of a second: call it in a worker.
 * @throws WRONG_KEY when the file wants the other kind of secret
 */
export function fileKey(head: Pick<ClearHead, 'kdf' | 'salt' | 'iterations'>, secret: FileSecret): Uint8Array {
  if (head.kdf === 'passphrase' && !('passphrase' in secret))
    throw new KithError('WRONG_KEY', 'the file is locked by a passphrase', {}, { hint: 'kith get LINK --passphrase' })
  if (head.kdf === 'key' && !('key' in secret))
    throw new KithError(
      'WRONG_KEY',
      'the file is locked by the key in its link, not by a passphrase',
      {},
      { hint: 'copy the whole link, with what follows #' }
    )
  const material =
    'passphrase' in secret ? pbkdf2Sync(secret.passphrase.normalize('NFC'), head.salt, head.iterations, 32, 'sha256') : secret.key
  return new Uint8Array(hkdfSync('sha256', material, head.salt, 'kith/file-encryption/1', 32))
}

/** Seals and opens under one key and one clear head. */
export class FileCipher {
  readonly #key: Uint8Array
  readonly #clearHead: Uint8Array

  /** @param clearHead the bytes of the clear head: associated data of every segment */
  constructor(key: Uint8Array, clearHead: Uint8Array) {
    this.#key = key
    this.#clearHead = clearHead
  }

  /** Ciphertext and tag. */
  seal(kind: NonceKind, index: number, plain: Uint8Array): Buffer[] {
    const cipher = createCipheriv('aes-256-gcm', this.#key, segmentNonce(kind, index), { authTagLength: TAG_BYTES })
    cipher.setAAD(this.#clearHead)
    const body = cipher.update(plain)
    cipher.final()
    return [body, cipher.getAuthTag()]
  }

  /** @throws DECRYPTION_FAILED when a bit differs, or the segment belongs elsewhere */
  open(kind: NonceKind, index: number, sealed: Uint8Array): Buffer {
    const at = sealed.length - TAG_BYTES
    const decipher = createDecipheriv('aes-256-gcm', this.#key, segmentNonce(kind, index), { authTagLength: TAG_BYTES })
    decipher.setAAD(this.#clearHead)
    decipher.setAuthTag(sealed.subarray(at))
    const plain = decipher.update(sealed.subarray(0, at))
    try {
      decipher.final()
    } catch (cause) {
      throw new KithError('DECRYPTION_FAILED', 'the encrypted file was changed, cut or put together differently', { index }, { cause })
    }
    return plain
  }
}
