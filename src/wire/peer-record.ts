/**
 * Peer record: what an instance says about itself to those who look for it. Signed (signed.ts) with PEER_RECORD_DOMAIN by the instance key,
 * so it may be handed on by anybody.
 *
 * | bytes | field        | notes                                                                        |
 * | ----: | ------------ | ---------------------------------------------------------------------------- |
 * |     1 | version      | 1                                                                            |
 * |   2+n | certificate  | peer chain (peer-certificate.ts): which PeerId speaks for the signer          |
 * |     8 | sequence     | a later record of the same signer has a higher one                           |
 * |     8 | expiresAt    | ms since 1970, at most 24 h ahead                                            |
 * |     1 | relays       | whose messages it carries on: 0 nobody's, 1 its contacts', 2 everybody's      |
 * |     1 | agents       | count ≤ 16, each: key 32, certificate bytes16 ≤ 512, skills (names)           |
 * |       | capabilities | names                                                                        |
 * |   2+n | prekey       | signed prekey (docs/wire/session.md), ≤ 512; empty: none                      |
 * |     1 | via          | count ≤ 4, each: PeerId bytes16, entity key 32: who keeps messages for it     |
 *
 * Names: count u8 ≤ 64, each text16 of 1 to 64 bytes without control characters, none twice.
 * Spec: docs/wire/reach.md §1
 */
import { type Codec, expectVersion, type Reader, type Writer } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import {
  MAX_AGENT_CERTIFICATE_BYTES,
  MAX_PEER_ID_BYTES,
  MAX_PREKEY_BYTES,
  MAX_RECORD_AGENTS,
  MAX_RECORD_NAME_BYTES,
  MAX_RECORD_NAMES,
  MAX_RECORD_VIA
} from './limits.ts'
import { MAX_PEER_CHAIN_BYTES } from './peer-certificate.ts'

export const PEER_RECORD_DOMAIN = 'kith/peer-record/1'

const RELAYS_FOR = ['nobody', 'contacts', 'everyone'] as const
/** Whose messages a peer carries on. */
export type RelaysFor = (typeof RELAYS_FOR)[number]

export interface AnnouncedAgent {
  /** Ed25519 key of the agent. */
  readonly key: Uint8Array
  /** What proves that it belongs to the instance; its layout is that of who checks it. */
  readonly certificate: Uint8Array
  readonly skills: readonly string[]
}

/** A peer that keeps messages for the signer, or carries them to it. */
export interface ViaPeer {
  /** libp2p PeerId, multihash bytes. */
  readonly peerId: Uint8Array
  /** Ed25519 key of its instance. */
  readonly entityKey: Uint8Array
}

export interface PeerRecord {
  /** Encoded peer chain. */
  readonly certificate: Uint8Array
  readonly sequence: number
  readonly expiresAt: number
  readonly relaysFor: RelaysFor
  readonly agents: readonly AnnouncedAgent[]
  readonly capabilities: readonly string[]
  /** undefined: nothing can be sealed for it. */
  readonly prekey: Uint8Array | undefined
  readonly via: readonly ViaPeer[]
}

export const peerRecordCodec: Codec<PeerRecord> = {
  write(w, m) {
    w.u8(1)
    w.bytes16(m.certificate)
    w.u64(m.sequence)
    w.u64(m.expiresAt)
    w.u8(RELAYS_FOR.indexOf(m.relaysFor))
    w.u8(m.agents.length)
    for (const a of m.agents) {
      w.bytes(a.key)
      w.bytes16(a.certificate)
      writeNames(w, a.skills)
    }
    writeNames(w, m.capabilities)
    w.bytes16(m.prekey ?? new Uint8Array())
    w.u8(m.via.length)
    for (const v of m.via) {
      w.bytes16(v.peerId)
      w.bytes(v.entityKey)
    }
  },
  read(r) {
    expectVersion(r, 1)
    const head = { certificate: r.bytes16(MAX_PEER_CHAIN_BYTES), sequence: r.u64(), expiresAt: r.u64() }
    const relaysFor = RELAYS_FOR[r.u8()]
    if (!relaysFor) throw new KithError('WIRE_RANGE', 'unknown choice of whom a peer relays for')
    const agents = times(r, MAX_RECORD_AGENTS, () => ({
      key: r.bytes(32),
      certificate: r.bytes16(MAX_AGENT_CERTIFICATE_BYTES),
      skills: readNames(r)
    }))
    const capabilities = readNames(r)
    const prekey = r.bytes16(MAX_PREKEY_BYTES)
    const via = times(r, MAX_RECORD_VIA, () => ({ peerId: r.bytes16(MAX_PEER_ID_BYTES), entityKey: r.bytes(32) }))
    if (via.some(v => v.peerId.length === 0)) throw new KithError('WIRE_RANGE', 'a peer without id')
    return { ...head, relaysFor, agents, capabilities, prekey: prekey.length > 0 ? prekey : undefined, via }
  }
}

function times<T>(r: Reader, max: number, read: () => T): T[] {
  const n = r.u8()
  if (n > max) throw new KithError('WIRE_RANGE', 'too many entries', { count: n, max })
  return Array.from({ length: n }, read)
}

function writeNames(w: Writer, names: readonly string[]): void {
  w.u8(names.length)
  for (const name of names) w.text16(name)
}

function readNames(r: Reader): string[] {
  const names = times(r, MAX_RECORD_NAMES, () => r.text16(MAX_RECORD_NAME_BYTES))
  if (new Set(names).size !== names.length) throw new KithError('WIRE_RANGE', 'a name stands there twice')
  if (!names.every(isAnnouncedName)) throw new KithError('WIRE_TEXT', 'not a name of a capability')
  return names
}

/** Whether a capability or skill may be announced under this name. */
export const isAnnouncedName = (name: string): boolean =>
  name.length > 0 &&
  name.isWellFormed() &&
  new TextEncoder().encode(name).length <= MAX_RECORD_NAME_BYTES &&
  !/[\p{C}\p{Zl}\p{Zp}]/u.test(name)
