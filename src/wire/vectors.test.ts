/** Every layout against docs/wire/vectors.json, which docs/wire/vectors.py computes from the text of docs/wire without this code. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { sha256 } from '#hash'
import { bytesToHex, concatBytes, hexToBytes } from '../base/bytes.ts'
import { type Codec, decode, encode, Writer } from '../base/codec.ts'
import { openSigned } from '../identity/signing.ts'
import { checkChunkPath, checkPage, chunkPath, makePage, merkleRoot } from '../transfer/hashing/merkle.ts'
import { fileRequest, fileResponse } from './file-stream.ts'
import { instanceCertificateCodec } from './instance-certificate.ts'
import { formatLink, parseLink } from './link.ts'
import { manifestCodec } from './manifest.ts'
import { offerCodec } from './offer.ts'
import { countersignAnswer, invoiceBytes, paidAnswer, paidCodec } from './paid.ts'
import { peerCertificateCodec, peerChainCodec } from './peer-certificate.ts'
import { rangesCodec } from './ranges.ts'
import { receiptCodec } from './receipt.ts'
import { rtcAnswer, rtcOffer } from './rtc.ts'
import { type Signed, signedCodec } from './signed.ts'
import { hashPage, hashPageRequest, offerAnswer, offerRequest, ticketAnswer, ticketRequest, ticketRequestBody } from './transfer-rpc.ts'

const FOLDER = join(import.meta.dirname, '../../docs/wire')
const TEXT = readFileSync(join(FOLDER, 'vectors.json'), 'utf8')

interface Merkle {
  readonly size: number
  readonly fileId: Uint8Array
  readonly chunkHashes: readonly Uint8Array[]
  readonly root: Uint8Array
  readonly paths: readonly (readonly Uint8Array[])[]
}
interface Vectors {
  readonly vectors: readonly {
    readonly layout: string
    readonly name: string
    readonly domain?: string
    readonly fields: unknown
    readonly bytes: Uint8Array
  }[]
  readonly refused: readonly { readonly layout: string; readonly why: string; readonly bytes: Uint8Array; readonly code: string }[]
  readonly merkle: readonly Merkle[]
  readonly hashPages: readonly (Omit<Merkle, 'chunkHashes' | 'fileId'> & { readonly count: number })[]
  readonly invoice: { readonly salt: Uint8Array; readonly receipts: readonly Uint8Array[]; readonly invoiceId: Uint8Array }
  readonly links: readonly { readonly text: string; readonly link: Parameters<typeof formatLink>[0] }[]
}

const VECTORS = JSON.parse(TEXT, (key, value: unknown) => {
  if (key === 'pricePerMb' || key === 'amount') return BigInt(value as string)
  return typeof value === 'string' && value.startsWith('0x') ? hexToBytes(value.slice(2)) : value
}) as Vectors

/** JSON's null, which stands for an absent field, to undefined. */
function absent(value: unknown): unknown {
  if (value === null) return undefined
  if (value instanceof Uint8Array || typeof value !== 'object') return value
  if (Array.isArray(value)) return value.map(absent)
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, absent(v)]))
}

const CODECS = {
  countersignAnswer,
  fileRequest,
  fileResponse,
  hashPage,
  hashPageRequest,
  instanceCertificate: instanceCertificateCodec,
  manifest: manifestCodec,
  offer: offerCodec,
  offerAnswer,
  offerRequest,
  paid: paidCodec,
  paidAnswer,
  peerCertificate: peerCertificateCodec,
  peerChain: peerChainCodec,
  ranges: rangesCodec,
  receipt: receiptCodec,
  rtcAnswer,
  rtcOffer,
  signed: signedCodec,
  ticketAnswer,
  ticketRequest,
  ticketRequestBody
} as unknown as Record<string, Codec<unknown>>

for (const { layout, name, fields, bytes } of VECTORS.vectors) {
  test(`${layout}: ${name}`, () => {
    const codec = CODECS[layout]!
    assert.equal(bytesToHex(encode(codec, absent(fields))), bytesToHex(bytes))
    assert.deepEqual(decode(codec, bytes), absent(fields))
  })
}

test('every layout has a vector', () => {
  assert.deepEqual(
    Object.keys(CODECS).filter(layout => !VECTORS.vectors.some(v => v.layout === layout)),
    []
  )
})

test('what must be refused is refused with its code', () => {
  for (const { layout, why, bytes, code } of VECTORS.refused)
    assert.throws(() => decode(CODECS[layout]!, bytes), { code }, `${layout}: ${why}`)
})

test('signatures of the vectors hold under their domain and no other', async () => {
  const raw: Codec<Uint8Array> = { write: (w, b) => w.bytes(b), read: r => r.bytes(r.left) }
  const signed = VECTORS.vectors.filter(v => v.layout === 'signed')
  assert.ok(signed.length >= 7)
  for (const { domain, fields } of signed) {
    await openSigned(raw, domain!, fields as Signed)
    await assert.rejects(openSigned(raw, `${domain}0`, fields as Signed), { code: 'WIRE_SIGNATURE' })
  }
})

test('roots and chunk paths', () => {
  for (const { size, chunkHashes, root, paths } of VECTORS.merkle) {
    const hashes = concatBytes(...chunkHashes)
    assert.deepEqual(merkleRoot(size, hashes), root, `${size} bytes`)
    for (const [i, path] of paths.entries()) {
      assert.deepEqual(chunkPath(hashes, i), path)
      assert.ok(checkChunkPath(root, size, chunkHashes.length, i, chunkHashes[i]!, path))
    }
  }
})

test('pages of a long hash list', () => {
  for (const { size, count, root, paths } of VECTORS.hashPages) {
    const hashes = new Uint8Array(32 * count)
    for (let i = 0; i < count; i++) hashes.set(sha256(u32(i)), 32 * i)
    assert.deepEqual(merkleRoot(size, hashes), root, `${count} chunks`)
    for (const [i, path] of paths.entries()) {
      const page = makePage(hashes, i)
      assert.deepEqual(page.path, path)
      checkPage(root, size, count, i, page.hashes, path)
    }
  }
})

test('invoice ids and links', () => {
  const { salt, receipts, invoiceId } = VECTORS.invoice
  assert.deepEqual(sha256(invoiceBytes(salt, receipts)), invoiceId)
  for (const { text, link } of VECTORS.links) {
    assert.deepEqual(parseLink(text), absent(link))
    assert.equal(formatLink(absent(link) as typeof link), text)
  }
})

test('the program that makes the vectors makes these', t => {
  if (spawnSync('/usr/bin/python3', ['-c', 'import cryptography']).status !== 0) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'python3-cryptography is missing')
    return t.skip('needs the Debian package python3-cryptography')
  }
  const made = execFileSync('/usr/bin/python3', [join(FOLDER, 'vectors.py')], { encoding: 'utf8', env: { PYTHONUTF8: '1' } })
  assert.equal(made, TEXT)
})

function u32(n: number): Uint8Array {
  const w = new Writer()
  w.u32(n)
  return w.done()
}
