/**
 * What a runtime's #crypto answers to published vectors, as one text for each set: a letter for each case. Runs in Node and in a browser;
 * two runtimes agree when the texts are equal.
 */
import { bytesToHex, concatBytes, hexToBytes, utf8 } from '../../src/base/bytes.ts'
import type * as nodeCrypto from '../../src/platform/crypto.node.ts'
import type { Aead, Signer, Verifier } from '../../src/platform/crypto-types.ts'

/** Exports of both leaves, as the slower one has them. */
export type Crypto = Omit<typeof nodeCrypto, 'openAead' | 'openSigner' | 'openVerifier'> & {
  openAead(key: Uint8Array): Aead
  openSigner(seed: Uint8Array): Signer
  openVerifier(key: Uint8Array): Verifier
}

interface Wycheproof<T> {
  readonly testGroups: readonly (T & { readonly tests: readonly (T & { readonly result: 'valid' | 'acceptable' | 'invalid' })[] })[]
}
type Hex = Readonly<Record<string, string>>

/** The vector files, parsed. */
export interface Vectors {
  readonly cctv: readonly { readonly key: string; readonly sig: string; readonly msg: string }[]
  readonly speccheck: readonly { readonly message: string; readonly pub_key: string; readonly signature: string }[]
  readonly ed25519: { readonly testGroups: readonly { readonly publicKey: { readonly pk: string }; readonly tests: readonly Hex[] }[] }
  readonly x25519: Wycheproof<Hex>
  readonly aesGcm: {
    readonly testGroups: readonly {
      readonly keySize: number
      readonly ivSize: number
      readonly tagSize: number
      readonly tests: readonly Hex[]
    }[]
  }
  readonly hkdf: { readonly testGroups: readonly { readonly tests: readonly (Hex & { readonly size: number })[] }[] }
}

/** Where each file is, below test/vectors. */
export const VECTOR_FILES: Readonly<Record<keyof Vectors, string>> = {
  cctv: 'ed25519/cctv-ed25519vectors.json',
  speccheck: 'ed25519/speccheck-cases.json',
  ed25519: 'wycheproof/ed25519_test.json',
  x25519: 'wycheproof/x25519_test.json',
  aesGcm: 'wycheproof/aes_gcm_test.json',
  hkdf: 'wycheproof/hkdf_sha256_test.json'
}

export type Verdicts = Readonly<Record<keyof Vectors, string>>

export async function verdictsOf(crypto: Crypto, v: Vectors): Promise<Verdicts> {
  return {
    cctv: await each(v.cctv, async c => letter(await crypto.ed25519Verify(hexToBytes(c.key), utf8(c.msg), hexToBytes(c.sig)))),
    speccheck: await each(v.speccheck, async c =>
      letter(await crypto.ed25519Verify(hexToBytes(c.pub_key), hexToBytes(c.message), hexToBytes(c.signature)))
    ),
    ed25519: await each(
      v.ed25519.testGroups.flatMap(g => g.tests.map(t => ({ ...t, pk: g.publicKey.pk }) as Hex)),
      async t => letter(await crypto.openVerifier(hexToBytes(t['pk']!)).verify(hexToBytes(t['msg']!), hexToBytes(t['sig']!)))
    ),
    x25519: await each(
      v.x25519.testGroups.flatMap(g => g.tests),
      t => x25519Verdict(crypto, t)
    ),
    aesGcm: await each(
      v.aesGcm.testGroups.filter(g => g.keySize === 256).flatMap(g => g.tests),
      t => aesGcmVerdict(crypto, t)
    ),
    hkdf: await each(
      v.hkdf.testGroups.flatMap(g => g.tests),
      t => hkdfVerdict(crypto, t)
    )
  }
}

/** V: accepted and right. X: refused. W: something else came out. */
const letter = (isAccepted: boolean): string => (isAccepted ? 'V' : 'X')

async function x25519Verdict(crypto: Crypto, t: Hex): Promise<string> {
  const shared = await crypto.x25519(hexToBytes(t['private']!), hexToBytes(t['public']!))
  if (!shared) return 'X'
  return bytesToHex(shared) === t['shared'] ? 'V' : 'W'
}

async function aesGcmVerdict(crypto: Crypto, t: Hex): Promise<string> {
  const [key, iv, aad, msg] = [t['key'], t['iv'], t['aad'], t['msg']].map(h => hexToBytes(h!)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array
  ]
  const sealed = concatBytes(hexToBytes(t['ct']!), hexToBytes(t['tag']!))
  const opened = await crypto.aesGcmOpen(key, iv, sealed, aad)
  if (!opened) return 'X'
  const made = bytesToHex(await crypto.aesGcmSeal(key, iv, msg, aad))
  return bytesToHex(opened) === t['msg'] && made === bytesToHex(sealed) ? 'V' : 'W'
}

async function hkdfVerdict(crypto: Crypto, t: Hex & { readonly size: number }): Promise<string> {
  try {
    const okm = await crypto.hkdfSha256(hexToBytes(t['ikm']!), hexToBytes(t['info']!), t.size, hexToBytes(t['salt']!))
    return bytesToHex(okm) === t['okm'] ? 'V' : 'W'
  } catch {
    return 'X' // longer than 255 blocks
  }
}

async function each<T>(cases: readonly T[], verdict: (c: T) => Promise<string>): Promise<string> {
  let out = ''
  for (const c of cases) out += await verdict(c)
  return out
}
