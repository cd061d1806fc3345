/** The secret keys of one device, as files and exports know them. */
import type { PersonKeys } from './phrase.ts'

export interface InstanceKeys {
  /** Ed25519 seed. */
  readonly sign: Uint8Array
  /** X25519 secret key. */
  readonly encrypt: Uint8Array
  /** 64 characters of [0-9A-Za-z_-]: ONE's `instanceName`. */
  readonly name: string
}

export interface SecretKeys {
  readonly person: PersonKeys
  readonly instance: InstanceKeys
}
