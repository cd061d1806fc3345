/** What hashing a file yields beyond SHA-256, for the protocols that name files otherwise. All are pure functions of the content. */

/** BitTorrent v2 (BEP 52): a Merkle tree of SHA-256 over 16 KiB blocks. */
export interface V2Digest {
  /** `pieces root`: 32 bytes. */
  readonly root: Uint8Array
  /** The layer whose nodes cover 256 KiB each, 32 bytes per chunk; equal to `root` for a file of one chunk. */
  readonly layer: Uint8Array
}

/** eDonkey: MD4 over parts of 9,728,000 bytes, and the AICH tree of SHA-1 over blocks of 184,320 bytes. */
export interface Ed2kDigest {
  /** 16 bytes; of a file of exactly n parts as eMule makes it (one more, empty part). */
  readonly hash: Uint8Array
  /** MD4 of each part, 16 bytes each, eMule's empty last part included; one hash for a file shorter than a part. */
  readonly parts: Uint8Array
  /** AICH root: 20 bytes. */
  readonly aich: Uint8Array
  /** Tops of the parts' AICH trees, 20 bytes per part that has bytes: what recovery data are made from. */
  readonly aichParts?: Uint8Array | undefined
}

/** What other clients are told of a file: of one that comes by an ed2k link the AICH tree is not known. */
export type Ed2kNames = Omit<Ed2kDigest, 'aich'> & { readonly aich?: Uint8Array | undefined }

/** Which digests are wanted beside SHA-256 of the file and of its chunks. */
export interface DigestWants {
  /** SHA-1 of every 256 KiB piece (BitTorrent v1, WebTorrent). */
  readonly sha1: boolean
  readonly v2: boolean
  readonly ed2k: boolean
}

export interface ExtraDigests {
  readonly pieces: Uint8Array | undefined
  readonly v2: V2Digest | undefined
  readonly ed2k: Ed2kDigest | undefined
}
