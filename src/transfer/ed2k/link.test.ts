import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { formatEd2kLink, parseEd2kLink } from './link.ts'

const HASH = 'fc21d9af828f92a8df64beac3357425d'
const AICH = 'G6IYRRESYP37PNAIHJHK3TCZGA4NWGBH'
const refused = (text: string): void =>
  assert.throws(
    () => parseEd2kLink(text),
    e => hasCode(e, 'BAD_ED2K_LINK'),
    text.slice(0, 80)
  )

test('links with all that others write are read', () => {
  const link = parseEd2kLink(
    `ed2k://|file|a%20b.bin|9728000|${HASH.toUpperCase()}|p=${HASH}:${HASH}|h=${AICH}|s=http://x/y|/|sources,203.0.113.1:4662,host.example:5:131:${'0e'.repeat(16)},bad,1.2.3.4:0|/`
  )
  assert.deepEqual(
    [link.name, link.size, bytesToHex(link.hash), link.parts?.length, link.aich?.length],
    ['a b.bin', 9_728_000, HASH, 32, 20]
  )
  assert.deepEqual(link.sources, [
    { host: '203.0.113.1', port: 4662, userHash: undefined, crypt: undefined },
    { host: 'host.example', port: 5, userHash: hexToBytes('0e'.repeat(16)), crypt: { supported: true, requested: true, required: false } }
  ])
  assert.equal(parseEd2kLink(`ed2k://%7Cfile%7Cx%7C5%7C${HASH}%7C/`).size, 5)
  assert.equal(parseEd2kLink(`ED2K://|File|100% sure|5|${HASH}|/`).name, '100% sure')
})
test('ED7: line breaks, extra fields, sizes that are none, names that are paths, and cut links are refused', () => {
  const good = `ed2k://|file|x|5|${HASH}|/`
  parseEd2kLink(good)
  for (const bad of [
    `ed2k://|file|x\n|5|${HASH}|/`,
    `ed2k://|file|x%0a|5|${HASH}|/`,
    `ed2k://|file|x%7Cy|5|${HASH}|/`,
    `ed2k://|file|x|-1|${HASH}|/`,
    `ed2k://|file|x|0|${HASH}|/`,
    `ed2k://|file|x|5e3|${HASH}|/`,
    `ed2k://|file|x|9999999999999999|${HASH}|/`,
    `ed2k://|file|../x|5|${HASH}|/`,
    `ed2k://|file|..%2fx|5|${HASH}|/`,
    `ed2k://|file|C:\\x|5|${HASH}|/`,
    `ed2k://|file||5|${HASH}|/`,
    `ed2k://|file|x|5|${HASH.slice(1)}|/`,
    `ed2k://|file|x|5|${HASH}|h=AAAA|/`,
    `ed2k://|file|x|9728000|${HASH}|p=${HASH}:${HASH}:${HASH}|/`,
    `ed2k://|file|x|5|${HASH}`,
    `${good}|file|y|6|${HASH}|/`,
    `${good}x`,
    `ed2k://|server|1.2.3.4|4661|/`,
    `ed2k://|file|${'x'.repeat(300_000)}|5|${HASH}|/`,
    'http://example.org/'
  ])
    refused(bad)
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(fc.constantFrom('ed2k://', 'file', '|', 'x', '5', HASH, '/', 'sources,', 'h=', 'p=', '%', '\n')).map(p => p.join(''))
      ),
      text => {
        try {
          parseEd2kLink(text)
        } catch (error) {
          assert.ok(error instanceof KithError && error.code === 'BAD_ED2K_LINK', String(error))
        }
      }
    ),
    { numRuns: 1000 }
  )
})
test('a name that no link may hold is written so that it is read', () => {
  const nameOf = (name: string): string => parseEd2kLink(formatEd2kLink({ name, size: 5, hash: hexToBytes(HASH) })).name
  assert.deepEqual(['a|b', '|', 'x\\y\nz', 'half \ud800', 'a b %41 größe', '100%'].map(nameOf), [
    'a_b',
    '_',
    'x_y_z',
    'half \ufffd',
    'a b %41 größe',
    '100%'
  ])
})
test('a link that was written is read back', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    .filter(s => !/[\u0000-\u001f\u007f-\u009f\u2028\u2029|/\\]/.test(s) && !/^\.\.?$/.test(s))
  const link = fc.record(
    {
      name,
      size: fc.integer({ min: 1, max: 2 ** 39 }),
      hash: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      aich: fc.option(fc.uint8Array({ minLength: 20, maxLength: 20 }), { nil: undefined })
    },
    { noNullPrototype: true }
  )
  fc.assert(fc.property(link, l => assert.deepEqual(parseEd2kLink(formatEd2kLink(l)), { ...l, parts: undefined, sources: [] })))
  const text = `ed2k://|file|mod251-b1000000|1000000|8ea46622e2c7df3c58da7a2e5d0cb153|h=${AICH}|/`
  assert.equal(formatEd2kLink(parseEd2kLink(text)), text)
})
