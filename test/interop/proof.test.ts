/** Transfer proofs (spec 004) are checked by a third party's program: Python, its standard library and python3-cryptography. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { bytesToHex } from '../../src/base/bytes.ts'
import { encode } from '../../src/base/codec.ts'
import { makeProof } from '../../src/pay/proof.ts'
import { invoiceIdOf } from '../../src/pay/receipts.ts'
import { sha256 } from '../../src/platform/hash.node.ts'
import { toRanges } from '../../src/wire/ranges.ts'
import { COUNTERSIGN_DOMAIN, RECEIPT_DOMAIN, type Receipt, receiptBytes, receiptCodec } from '../../src/wire/receipt.ts'
import { amountDue } from '../../src/wire/wei.ts'
import { makeFile, makeSigner, tempFolder } from '../kits/pay.ts'

const PYTHON = '/usr/bin/python3'
const SCRIPT = join(import.meta.dirname, 'verify_proof.py')
const missing = spawnSync(PYTHON, ['-c', 'import cryptography']).status !== 0
if (missing && process.env['KITH_REQUIRE_INTEROP'] === '1') throw new Error('python3-cryptography is needed')
const options = missing ? { skip: 'install the Debian package python3-cryptography' } : {}

async function prove(chunks: readonly number[], count: number): Promise<Record<string, unknown>> {
  const file = makeFile('proved', count)
  const payer = await makeSigner(new Uint8Array(32).fill(1))
  const payee = await makeSigner(new Uint8Array(32).fill(2))
  const half = Math.ceil(chunks.length / 2)
  const parts = [
    { protocol: 'http', chunks: toRanges(chunks.slice(0, half)) },
    { protocol: 'bittorrent', chunks: toRanges(chunks.slice(half)) }
  ].filter(p => p.chunks.length > 0)
  const bytes = receiptBytes(file.size, parts)
  const price = 1_234_567_890_123n
  const receipt: Receipt = {
    ...file,
    id: new Uint8Array(16).fill(3),
    offerHash: new Uint8Array(32).fill(4),
    payer: payer.instanceKey,
    payee: payee.instanceKey,
    from: new Uint8Array(20).fill(5),
    to: new Uint8Array(20).fill(6),
    chainId: 98765,
    pricePerMb: price,
    bytes,
    amount: amountDue(bytes, price),
    time: 1_700_000_000_000,
    parts
  }
  const body = encode(receiptCodec, receipt)
  const salt = new Uint8Array(32).fill(7)
  const receipts = [sha256(body), new Uint8Array(32).fill(255)]
  return makeProof(
    {
      body,
      signature: (await payer.sign(RECEIPT_DOMAIN, body)).signature,
      countersignature: (await payee.sign(COUNTERSIGN_DOMAIN, body)).signature,
      payment: { tx: `0x${'ab'.repeat(32)}`, invoiceId: invoiceIdOf(salt, receipts), salt, receipts }
    },
    file.chunkHashes
  )
}

function verify(proof: unknown): { readonly status: number | null; readonly out: string; readonly err: string } {
  using folder = tempFolder()
  const path = join(folder.path, 'proof.json')
  writeFileSync(path, typeof proof === 'string' ? proof : JSON.stringify(proof))
  const { status, stdout, stderr } = spawnSync(PYTHON, [SCRIPT, path], { encoding: 'utf8' })
  return { status, out: stdout, err: stderr }
}

test('proofs of one chunk, of scattered chunks and of whole files are accepted', options, async () => {
  for (const [chunks, count] of [
    [[0], 1],
    [[4], 5],
    [[0, 1, 2, 3, 4], 5],
    [[1, 3, 4, 9, 10, 12], 13],
    [Array.from({ length: 700 }, (_, i) => i * 3 + 1), 2200]
  ] as const) {
    const { status, out, err } = verify(await prove(chunks, count))
    assert.equal(status, 0, err)
    assert.equal((JSON.parse(out) as { chunks: number }).chunks, chunks.length)
  }
})

test('a proof changed anywhere is refused with the reason', options, async () => {
  const good = (await prove([1, 3, 4], 9)) as Record<string, never>
  const changed = (change: (p: Record<string, Record<string, unknown>>) => void): unknown => {
    const copy = structuredClone(good)
    change(copy)
    return copy
  }
  const other = bytesToHex(new Uint8Array(32).fill(9))
  const flip = (hex: unknown): string => String(hex).replace(/^../, b => ((Number.parseInt(b, 16) ^ 1) + 256).toString(16).slice(1))
  const cases: [unknown, RegExp][] = [
    [changed(p => ((p['chunk_hashes'] as unknown as string[])[1] = other)), /do not belong to the file/],
    [changed(p => (p['merkle_proof']!['nodes'] as string[]).pop()), /too short/],
    [changed(p => (p['merkle_proof']!['nodes'] as string[]).push(other)), /too long/],
    [changed(p => (p['payer']!['signature'] = flip(p['payer']!['signature']))), /signature of the payer/],
    [changed(p => (p['payee']!['signature'] = p['payer']!['signature'])), /signature of the payee/],
    [changed(p => (p['payee']!['signature'] = null)), /not countersigned/],
    [changed(p => (p['payment']!['amount'] = '1')), /amount/],
    [changed(p => (p['settlement']!['salt'] = other)), /invoice id/],
    [changed(p => (p['settlement']!['receipt_hashes'] = [other])), /does not pay this receipt/],
    [changed(p => void ((p as Record<string, unknown>)['timestamp'] = 1)), /time/],
    [changed(p => void ((p as Record<string, unknown>)['receipt'] = flip(p['receipt']))), /version/],
    ['[]', /not a transfer proof/],
    ['{', /not a valid/],
    ['['.repeat(200_000), /not a valid/]
  ]
  for (const [proof, reason] of cases) {
    const { status, err } = verify(proof)
    assert.equal(status, 1, `${reason}: ${err}`)
    assert.match(err, reason)
  }
})
