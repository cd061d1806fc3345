import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyText } from '../../test/kits/any-text.ts'
import { hasCode, KithError } from '../base/errors.ts'
import { resolveAndCheck } from './address-filter.node.ts'
import { checkEndpoint, checkPort, checkUrl, classOfAddress, PUBLIC_ONLY, parseIpv6 } from './address-filter.ts'

const USER = { allowPrivate: true, allowLoopback: true }
/** HT8: spellings by which filters were passed elsewhere. */
const FORMS = [
  'http://127.0.0.1/',
  'http://127.1/',
  'http://2130706433/',
  'http://0x7f000001/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://0/',
  'http://0.0.0.0/',
  'http://[::1]/',
  'http://[::]/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::ffff:7f00:1]/',
  'http://[64:ff9b::7f00:1]/',
  'http://[2002:7f00:1::]/',
  'http://localhost/',
  'http://localhost./',
  'http://LOCALHOST/',
  'http://foo.localhost/',
  'http://①②⑦.0.0.1/',
  'http://127。0。0。1/',
  'http://127.0.0.1./',
  'http://user@127.0.0.1/',
  'http://evil.com@127.0.0.1/',
  'http://127.0.0.1#@evil.com/',
  'http://127.0.0.1\\@evil.com/',
  'http://evil.com\\@127.0.0.1/',
  'http://169.254.169.254/',
  'http://[fd00:ec2::254]/',
  'http://[fe80::1%25eth0]/',
  'http://[::127.0.0.1]/',
  'http://192.168.1.1/',
  'http://100.64.0.1/',
  'http://224.0.0.1/',
  'http://255.255.255.255/',
  'file:///etc/passwd',
  'gopher://x/',
  'javascript:alert(1)',
  'data:text/html,x',
  'http:/\t/127.0.0.1/',
  'http://12\u00ad7.0.0.1/',
  'http://127.0.0.1:22/',
  'http://127.0.0.1:0/',
  'http://[::ffff:169.254.169.254]/',
  'http://3232235777/',
  'http://[0:0:0:0:0:ffff:c0a8:0101]/'
]
const refused = (e: unknown): boolean => hasCode(e, 'URL_FORBIDDEN') || hasCode(e, 'FORBIDDEN_ADDRESS')

test('HT8: every spelling of a forbidden address is refused', () => {
  for (const url of FORMS) assert.throws(() => checkUrl(url, PUBLIC_ONLY), refused, url)
})
test('public addresses and names pass, with the parts a request needs', () => {
  assert.deepEqual(checkUrl('https://Example.ORG:8443/a/b?c=d', PUBLIC_ONLY), {
    tls: true,
    host: 'example.org',
    literal: undefined,
    port: 8443,
    authority: 'example.org:8443',
    path: '/a/b?c=d'
  })
  for (const url of ['http://1.1.1.1/', 'http://[2606:4700::1111]/x', 'http://example.org']) checkUrl(url, PUBLIC_ONLY)
})
test('what the user said is followed to private and loopback addresses, but not to metadata services', () => {
  for (const url of ['http://127.0.0.1:8080/', 'http://192.168.1.1/', 'http://[::1]/', 'http://[fe80::1]/', 'http://localhost/'])
    checkUrl(url, USER)
  for (const url of ['http://169.254.169.254/', 'http://0.0.0.0/', 'http://224.0.0.1/', 'http://2130706433/', 'http://[fd00:ec2::254]/'])
    assert.throws(() => checkUrl(url, USER), refused, url)
})
test('HT10: ports of other services are refused', () => {
  for (const port of [0, 1, 22, 25, 79, 81, 442, 1023, 6379, 11211, 65_536, 1.5, Number.NaN, -1])
    assert.throws(() => checkPort(port), refused, String(port))
  for (const port of [80, 443, 1024, 8080, 65_535]) checkPort(port)
})
test('HT11: homoglyphs come out as punycode; user names, fragments, tabs and backslashes are refused', () => {
  assert.equal(checkUrl('http://ехample.org/', PUBLIC_ONLY).host, 'xn--ample-ywe6i.org') // Cyrillic е and х
  for (const url of [
    'http://u:p@example.org/',
    'http://example.org/#x',
    'http://exa\tmple.org/',
    'http://example.org\\x',
    ' http://example.org/'
  ])
    assert.throws(() => checkUrl(url, USER), refused, url)
})
test('HT9: a name is resolved once and pinned; one forbidden address among its answers refuses it', async () => {
  let asked = 0
  const answers = [['93.184.216.34'], ['127.0.0.1']]
  const rebinding = async (): Promise<readonly string[]> => answers[asked++]!
  assert.equal(await resolveAndCheck('rebind.example', 80, PUBLIC_ONLY, rebinding), '93.184.216.34')
  assert.equal(asked, 1)
  await assert.rejects(resolveAndCheck('rebind.example', 80, PUBLIC_ONLY, rebinding), refused)
  await assert.rejects(
    resolveAndCheck('two.example', 80, PUBLIC_ONLY, async () => ['1.1.1.1', '::ffff:10.0.0.1']),
    refused
  )
  await assert.rejects(
    resolveAndCheck('none.example', 80, PUBLIC_ONLY, async () => []),
    e => hasCode(e, 'SOURCE_LOST')
  )
  await assert.rejects(
    resolveAndCheck('gone.example', 80, PUBLIC_ONLY, async () => Promise.reject(new Error('x'))),
    e => hasCode(e, 'SOURCE_LOST')
  )
  await assert.rejects(
    resolveAndCheck('localhost', 80, PUBLIC_ONLY, async () => ['1.1.1.1']),
    refused
  )
  assert.equal(await resolveAndCheck('10.0.0.9', 8080, USER), '10.0.0.9')
})
test('an IPv6 literal means the same in every spelling', () => {
  fc.assert(
    fc.property(fc.ipV6(), text => {
      const words = parseIpv6(text)
      if (!words) return // zone or an exotic form
      const full = words.map(w => w.toString(16)).join(':')
      assert.deepEqual(parseIpv6(full), words)
      assert.equal(classOfAddress(full), classOfAddress(text))
      const viaUrl = new URL(`http://[${text}]/`).hostname.slice(1, -1)
      assert.deepEqual(parseIpv6(viaUrl), words)
    })
  )
})
test('an IPv4 address inside an IPv6 one is never judged better than by itself', () => {
  fc.assert(
    fc.property(fc.ipV4(), text => {
      const own = classOfAddress(text)
      assert.equal(classOfAddress(`::ffff:${text}`), own)
      assert.equal(classOfAddress(`::${text}`), text === '0.0.0.1' ? 'loopback' : 'never')
      assert.equal(classOfAddress(`64:ff9b::${text}`), own === 'public' ? 'public' : 'never')
    })
  )
})
test('any text is checked or refused with a code', () => {
  const pieces = fc.constantFrom(
    'http://',
    'https:',
    '//',
    '127.0.0.1',
    '[',
    ']',
    '::',
    '%',
    '@',
    '#',
    '\\',
    ':80',
    'a',
    '.',
    '\t',
    '①',
    '/'
  )
  fc.assert(
    fc.property(
      fc.oneof(
        anyText(),
        fc.array(pieces, { maxLength: 12 }).map(p => p.join(''))
      ),
      text => {
        try {
          const { host, port } = checkUrl(text, PUBLIC_ONLY)
          assert.ok(host !== '' && port > 0)
          assert.notEqual(classOfAddress(host), 'loopback')
        } catch (error) {
          assert.ok(error instanceof KithError && refused(error), String(error))
        }
      }
    )
  )
})

test('HT8: an endpoint of an offer is an IP literal and a port for files; nothing, which the platform takes for this machine, is neither', () => {
  for (const host of ['192.0.2.1', '2001:db8::1', '127.0.0.1']) checkEndpoint(host, 4801)
  for (const host of ['', 'localhost', 'example.org', '127.1', '::1%lo'])
    assert.throws(
      () => checkEndpoint(host, 4801),
      (e: unknown) => hasCode(e, 'FORBIDDEN_ADDRESS'),
      host
    )
  for (const port of [0, 22, 6379, 65_536])
    assert.throws(
      () => checkEndpoint('192.0.2.1', port),
      (e: unknown) => hasCode(e, 'URL_FORBIDDEN')
    )
})
