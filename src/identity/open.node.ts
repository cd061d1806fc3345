/** Opens the identity of a device, makes it on first use, or restores the person from a recovery phrase (DESIGN §4). */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { randomBytes as systemRandom } from '#crypto'
import { bytesToBase64Url } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { makePrivateFolder, readSecretFile, syncFolder, writeFileDurably } from '../platform/files.node.ts'
import { issueInstanceCertificate, issuePeerChain } from './certificates.ts'
import { Identity } from './identity.ts'
import { type IdentityRecord, publicKeysOf, readIdentityFile, writeIdentityFile } from './identity-file.ts'
import type { InstanceKeys, SecretKeys } from './keys.ts'
import { peerIdOfKey } from './peer-id.ts'
import type { PersonKeys } from './phrase.ts'

export interface IdentityDeps {
  readonly clock: Pick<Clock, 'now'>
  /** Random bytes; the system's unless a test needs known keys. */
  readonly random?: (n: number) => Uint8Array
}

export interface IdentityOptions {
  /** Words of a recovery phrase that is made on first use. Default 12. */
  readonly words?: 12 | 24
}

const FILE = 'identity.json'
const PHRASE_FILE = 'recovery-phrase'

/**
 * Reads the identity in `folder`, or makes one when the folder is absent or empty. Never replaces anything: what cannot be read is refused.
 * The caller holds the lock of the data directory.
 * @throws IDENTITY_DAMAGED, IDENTITY_NEWER, KEY_FILE_MODE, KEY_FILE_EMPTY
 */
export async function openIdentity(folder: string, deps: IdentityDeps, options: IdentityOptions = {}): Promise<Identity> {
  if (isUnused(folder)) {
    const { createPhrase } = await import('./phrase.ts')
    return createFrom(folder, deps, { phrase: createPhrase(options.words ?? 12, deps.random) })
  }
  return read(folder)
}

/**
 * Makes an identity for this device with the person behind `phrase`; the instance and peer keys are new.
 * @throws BAD_PHRASE, IDENTITY_EXISTS
 */
export async function restoreIdentity(folder: string, phrase: string, deps: IdentityDeps): Promise<Identity> {
  const { normalisePhrase } = await import('./phrase.ts')
  const normal = normalisePhrase(phrase)
  refuseExisting(folder)
  return createFrom(folder, deps, { phrase: normal })
}

/** Takes over a person and an instance from ONE's secret `.id.json`. There is no recovery phrase then. @throws BAD_ID_FILE, IDENTITY_EXISTS */
export async function importIdentity(folder: string, secretIdFile: string, deps: IdentityDeps): Promise<Identity> {
  const { readSecretId } = await import('./id-file.ts')
  const keys = await readSecretId(secretIdFile)
  refuseExisting(folder)
  return createFrom(folder, deps, { keys })
}

function refuseExisting(folder: string): void {
  if (!isUnused(folder)) {
    throw new KithError(
      'IDENTITY_EXISTS',
      `there is an identity in ${folder}`,
      { folder },
      { hint: 'move it away first, or set KITH_HOME' }
    )
  }
}

const isUnused = (folder: string): boolean => !existsSync(folder) || readdirSync(folder).length === 0

type Origin = { readonly phrase: string } | { readonly keys: SecretKeys }

async function createFrom(folder: string, deps: IdentityDeps, origin: Origin): Promise<Identity> {
  const random = deps.random ?? systemRandom
  const { personKeysOf } = await import('./phrase.ts')
  const person: PersonKeys = 'keys' in origin ? origin.keys.person : await personKeysOf(origin.phrase)
  const instance: InstanceKeys =
    'keys' in origin ? origin.keys.instance : { sign: random(32), encrypt: random(32), name: bytesToBase64Url(random(48)) }
  const record = await certify(person, instance, random(32), deps.clock.now())
  const keys = await publicKeysOf(record)
  // Both files appear at once: a crash before the rename leaves no identity, after it a whole one.
  const fresh = `${folder}.new`
  rmSync(fresh, { recursive: true, force: true })
  makePrivateFolder(fresh)
  if ('phrase' in origin) writeFileDurably(join(fresh, PHRASE_FILE), `${origin.phrase}\n`)
  writeFileDurably(join(fresh, FILE), writeIdentityFile(record, keys))
  renameSync(fresh, folder)
  syncFolder(dirname(folder))
  return read(folder)
}

async function certify(person: PersonKeys, instance: InstanceKeys, peerSeed: Uint8Array, now: number): Promise<IdentityRecord> {
  const keys = await publicKeysOf({ person, instance, peerSeed })
  const { x25519 } = await import('@noble/curves/ed25519.js')
  const encryption = x25519.getPublicKey(instance.encrypt)
  const instanceCertificate = await issueInstanceCertificate(person.sign, { instance: keys.instance, encryption, issuedAt: now })
  const peerCertificate = await issuePeerChain(instance.sign, peerIdOfKey(keys.peer), now, instanceCertificate)
  return { person, instance, peerSeed, instanceCertificate, peerCertificate, createdAt: now }
}

async function read(folder: string): Promise<Identity> {
  const path = join(folder, FILE)
  if (!existsSync(path)) {
    throw new KithError('IDENTITY_DAMAGED', `${path} is missing`, { path }, { hint: 'restore it from a backup, or move the folder away' })
  }
  try {
    const { record, keys } = await readIdentityFile(readSecretFile(path))
    return new Identity(record, keys, () => readPhrase(folder))
  } catch (error) {
    if (!hasCode(error, 'IDENTITY_DAMAGED')) throw error
    throw new KithError(
      'IDENTITY_DAMAGED',
      `${path}: ${(error as Error).message}`,
      { path },
      { cause: error, hint: 'restore it from a backup' }
    )
  }
}

/** Read only when asked for, so that the words are not in memory all the time. */
function readPhrase(folder: string): string | undefined {
  const path = join(folder, PHRASE_FILE)
  if (!existsSync(path)) return undefined
  readSecretFile(path) // refuses a file that others may read, or an empty one
  return readFileSync(path, 'utf8').trim()
}
