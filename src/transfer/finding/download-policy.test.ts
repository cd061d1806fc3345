import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { orderProtocols, type PolicyContext } from './download-policy.ts'

const ALL = ['kith', 'ed2k', 'webtorrent', 'bittorrent', 'https', 'http']
const MB = 2 ** 20
const base: PolicyContext = { environment: 'node', offered: ALL, hasHost: true, fileSize: 10 * MB, seeders: {} }

const table: readonly (readonly [string, Partial<PolicyContext>, string])[] = [
  ['HTTP comes first when nothing else is said', {}, 'http https bittorrent webtorrent ed2k kith'],
  ['a browser has WebTorrent, then the web', { environment: 'browser' }, 'webtorrent http https kith'],
  ['a browser cannot do what the user prefers', { environment: 'browser', prefer: 'ed2k' }, 'webtorrent http https kith'],
  ['a browser can be told to prefer HTTP', { environment: 'browser', prefer: 'http' }, 'http webtorrent https kith'],
  ['the user decides', { prefer: 'ed2k' }, 'ed2k http https bittorrent webtorrent kith'],
  ['also for HTTPS before HTTP', { prefer: 'https' }, 'https http bittorrent webtorrent ed2k kith'],
  ['also for the last resort', { prefer: 'kith' }, 'kith http https bittorrent webtorrent ed2k'],
  ['a preference that is not offered says nothing', { prefer: 'ed2k', offered: ['http', 'bittorrent'] }, 'http bittorrent'],
  [
    'a large file with many BitTorrent seeders',
    { fileSize: 101 * MB, seeders: { bittorrent: 6 } },
    'bittorrent http https webtorrent ed2k kith'
  ],
  ['a large file with few', { fileSize: 101 * MB, seeders: { bittorrent: 5 } }, 'http https bittorrent webtorrent ed2k kith'],
  ['a small file with many', { fileSize: 100 * MB, seeders: { bittorrent: 60 } }, 'http https bittorrent webtorrent ed2k kith'],
  [
    'a restricted network has HTTP, whatever BitTorrent has',
    { restricted: true, fileSize: 101 * MB, seeders: { bittorrent: 6 } },
    'http https bittorrent webtorrent ed2k kith'
  ],
  [
    'without HTTP by availability',
    { offered: ['kith', 'bittorrent', 'webtorrent', 'ed2k'], seeders: { bittorrent: 1, webtorrent: 3, ed2k: 2, kith: 9 } },
    'webtorrent ed2k bittorrent kith'
  ],
  ['only what is allowed', { allow: ['kith', 'ed2k'] }, 'ed2k kith'],
  ['an empty list allows all', { allow: [], offered: ['http'] }, 'http'],
  ['a seeder behind a relay', { hasHost: false }, 'webtorrent kith'],
  ['what fails everywhere comes last', { failing: new Set(['http', 'bittorrent']) }, 'https webtorrent ed2k kith http bittorrent'],
  ['also when it is preferred', { prefer: 'ed2k', failing: new Set(['ed2k']) }, 'http https bittorrent webtorrent kith ed2k'],
  ['a name nobody knows comes after those of equal availability', { offered: ['gopher', 'ed2k'] }, 'ed2k gopher'],
  ['nothing is left', { allow: ['ed2k'], hasHost: false }, '']
]

for (const [name, over, expected] of table) {
  test(`order of protocols: ${name}`, () => assert.equal(orderProtocols({ ...base, ...over }).join(' '), expected))
}

test('the order is a permutation of what may be used, for any context', () => {
  const names = fc.constantFrom(...ALL, 'other')
  fc.assert(
    fc.property(
      fc.record({
        environment: fc.constantFrom('node' as const, 'browser' as const),
        offered: fc.array(names, { maxLength: 10 }),
        prefer: fc.option(names, { nil: undefined }),
        allow: fc.option(fc.array(names), { nil: undefined }),
        restricted: fc.boolean(),
        hasHost: fc.boolean(),
        fileSize: fc.nat(),
        seeders: fc.dictionary(names, fc.nat(20)),
        failing: fc.option(
          fc.array(names).map(a => new Set(a)),
          { nil: undefined }
        )
      }),
      c => {
        const order = orderProtocols(c)
        assert.equal(new Set(order).size, order.length, 'each once')
        for (const name of order) assert.ok(c.offered.includes(name) && (!c.allow?.length || c.allow.includes(name)))
        if (c.environment === 'node' && c.hasHost && !c.allow?.length) assert.equal(order.length, new Set(c.offered).size, 'none is lost')
      }
    )
  )
})
