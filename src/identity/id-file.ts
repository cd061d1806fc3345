/**
 * ONE's `.id.json` (spec 002), public and secret. Keys are lower-case hex of 32 bytes, except that the secret signing keys are 64 bytes
 * (seed, then public key), as tweetnacl writes them. `personEmail` and `instanceName` are 64 characters of [0-9A-Za-z_-].
 */

import { x25519 } from '@noble/curves/ed25519.js'
import { ed25519PublicKey } from '#crypto'
import { bytesToHex, concatBytes, equalBytes, hexToBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { SecretKeys } from './keys.ts'
import { MAX_ID_FILE_BYTES, MAX_URL_CHARS } from './limits.ts'

/** The public form: what others may know. Field names and order are spec 002's. */
export interface PublicIdFile {
  readonly type: 'public'
  readonly personEmail: string
  readonly instanceName: string
  readonly personKeyPublic: string
  readonly personSignKeyPublic: string
  readonly instanceKeyPublic: string
  readonly instanceSignKeyPublic: string
  readonly url?: string
}

/** Text of the public `.id.json`. `url` is the relay at which the instance can be met. */
export async function writePublicId(keys: SecretKeys, url?: string): Promise<string> {
  const file: PublicIdFile = {
    type: 'public',
    personEmail: keys.person.email,
    instanceName: keys.instance.name,
    personKeyPublic: bytesToHex(x25519.getPublicKey(keys.person.encrypt)),
    personSignKeyPublic: bytesToHex(await ed25519PublicKey(keys.person.sign)),
    instanceKeyPublic: bytesToHex(x25519.getPublicKey(keys.instance.encrypt)),
    instanceSignKeyPublic: bytesToHex(await ed25519PublicKey(keys.instance.sign)),
    ...(url === undefined ? {} : { url })
  }
  return `${JSON.stringify(file, undefined, 4)}\n`
}

/** Text of the secret `.id.json`: the public fields and the four secret keys. Whoever has it is this instance. */
export async function writeSecretId(keys: SecretKeys, url?: string): Promise<string> {
  const { type: _, url: relay, ...rest } = JSON.parse(await writePublicId(keys, url)) as PublicIdFile
  const signKey = async (seed: Uint8Array): Promise<string> => bytesToHex(concatBytes(seed, await ed25519PublicKey(seed)))
  const file = {
    type: 'secret',
    ...rest,
    personKeySecret: bytesToHex(keys.person.encrypt),
    personSignKeySecret: await signKey(keys.person.sign),
    instanceKeySecret: bytesToHex(keys.instance.encrypt),
    instanceSignKeySecret: await signKey(keys.instance.sign),
    ...(relay === undefined ? {} : { url: relay })
  }
  return `${JSON.stringify(file, undefined, 4)}\n`
}

/** Reads a public `.id.json`; unknown fields are ignored. @throws BAD_ID_FILE */
export function readPublicId(text: string): PublicIdFile {
  const file = parse(text)
  if (file.type !== 'public') throw bad('type is not "public"')
  const url = file.url
  if (url !== undefined && (typeof url !== 'string' || url.length > MAX_URL_CHARS)) throw bad('url is not a text')
  return { type: 'public', ...publicFields(file), ...(url === undefined ? {} : { url }) }
}

/** Reads a secret `.id.json` and checks that every secret belongs to its public key. @throws BAD_ID_FILE */
export async function readSecretId(text: string): Promise<SecretKeys> {
  const file = parse(text)
  if (file.type !== 'secret') throw bad('type is not "secret"')
  const fields = publicFields(file)
  const sign = async (secret: string, shown: string): Promise<Uint8Array> => {
    const bytes = key(file, secret, 64)
    const seed = bytes.subarray(0, 32)
    const derived = await ed25519PublicKey(seed)
    if (!equalBytes(derived, bytes.subarray(32)) || bytesToHex(derived) !== shown) throw bad(`${secret} does not fit its public key`)
    return seed
  }
  const box = (secret: string, shown: string): Uint8Array => {
    const bytes = key(file, secret, 32)
    if (bytesToHex(x25519.getPublicKey(bytes)) !== shown) throw bad(`${secret} does not fit its public key`)
    return bytes
  }
  return {
    person: {
      sign: await sign('personSignKeySecret', fields.personSignKeyPublic),
      encrypt: box('personKeySecret', fields.personKeyPublic),
      email: fields.personEmail
    },
    instance: {
      sign: await sign('instanceSignKeySecret', fields.instanceSignKeyPublic),
      encrypt: box('instanceKeySecret', fields.instanceKeyPublic),
      name: fields.instanceName
    }
  }
}

type Fields = Readonly<Record<string, unknown>>

function publicFields(file: Fields): Omit<PublicIdFile, 'type' | 'url'> {
  return {
    personEmail: name(file, 'personEmail'),
    instanceName: name(file, 'instanceName'),
    personKeyPublic: bytesToHex(key(file, 'personKeyPublic', 32)),
    personSignKeyPublic: bytesToHex(key(file, 'personSignKeyPublic', 32)),
    instanceKeyPublic: bytesToHex(key(file, 'instanceKeyPublic', 32)),
    instanceSignKeyPublic: bytesToHex(key(file, 'instanceSignKeyPublic', 32))
  }
}

function parse(text: string): Fields {
  if (text.length > MAX_ID_FILE_BYTES) throw bad('too long')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw bad('not JSON', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('not an object')
  return value as Fields
}

function key(file: Fields, field: string, bytes: number): Uint8Array {
  const text = Object.hasOwn(file, field) ? file[field] : undefined
  if (typeof text !== 'string' || text.length !== 2 * bytes || !/^[0-9a-f]+$/.test(text)) throw bad(`${field} is not a key`)
  return hexToBytes(text)
}

function name(file: Fields, field: string): string {
  const text = Object.hasOwn(file, field) ? file[field] : undefined
  if (typeof text !== 'string' || !/^[0-9A-Za-z_-]{64}$/.test(text)) throw bad(`${field} is not 64 characters of 0-9 A-Z a-z _ -`)
  return text
}

const bad = (why: string, cause?: unknown): KithError => new KithError('BAD_ID_FILE', `not an .id.json file: ${why}`, {}, { cause })
