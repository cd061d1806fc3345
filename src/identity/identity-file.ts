/**
 * identity.json: the secret keys of this device beside their public keys and certificates. Reading checks that everything fits together,
 * so that a file that was cut short, edited or hit by a flipped bit is refused instead of used (threats ST5).
 */
import { ed25519PublicKey } from '#crypto'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { verifyPeerCertificate } from './certificates.ts'
import type { SecretKeys } from './keys.ts'
import { MAX_IDENTITY_FILE_BYTES } from './limits.ts'
import { peerIdOfKey, peerIdToText } from './peer-id.ts'

export const IDENTITY_FILE_VERSION = 1

export interface IdentityRecord extends SecretKeys {
  /** Ed25519 seed of the libp2p key. */
  readonly peerSeed: Uint8Array
  /** Encoded Signed, person → instance. */
  readonly instanceCertificate: Uint8Array
  /** Encoded peer chain, PeerId → instance → person. */
  readonly peerCertificate: Uint8Array
  readonly createdAt: number
}

/** The public halves, derived once when a record is read or made. */
export interface PublicKeys {
  readonly person: Uint8Array
  readonly instance: Uint8Array
  readonly peer: Uint8Array
}

export async function publicKeysOf(record: Pick<IdentityRecord, 'person' | 'instance' | 'peerSeed'>): Promise<PublicKeys> {
  return {
    person: await ed25519PublicKey(record.person.sign),
    instance: await ed25519PublicKey(record.instance.sign),
    peer: await ed25519PublicKey(record.peerSeed)
  }
}

/** JSON text of a record. */
export function writeIdentityFile(record: IdentityRecord, keys: PublicKeys): string {
  const hex = bytesToHex
  return `${JSON.stringify(
    {
      version: IDENTITY_FILE_VERSION,
      note: 'Secret keys of this device. Never share or copy this file.',
      createdAt: record.createdAt,
      person: { key: hex(keys.person), sign: hex(record.person.sign), encrypt: hex(record.person.encrypt), email: record.person.email },
      instance: {
        key: hex(keys.instance),
        sign: hex(record.instance.sign),
        encrypt: hex(record.instance.encrypt),
        name: record.instance.name
      },
      peer: { id: peerIdToText(peerIdOfKey(keys.peer)), seed: hex(record.peerSeed) },
      instanceCertificate: hex(record.instanceCertificate),
      peerCertificate: hex(record.peerCertificate)
    },
    undefined,
    2
  )}\n`
}

/** Reads and checks a record. @throws IDENTITY_DAMAGED, IDENTITY_NEWER */
export async function readIdentityFile(text: string): Promise<{ readonly record: IdentityRecord; readonly keys: PublicKeys }> {
  const file = fieldsOf(parse(text), '')
  const version = file.raw('version')
  if (typeof version === 'number' && version > IDENTITY_FILE_VERSION)
    throw new KithError('IDENTITY_NEWER', 'a newer version of Kith wrote this identity', { version }, { hint: 'update kith' })
  if (version !== IDENTITY_FILE_VERSION) throw damaged('version')
  const [person, instance, peer] = ['person', 'instance', 'peer'].map(name => fieldsOf(file.raw(name), name)) as [Fields, Fields, Fields]
  const createdAt = file.raw('createdAt')
  if (!Number.isSafeInteger(createdAt)) throw damaged('createdAt')
  const record: IdentityRecord = {
    person: { sign: person.hex('sign', 32), encrypt: person.hex('encrypt', 32), email: person.name('email') },
    instance: { sign: instance.hex('sign', 32), encrypt: instance.hex('encrypt', 32), name: instance.name('name') },
    peerSeed: peer.hex('seed', 32),
    instanceCertificate: file.hex('instanceCertificate'),
    peerCertificate: file.hex('peerCertificate'),
    createdAt: createdAt as number
  }
  const keys = await publicKeysOf(record)
  const peerId = peerIdToText(peerIdOfKey(keys.peer))
  if (person.raw('key') !== bytesToHex(keys.person)) throw damaged('person.key')
  if (instance.raw('key') !== bytesToHex(keys.instance)) throw damaged('instance.key')
  if (peer.raw('id') !== peerId) throw damaged('peer.id')
  const chain = await verifyPeerCertificate(record.peerCertificate, peerId).catch(cause => {
    throw damaged('peerCertificate', cause)
  })
  if (
    bytesToHex(chain.instanceKey) !== bytesToHex(keys.instance) ||
    (chain.personKey && bytesToHex(chain.personKey)) !== bytesToHex(keys.person)
  )
    throw damaged('peerCertificate')
  return { record, keys }
}

interface Fields {
  raw(field: string): unknown
  hex(field: string, bytes?: number): Uint8Array
  name(field: string): string
}

function fieldsOf(value: unknown, path: string): Fields {
  if (typeof value !== 'object' || value === null) throw damaged(path || 'the file')
  const raw = (field: string): unknown => (Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined)
  const text = (field: string, form: RegExp): string => {
    const v = raw(field)
    if (typeof v !== 'string' || !form.test(v)) throw damaged(path ? `${path}.${field}` : field)
    return v
  }
  return {
    raw,
    hex: (field, bytes) => hexToBytes(text(field, bytes === undefined ? /^(?:[0-9a-f]{2})+$/ : new RegExp(`^[0-9a-f]{${2 * bytes}}$`))),
    name: field => text(field, /^[0-9A-Za-z_-]{64}$/)
  }
}

function parse(text: string): unknown {
  if (text.length > MAX_IDENTITY_FILE_BYTES) throw damaged('length')
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw damaged('JSON', cause)
  }
}

const damaged = (where: string, cause?: unknown): KithError =>
  new KithError('IDENTITY_DAMAGED', `the identity file is damaged (${where})`, { where }, { cause, hint: 'restore it from a backup' })
