/**
 * Requests and answers between nodes about files; carried by net's request/response, one method each. Every answer body begins
 * where the transport's own status byte ended, so a refusal never reaches these readers.
 * Spec: docs/wire/transfer.md §5
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { HASHES_PER_PAGE, MAX_PROOF_HASHES } from './limits.ts'
import { type Signed, signedCodec } from './signed.ts'

/** Largest peer certificate in an answer. */
export const MAX_CERTIFICATE_BYTES = 1024

/**
 * `offer`: what do you have of this file, and on what terms? The wallet lets the answer state the credit of this reader.
 *
 * | bytes | field   |
 * | ----: | ------- |
 * |     1 | version = 1 |
 * |    32 | fileId  |
 * |    20 | wallet, zeros for none |
 */
export interface OfferRequest {
  readonly fileId: Uint8Array
  readonly wallet: Uint8Array
}
export const offerRequest: Codec<OfferRequest> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.fileId)
    w.bytes(m.wallet)
  },
  read(r) {
    expectVersion(r, 1)
    return { fileId: r.bytes(32), wallet: r.bytes(20) }
  }
}

/**
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |   2+n | certificate that binds the signer to the PeerId (docs/wire/identity.md) |
 * |     … | signed offer, signed.ts |
 * |   1+… | has manifest 0/1, then the signed manifest |
 */
export interface OfferAnswer {
  readonly certificate: Uint8Array
  readonly offer: Signed
  readonly manifest: Signed | undefined
}
export const offerAnswer: Codec<OfferAnswer> = {
  write(w, m) {
    w.u8(1)
    w.bytes16(m.certificate)
    signedCodec.write(w, m.offer)
    w.u8(m.manifest ? 1 : 0)
    if (m.manifest) signedCodec.write(w, m.manifest)
  },
  read(r) {
    expectVersion(r, 1)
    const certificate = r.bytes16(MAX_CERTIFICATE_BYTES)
    const offer = signedCodec.read(r)
    const flag = r.u8()
    if (flag > 1) throw new KithError('WIRE_RANGE', 'flag is neither 0 nor 1', { value: flag })
    return { certificate, offer, manifest: flag === 1 ? signedCodec.read(r) : undefined }
  }
}

/**
 * `hashes`: one page of the chunk hash list.
 *
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |    32 | root        |
 * |     4 | page        |
 */
export interface HashPageRequest {
  readonly root: Uint8Array
  readonly page: number
}
export const hashPageRequest: Codec<HashPageRequest> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.root)
    w.u32(m.page)
  },
  read(r) {
    expectVersion(r, 1)
    return { root: r.bytes(32), page: r.u32() }
  }
}

/**
 * | bytes  | field       |
 * | -----: | ----------- |
 * |      1 | version = 1 |
 * |      1 | p: hashes in the audit path ≤ 22 |
 * | 32 × p | path, from the page's own level upwards |
 * |      4 | n: chunk hashes ≤ 8192 |
 * | 32 × n | hashes |
 */
export interface HashPage {
  readonly path: readonly Uint8Array[]
  readonly hashes: Uint8Array
}
export const hashPage: Codec<HashPage> = {
  write(w, m) {
    w.u8(1)
    w.u8(m.path.length)
    for (const h of m.path) w.bytes(h)
    w.u32(m.hashes.length / 32)
    w.bytes(m.hashes)
  },
  read(r) {
    expectVersion(r, 1)
    const p = r.u8()
    if (p > MAX_PROOF_HASHES) throw new KithError('WIRE_RANGE', 'audit path too long', { length: p })
    const path = Array.from({ length: p }, () => r.bytes(32))
    const n = r.u32()
    if (n < 1 || n > HASHES_PER_PAGE) throw new KithError('WIRE_RANGE', 'hash page too large', { count: n })
    return { path, hashes: r.bytes(32 * n) }
  }
}

/**
 * `ticket`: who is asking for a file (DESIGN §6). The request is Signed with TICKET_DOMAIN by the downloader's instance key; the
 * peer certificate travels beside it.
 *
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |    32 | fileId      |
 * |   2+n | PeerId of the seeder it is for (multihash bytes) |
 * |    20 | wallet of the downloader |
 * |     8 | time, ms    |
 */
export const TICKET_DOMAIN = 'kith/ticket/1'
export interface TicketRequestBody {
  readonly fileId: Uint8Array
  readonly seeder: Uint8Array
  readonly wallet: Uint8Array
  readonly time: number
}
export const ticketRequestBody: Codec<TicketRequestBody> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.fileId)
    w.bytes16(m.seeder)
    w.bytes(m.wallet)
    w.u64(m.time)
  },
  read(r) {
    expectVersion(r, 1)
    return { fileId: r.bytes(32), seeder: r.bytes16(64), wallet: r.bytes(20), time: r.u64() }
  }
}
export interface TicketRequest {
  readonly certificate: Uint8Array
  readonly request: Signed
}
export const ticketRequest: Codec<TicketRequest> = {
  write(w, m) {
    w.bytes16(m.certificate)
    signedCodec.write(w, m.request)
  },
  read: r => ({ certificate: r.bytes16(MAX_CERTIFICATE_BYTES), request: signedCodec.read(r) })
}

/**
 * | bytes | field       |
 * | ----: | ----------- |
 * |     1 | version = 1 |
 * |    16 | id          |
 * |    32 | key (the answer travels inside libp2p's encryption) |
 * |     8 | expiresAt, ms |
 */
export interface TicketAnswer {
  readonly id: Uint8Array
  readonly key: Uint8Array
  readonly expiresAt: number
}
export const ticketAnswer: Codec<TicketAnswer> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.id)
    w.bytes(m.key)
    w.u64(m.expiresAt)
  },
  read(r) {
    expectVersion(r, 1)
    return { id: r.bytes(16), key: r.bytes(32), expiresAt: r.u64() }
  }
}
