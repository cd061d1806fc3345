/** This device's identity in a running process. Secrets stay inside; only the libp2p key is handed out, because libp2p needs it. */
import { hkdfSha256, openSigner } from '#crypto'
import { utf8 } from '../base/bytes.ts'
import type { Signer } from '../platform/crypto-types.ts'
import type { Signed } from '../wire/signed.ts'
import type { IdentityRecord, PublicKeys } from './identity-file.ts'
import { didOfKey, peerIdOfKey, peerIdToText } from './peer-id.ts'
import { signBody } from './signing.ts'

export class Identity {
  /** Ed25519 key (32 bytes) and did:key of the person. */
  readonly person: { readonly key: Uint8Array; readonly did: string }
  /** Ed25519 key (32 bytes) and did:key of this device. Offers and receipts are signed by it. */
  readonly instance: { readonly key: Uint8Array; readonly did: string }
  /** libp2p PeerId, as text and as multihash bytes. */
  readonly peerId: string
  readonly peerIdBytes: Uint8Array
  /** Encoded peer chain (wire/peer-certificate.ts): what others give to `verifyPeerCertificate`. */
  readonly peerCertificate: Uint8Array
  /** Encoded Signed (wire/instance-certificate.ts). */
  readonly instanceCertificate: Uint8Array
  /** ms since 1970. */
  readonly createdAt: number
  readonly #record: IdentityRecord
  readonly #readPhrase: () => string | undefined
  #signer: Signer | undefined

  constructor(record: IdentityRecord, keys: PublicKeys, readPhrase: () => string | undefined) {
    this.#record = record
    this.#readPhrase = readPhrase
    this.person = { key: keys.person, did: didOfKey(keys.person) }
    this.instance = { key: keys.instance, did: didOfKey(keys.instance) }
    this.peerIdBytes = peerIdOfKey(keys.peer)
    this.peerId = peerIdToText(this.peerIdBytes)
    this.peerCertificate = record.peerCertificate
    this.instanceCertificate = record.instanceCertificate
    this.createdAt = record.createdAt
  }

  /** 32-byte Ed25519 seed of the libp2p key; for `openHost` alone. */
  get peerPrivateKey(): Uint8Array {
    return this.#record.peerSeed
  }

  /** Signs with the instance key. `domain` names the layout of `body` (wire/signed.ts). */
  sign(domain: string, body: Uint8Array): Promise<Signed> {
    return signBody(this.#record.instance.sign, domain, body, this.instance.key)
  }

  /** Raw signature of the instance over bytes that begin with a domain: for messages, whose layout is not `Signed`. */
  async signBytes(bytes: Uint8Array): Promise<Uint8Array> {
    this.#signer ??= openSigner(this.#record.instance.sign)
    return this.#signer.sign(bytes)
  }

  /** 32 bytes for what this device keeps on its own disk; each purpose has its own. */
  storageKey(purpose: string): Promise<Uint8Array> {
    return hkdfSha256(this.#record.instance.encrypt, utf8(`kith/storage/${purpose}/1`), 32)
  }

  /** The recovery phrase from its own file; undefined when the user removed it or there never was one. @throws KEY_FILE_MODE, KEY_FILE_EMPTY */
  phrase(): string | undefined {
    return this.#readPhrase()
  }

  /** Six words of the person's key, to compare on two screens. */
  async fingerprint(): Promise<readonly string[]> {
    return (await import('./phrase.ts')).fingerprintOf(this.person.key)
  }

  /** Text of ONE's `.id.json` (spec 002). The secret form holds every key: for a file of mode 0600 only. */
  async idFile(kind: 'public' | 'secret', url?: string): Promise<string> {
    const { writePublicId, writeSecretId } = await import('./id-file.ts')
    return (kind === 'public' ? writePublicId : writeSecretId)(this.#record, url)
  }
}
