/** From a complete part file to what the user asked for: the whole file's hash, decryption, the final name. */
import { chmodSync } from 'node:fs'
import { equalBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { type FinishedFiles, finishFiles } from '../disk/finish-files.node.ts'
import { placeFile } from '../disk/place-file.node.ts'
import type { Decrypter } from '../encryption/file-encryption.node.ts'
import type { PartFile } from '../part-file.node.ts'
import type { Plan } from '../plan.node.ts'
import { safeName } from '../safe-name.ts'

/** @throws HASH_MISMATCH: what arrived is not what was asked for and must go */
export function checkWhole(plan: Plan, sha256: Uint8Array): void {
  if (!plan.fileId || equalBytes(sha256, plan.fileId)) return
  throw new KithError(
    'HASH_MISMATCH',
    'the file that arrived is not the one that was asked for; it was deleted',
    {},
    { hint: 'the link names a file and a hash list that do not belong together' }
  )
}

export interface Placed extends FinishedFiles {
  /** The encrypted file beside `path`, when it was kept. */
  readonly sealedPath: string | undefined
}

/**
 * Gives the file its name. Of an encrypted one the plaintext takes it; the encrypted file goes, unless it is to be shared on.
 * @throws DISK_FULL, PATH_FORBIDDEN, and what decryption throws
 */
export async function place(
  { plan, part, decrypter }: { readonly plan: Plan; readonly part: PartFile; readonly decrypter: Decrypter | undefined },
  { folder, seed = false }: { readonly folder: string; readonly seed?: boolean | undefined }
): Promise<Placed> {
  if (!decrypter) return { ...(await finishFiles(part, folder, plan)), sealedPath: undefined }
  await decrypter.done
  const { name } = await decrypter.head
  chmodSync(decrypter.path, 0o666 & ~process.umask())
  const path = placeFile(decrypter.path, folder, safeName(name, plan.stem))
  decrypter.keep()
  if (seed) return { path, files: [], sealedPath: (await finishFiles(part, folder, plan)).path }
  await part.discard()
  return { path, files: [], sealedPath: undefined }
}
