import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { seededBytes } from '../../../test/kits/transfer-doubles.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { CLEAR_HEAD_BYTES, encryptedSize, plainSize, readClearHead } from '../../wire/encrypted-file.ts'
import { ENCRYPTED_SEGMENT_BYTES } from '../../wire/limits.ts'
import type { FileSecret } from '../file-cipher.node.ts'
import { Decrypter, encryptFile } from './file-encryption.node.ts'

const KEY: FileSecret = { key: new Uint8Array(32).fill(7) }

interface Made {
  readonly plain: Uint8Array
  readonly cipherPath: string
  readonly cipher: Buffer
  readonly out: string
}
async function make(t: TestContext, size: number, secret: FileSecret = KEY): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), 'kith-encrypt-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const from = join(folder, 'plain')
  const cipherPath = join(folder, 'cipher')
  const plain = seededBytes(size)
  writeFileSync(from, plain)
  await encryptFile({ from, to: cipherPath, secret, name: 'geheim ☕.txt', mime: 'text/plain' }, () => {})
  return { plain, cipherPath, cipher: readFileSync(cipherPath), out: join(folder, 'out') }
}

/** Decrypts, telling of the file in steps. */
async function decrypt(made: Made, secret: FileSecret = KEY, step = 300_000): Promise<Buffer> {
  const size = readFileSync(made.cipherPath).length
  await using d = new Decrypter(made.cipherPath, size, made.out, secret)
  for (let at = 0; at < size; at += step) d.follow(at)
  d.follow(size)
  await d.done
  return readFileSync(made.out)
}

for (const size of [
  1,
  1000,
  ENCRYPTED_SEGMENT_BYTES - 1,
  ENCRYPTED_SEGMENT_BYTES,
  ENCRYPTED_SEGMENT_BYTES + 1,
  3 * ENCRYPTED_SEGMENT_BYTES + 17
]) {
  test(`${size} bytes are encrypted and decrypted`, async t => {
    const made = await make(t, size)
    assert.equal(made.cipher.length, encryptedSize(size, readClearHead(made.cipher).sealedBytes))
    assert.equal(plainSize(made.cipher.length, readClearHead(made.cipher).sealedBytes), size)
    assert.equal(Buffer.compare(await decrypt(made), made.plain), 0)
    assert.ok(!existsSync(made.out), 'nothing stays that was not kept')
    if (size > 32) assert.equal(made.cipher.indexOf(made.plain.subarray(0, 32)), -1, 'no plaintext in the encrypted file')
    assert.equal(made.cipher.indexOf('geheim'), -1, 'nor its name')
  })
}

test('the head tells name, size and hash of the plaintext, and the same file is never encrypted the same way twice', async t => {
  const made = await make(t, 1000)
  await using d = new Decrypter(made.cipherPath, made.cipher.length, made.out, KEY)
  d.follow(made.cipher.length)
  const head = await d.head
  assert.deepEqual(
    { ...head, sha256: Buffer.from(head.sha256).toString('hex') },
    {
      sha256: createHash('sha256').update(made.plain).digest('hex'),
      size: 1000,
      name: 'geheim ☕.txt',
      mime: 'text/plain'
    }
  )
  const again = await make(t, 1000)
  assert.notEqual(Buffer.compare(again.cipher.subarray(100), made.cipher.subarray(100)), 0)
})

test('CH15: a wrong key, the other kind of secret, and a wrong passphrase are one plain error, found by the first chunk', async t => {
  const made = await make(t, 2 * ENCRYPTED_SEGMENT_BYTES)
  for (const secret of [{ key: new Uint8Array(32).fill(8) }, { passphrase: 'wrong horse' }]) {
    await using d = new Decrypter(made.cipherPath, made.cipher.length, made.out, secret)
    d.follow(ENCRYPTED_SEGMENT_BYTES) // only the front is here
    await assert.rejects(d.head, e => hasCode(e, 'WRONG_KEY'))
  }
  const locked = await make(t, 1000, { passphrase: 'correct horse' })
  assert.equal(Buffer.compare(await decrypt(locked, { passphrase: 'correct horse' }), locked.plain), 0)
  await assert.rejects(decrypt(locked, { passphrase: 'wrong horse' }), e => hasCode(e, 'WRONG_KEY'))
  await assert.rejects(decrypt(locked, KEY), e => hasCode(e, 'WRONG_KEY'))
  assert.ok(!existsSync(locked.out))
})

test('CH15: truncated, reordered, duplicated and changed segments give DECRYPTION_FAILED and no file', async t => {
  const made = await make(t, 4 * ENCRYPTED_SEGMENT_BYTES)
  const body = CLEAR_HEAD_BYTES + readClearHead(made.cipher).sealedBytes
  const segment = (i: number): Buffer =>
    made.cipher.subarray(body + i * (ENCRYPTED_SEGMENT_BYTES + 16), body + (i + 1) * (ENCRYPTED_SEGMENT_BYTES + 16))
  const front = made.cipher.subarray(0, body)
  const flip = (at: number): Buffer => {
    const copy = Buffer.from(made.cipher)
    copy[at]! ^= 1
    return copy
  }
  const damaged: Record<string, Buffer> = {
    'cut at a segment': made.cipher.subarray(0, body + 3 * (ENCRYPTED_SEGMENT_BYTES + 16)),
    'cut inside': made.cipher.subarray(0, made.cipher.length - 1000),
    'cut to the head': front,
    swapped: Buffer.concat([front, segment(1), segment(0), segment(2), segment(3)]),
    'one twice': Buffer.concat([front, segment(0), segment(0), segment(2), segment(3)]),
    'one more at the end': Buffer.concat([made.cipher, segment(3)]),
    'a bit': flip(body + 5),
    'a bit of the last tag': flip(made.cipher.length - 1)
  }
  for (const [what, bytes] of Object.entries(damaged)) {
    writeFileSync(made.cipherPath, bytes)
    await assert.rejects(decrypt(made), e => hasCode(e, 'DECRYPTION_FAILED'), what)
    assert.ok(!existsSync(made.out), what)
  }
})

test('CH15: key parameters that are too cheap, too dear or absent are BAD_KDF', () => {
  const head = Buffer.alloc(CLEAR_HEAD_BYTES)
  head.write('KITHENC1', 'latin1')
  head[8] = 1
  const refused = (kdf: number, iterations: number, salt: number): void => {
    head[9] = kdf
    head.writeUInt32BE(iterations, 10)
    head.fill(salt, 14, 30)
    assert.throws(
      () => readClearHead(head),
      e => hasCode(e, 'BAD_KDF'),
      `${kdf} ${iterations} ${salt}`
    )
  }
  for (const iterations of [0, 1, 599_999, 10_000_001, 2 ** 31]) refused(1, iterations, 1)
  refused(0, 1, 1)
  refused(0, 0, 0)
  refused(2, 600_000, 1)
})

test('property: any bytes as a head are read or refused with a code', () => {
  const magic = fc.uint8Array({ minLength: 0, maxLength: 60 }).map(tail => Buffer.concat([Buffer.from('KITHENC1\x01', 'latin1'), tail]))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), magic), bytes => {
      try {
        readClearHead(bytes)
      } catch (error) {
        assert.ok(error instanceof KithError)
      }
    })
  )
})

test('encrypting stops when asked to and leaves nothing', async t => {
  const made = await make(t, 1000)
  const stop = new AbortController()
  stop.abort()
  const work = encryptFile({ from: made.cipherPath, to: made.out, secret: KEY, name: 'x', mime: '' }, () => {}, stop.signal)
  await assert.rejects(work, e => hasCode(e, 'CANCELLED'))
  assert.ok(!existsSync(made.out))
})
