import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../test/kits/any-text.ts'
import { KithError } from '../base/errors.ts'
import { formatCid, parseCid } from './cid.ts'
import { formatLink, parseLink } from './link.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

test('the CID of the empty and of a known file is what IPFS tools print', () => {
  const empty = new Uint8Array(Buffer.from('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'hex'))
  assert.equal(formatCid(empty), 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku')
})

test('links come back as they were made', () => {
  const link = fc.record(
    {
      fileId: bytes32,
      root: fc.option(bytes32, { nil: undefined }),
      size: fc.option(fc.integer({ min: 0, max: 2 ** 40 }), { nil: undefined }),
      name: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), { nil: undefined }),
      via: fc.array(fc.constantFrom('/ip4/192.0.2.1/tcp/4801/p2p/12D3KooWabc', '/dns4/a.example/tcp/1/p2p/12D3KooWxyz'), { maxLength: 3 })
    },
    { noNullPrototype: true }
  )
  fc.assert(fc.property(link, value => assert.deepEqual(parseLink(formatLink(value)), value)))
})

test('a link to an encrypted file carries its key in the fragment only, and is refused without it', () => {
  const base = { fileId: new Uint8Array(32), root: undefined, size: undefined, name: undefined, via: [] }
  const key = new Uint8Array(32).fill(0xfe)
  const text = formatLink({ ...base, encrypted: 'key', key })
  assert.deepEqual(parseLink(text), { ...base, encrypted: 'key', key })
  assert.match(text, /^[^#]*enc=key[^#]*#key=[A-Za-z0-9_-]{43}$/)
  for (const damaged of [text.split('#')[0]!, text.slice(0, -1), `${text}A`]) assert.throws(() => parseLink(damaged), { code: 'BAD_LINK' })
  assert.deepEqual(parseLink(formatLink({ ...base, encrypted: 'passphrase' })), { ...base, encrypted: 'passphrase' })
})

test('any text is a link or BAD_LINK', () => {
  const near = fc.string().map(s => `kith:bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku?${s}`)
  fc.assert(
    fc.property(fc.oneof(anyText(), near), text => {
      for (const read of [parseLink, parseCid]) {
        try {
          read(text)
        } catch (e) {
          assert.ok(e instanceof KithError && e.code === 'BAD_LINK', String(e))
        }
      }
    })
  )
})

test('damaged links are refused in words', () => {
  const cid = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
  for (const rest of [
    '?root=xx',
    '?size=-1',
    '?size=1e9',
    '?size=99999999999999999',
    '?name=%',
    '?size=1&size=1',
    `?name=${'n'.repeat(2000)}`,
    '?via=evil',
    `?${'via=/a&'.repeat(9)}`
  ]) {
    assert.throws(() => parseLink(`kith:${cid}${rest}`), { code: 'BAD_LINK' }, rest)
  }
  assert.throws(() => parseLink('kith:QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG'), { code: 'BAD_LINK' })
  assert.deepEqual(parseLink(`kith:${cid}?future=1&size=5`).size, 5)
})
