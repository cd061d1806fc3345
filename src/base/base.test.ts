import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import test from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../test/kits/any-text.ts'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import * as bytes from './bytes.ts'
import { type Codec, decode, encode, Reader, Writer } from './codec.ts'
import { codeOf, hasCode, KithError, textOf, toldTextOf } from './errors.ts'
import { Emitter } from './events.ts'
import { createLogger } from './log.ts'
import { TokenBucket } from './token-bucket.ts'

test('bytes come back from every text form, and only canonical text is read', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), b => {
      assert.deepEqual(bytes.hexToBytes(bytes.bytesToHex(b)), b)
      assert.deepEqual(bytes.base32ToBytes(bytes.bytesToBase32(b)), b)
      assert.deepEqual(bytes.base64UrlToBytes(bytes.bytesToBase64Url(b)), b)
      assert.equal(bytes.bytesToHex(b), Buffer.from(b).toString('hex'))
      assert.equal(bytes.bytesToBase64Url(b), Buffer.from(b).toString('base64url'))
    })
  )
  fc.assert(
    fc.property(anyText(), text => {
      for (const read of [bytes.hexToBytes, bytes.base32ToBytes, bytes.base64UrlToBytes, bytes.utf8]) {
        try {
          read(text)
        } catch (e) {
          assert.ok(e instanceof KithError && e.code.startsWith('BAD_'), String(e))
        }
      }
    })
  )
  for (const bad of ['YR', 'YQ==', 'Y Q', 'YQ\n', 'Y']) assert.throws(() => bytes.base64UrlToBytes(bad), { code: 'BAD_BASE64' }, bad)
  for (const bad of ['0', 'zz', '0x00']) assert.throws(() => bytes.hexToBytes(bad), { code: 'BAD_HEX' })
  assert.throws(() => bytes.base32ToBytes('ab1'), { code: 'BAD_BASE32' })
  assert.throws(() => bytes.utf8('\ud800'), { code: 'BAD_TEXT' })
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80]])
    assert.throws(() => bytes.fromUtf8(Uint8Array.from(bad)), { code: 'BAD_TEXT' })
})

const sample: Codec<{ a: number; b: number; c: number; d: number; e: Uint8Array; f: string }> = {
  write(w, v) {
    w.u8(v.a)
    w.u16(v.b)
    w.u32(v.c)
    w.u64(v.d)
    w.bytes32(v.e)
    w.text16(v.f)
  },
  read: r => ({ a: r.u8(), b: r.u16(), c: r.u32(), d: r.u64(), e: r.bytes32(100), f: r.text16(50) })
}

test('any bytes decode and re-encode identically, or throw a WIRE_ error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), b => {
      try {
        assert.deepEqual(encode(sample, decode(sample, b)), b)
      } catch (e) {
        assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'), String(e))
      }
    })
  )
  const value = fc.record(
    {
      a: fc.nat(255),
      b: fc.nat(65535),
      c: fc.nat(2 ** 32 - 1),
      d: fc.maxSafeNat(),
      e: fc.uint8Array({ maxLength: 100 }),
      f: fc.string({ unit: 'grapheme', maxLength: 10 })
    },
    { noNullPrototype: true }
  )
  fc.assert(fc.property(value, v => Buffer.byteLength(v.f) > 50 || assert.deepEqual(decode(sample, encode(sample, v)), v) === undefined))
})

test('the reader refuses lengths before it allocates, and the writer refuses what does not fit', () => {
  assert.throws(() => new Reader(Uint8Array.of(0xff, 0xff, 0xff, 0xff)).bytes32(10), { code: 'WIRE_RANGE' })
  assert.throws(() => new Reader(Uint8Array.of(0, 0, 0, 9)).bytes32(10), { code: 'WIRE_TRUNCATED' })
  assert.throws(() => new Reader(new Uint8Array(8).fill(255)).u64(), { code: 'WIRE_RANGE' })
  const w = new Writer()
  for (const bad of [-1, 256, 1.5, Number.NaN]) assert.throws(() => w.u8(bad), { code: 'WIRE_RANGE' })
  assert.throws(() => w.u64(2 ** 53), { code: 'WIRE_RANGE' })
})

test('a bucket lets its rate through, in order, and no burst above its size', async () => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(clock, 100, 10)
  const done: number[] = []
  for (let i = 0; i < 10; i++) void bucket.take(10).then(() => done.push(i))
  await clock.advance(0)
  assert.deepEqual(done, [0])
  for (let i = 0; i < 5; i++) await clock.advance(100)
  assert.deepEqual(done, [0, 1, 2, 3, 4, 5])
  for (let i = 0; i < 10; i++) await clock.advance(100)
  assert.equal(done.length, 10)
  await clock.advance(60_000)
  assert.ok(bucket.tryTake(10) && !bucket.tryTake(1), 'no more than the burst is saved up')
})

test('waiting for a bucket ends with its signal, and others still get their turn', async () => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(clock, 10, 10)
  await bucket.take(10)
  const stop = new AbortController()
  const first = bucket.take(10, stop.signal)
  const second = bucket.take(10)
  stop.abort(new Error('gone'))
  await assert.rejects(first, /gone/)
  for (let i = 0; i < 40; i++) await clock.advance(100)
  await second
})

test('a listener that throws harms neither the emitter nor the others', () => {
  const errors: unknown[] = []
  const emitter = new Emitter<{ tick: number }>(e => errors.push(e))
  const heard: number[] = []
  emitter.on('tick', () => {
    throw new Error('bad listener')
  })
  const stop = new AbortController()
  emitter.on('tick', n => void heard.push(n), stop.signal)
  emitter.emit('tick', 1)
  stop.abort()
  emitter.emit('tick', 2)
  assert.deepEqual([heard, errors.length], [[1], 2])
})

test('log lines are one line of JSON each, escaped and cut', () => {
  const lines: string[] = []
  const log = createLogger(
    l => lines.push(l),
    'info',
    'kith',
    () => 0
  )
  log.debug('hidden')
  log
    .child('net')
    .warn('dial failed', { peer: 'a\r\nFAKE line\x1b[2J', cause: new KithError('PEER_LOST', 'gone'), big: 'x'.repeat(10_000), n: 5n })
  assert.equal(lines.length, 1)
  assert.ok(!/[\r\n\x1b]/.test(lines[0]!) && lines[0]!.length < 1000)
  const line = JSON.parse(lines[0]!) as Record<string, unknown>
  assert.deepEqual(
    [line['name'], line['level'], (line['cause'] as { code: string }).code, line['n']],
    ['kith:net', 'warn', 'PEER_LOST', '5']
  )
})

test('errors are told apart by code, and their text cannot move a cursor', () => {
  const e = new KithError('X_Y', 'bad \x1b[31m\u202ename', { n: 1 }, { hint: 'do this' })
  assert.ok(hasCode(e, 'X_Y') && !hasCode(new Error('X_Y'), 'X_Y'))
  assert.deepEqual([codeOf(e), codeOf(Object.assign(new Error(), { code: 'ENOENT' })), codeOf('text')], ['X_Y', 'ENOENT', 'INTERNAL'])
  assert.equal(textOf(e), 'bad �[31m�name')
})

test('others are told what went wrong, and nothing of our folders', () => {
  const told = (text: string): string => toldTextOf(new KithError('X_Y', text))
  for (const text of ['the skill is not served', 'an answer of http://host/a/b is needed', 'type and/or id', '1/2/3'])
    assert.equal(told(text), text)
  const paths = ['/home/ann/.local/share/kith/messages.db', "'/srv/x/y z'", 'C:\\Users\\ann\\x', '\\\\nas\\ann', '(/tmp/kith-1/f)']
  for (const path of paths)
    for (const text of [path, `cannot write ${path}`, `${path} is damaged`]) assert.doesNotMatch(told(text), /[\\/]|\bann\b/, text)
})

test('listeners that are taken off, or whose signal is over, leave nothing behind', () => {
  const emitter = new Emitter<{ tick: number }>()
  const { signal } = new AbortController()
  for (let i = 0; i < 5; i++) emitter.on('tick', () => assert.fail('it was taken off'), signal)()
  assert.equal(getEventListeners(signal, 'abort').length, 0)
  emitter.on('tick', () => assert.fail('over'), AbortSignal.abort())
  emitter.emit('tick', 1)
})
