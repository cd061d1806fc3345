import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyUrl } from '../../../test/kits/any-text.ts'
import { bytesToBase32, bytesToHex } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { formatMagnet, parseMagnet } from './magnet.ts'

const HASH = Uint8Array.from({ length: 20 }, (_, i) => i * 7)
const HEX = bytesToHex(HASH)
const V2 = 'ab'.repeat(32)

test('generated magnets survive writing and reading', () => {
  const magnet = fc.record({
    infoHash: fc.uint8Array({ minLength: 20, maxLength: 20 }),
    infoHashV2: fc.option(fc.uint8Array({ minLength: 32, maxLength: 32 }), { nil: undefined }),
    name: fc.string({ unit: 'grapheme', maxLength: 40 }),
    trackers: fc.uniqueArray(
      fc.nat(999).map(n => `udp://t${n}.example:80/announce?a=1&b=2`),
      { maxLength: 8 }
    ),
    webSeeds: fc.uniqueArray(anyUrl, { maxLength: 3 }),
    peers: fc.uniqueArray(
      fc.record(
        { host: fc.constantFrom('192.0.2.1', '2001:db8::1', 'peer.example'), port: fc.integer({ min: 1, max: 65535 }) },
        { noNullPrototype: true }
      ),
      { maxLength: 4, selector: p => p.host + p.port }
    )
  })
  const exact = (b: Uint8Array | undefined): Uint8Array | undefined => b && Uint8Array.from(b)
  fc.assert(
    fc.property(magnet, fc.boolean(), (m, onlyV2) => {
      const infoHash = exact(onlyV2 && m.infoHashV2 ? m.infoHashV2.subarray(0, 20) : m.infoHash)!
      const link = formatMagnet({ ...m, infoHash })
      assert.equal(link.includes('btih'), !onlyV2 || !m.infoHashV2)
      assert.deepEqual(parseMagnet(link), { ...m, infoHash, infoHashV2: exact(m.infoHashV2) })
    })
  )
})
test('any text is read or refused with BAD_MAGNET', () => {
  const soup = fc.array(
    fc.constantFrom('xt', 'tr', 'dn', 'x.pe', '=', '&', '%', '%zz', 'urn:btih:', 'urn:btmh:1220', HEX, V2, '[::1]:1', 'udp://a', '.1'),
    {
      maxLength: 20
    }
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        soup.map(s => `magnet:?${s.join('')}`)
      ),
      text => {
        try {
          parseMagnet(text)
        } catch (e) {
          assert.ok(hasCode(e, 'BAD_MAGNET'), String(e))
        }
      }
    )
  )
})
test('reads hex and base32 in either case, and numbered parameters', () => {
  for (const h of [HEX, HEX.toUpperCase(), bytesToBase32(HASH), bytesToBase32(HASH).toUpperCase()])
    assert.deepEqual(parseMagnet(`magnet:?xt=urn:btih:${h}`).infoHash, HASH)
  const m = parseMagnet(`magnet:?xt.1=urn:btih:${HEX}&xt.2=urn:sha1:x&tr.1=http%3A%2F%2Fa%2Fx&tr.2=wss://b&dn=a+b&x.pe=%5B::1%5D:5`)
  assert.deepEqual([m.trackers, m.name, m.peers], [['http://a/x'], 'a b', [{ host: '::1', port: 5 }]])
  // Addresses are written as libtorrent reads them.
  assert.match(formatMagnet(m), /&x\.pe=\[::1\]:5$/)
})
test('a hybrid link names both hashes; one of v2 alone goes by its first 20 bytes', () => {
  const both = parseMagnet(`magnet:?xt=urn:btih:${HEX}&xt=urn:btmh:1220${V2.toUpperCase()}`)
  assert.deepEqual([bytesToHex(both.infoHash), bytesToHex(both.infoHashV2!)], [HEX, V2])
  assert.equal(formatMagnet(both), `magnet:?xt=urn:btih:${HEX}&xt=urn:btmh:1220${V2}`)
  const v2 = parseMagnet(`magnet:?xt=urn:btmh:1220${V2}&xt=urn:btmh:1220${V2}`)
  assert.deepEqual([bytesToHex(v2.infoHash), bytesToHex(v2.infoHashV2!)], [V2.slice(0, 40), V2])
  assert.equal(formatMagnet(v2), `magnet:?xt=urn:btmh:1220${V2}`)
})
test('BT11: of 10,000 trackers 32 are kept, and text beyond 64 Ki characters is refused', () => {
  const many = (n: number): string => `magnet:?xt=urn:btih:${HEX}${Array.from({ length: n }, (_, i) => `&tr=udp://t${i}.x:1`).join('')}`
  assert.equal(parseMagnet(many(2000)).trackers.length, 32)
  assert.throws(
    () => parseMagnet(many(10_000)),
    (e: unknown) => hasCode(e, 'BAD_MAGNET')
  )
})
for (const [why, text] of [
  ['no hash', 'magnet:?dn=x'],
  ['two hashes', `magnet:?xt=urn:btih:${HEX}&xt=urn:btih:${HEX.replace('0', '1')}`],
  ['bad hex', `magnet:?xt=urn:btih:${'g'.repeat(40)}`],
  ['bad base32', `magnet:?xt=urn:btih:${'1'.repeat(32)}`],
  ['short hash', 'magnet:?xt=urn:btih:0011'],
  ['two v2 hashes', `magnet:?xt=urn:btmh:1220${V2}&xt=urn:btmh:1220${V2.replace('a', 'b')}`],
  ['a v2 hash of another function', `magnet:?xt=urn:btmh:1114${'00'.repeat(20)}`],
  ['a short v2 hash beside a good v1 one', `magnet:?xt=urn:btih:${HEX}&xt=urn:btmh:1220aa`],
  ['another scheme', `http://x/?xt=urn:btih:${HEX}`]
] as const) {
  test(`refuses a magnet with ${why}`, () =>
    assert.throws(
      () => parseMagnet(text),
      (e: unknown) => hasCode(e, 'BAD_MAGNET')
    ))
}
test('addresses of peers without a usable port are left out', () => {
  assert.deepEqual(parseMagnet(`magnet:?xt=urn:btih:${HEX}&x.pe=1.2.3.4:0&x.pe=1.2.3.4:65536&x.pe=a%20b:1&x.pe=1.2.3.4`).peers, [])
})
