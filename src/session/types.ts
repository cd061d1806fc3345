/** What a session needs from identity and platform, so that it can be tested with keys alone. */

/** The keys that speak. */
export interface SessionSelf {
  /** did:key of `publicKey`. */
  readonly entityId: string
  /** Ed25519. */
  readonly publicKey: Uint8Array
  /** Encoded peer chain (identity/certificates.ts), told in the handshake; undefined where there is no PeerId. */
  readonly certificate: Uint8Array | undefined
  /** Raw Ed25519 signature over exactly these bytes, which begin with a domain. */
  signBytes(bytes: Uint8Array): Promise<Uint8Array>
}
