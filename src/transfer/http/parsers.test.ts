import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyText, anyUrl } from '../../../test/kits/any-text.ts'
import { utf8 } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import type { Ticket } from '../protocol.ts'
import { CounterWindows } from './counter-window.ts'
import { contentDisposition, fileNameOf, fileNameOfPath } from './file-name.ts'
import { COUNTER_WINDOW, MAX_HEAD_BYTES } from './limits.ts'
import { contentRange, parseContentRange, parseRange } from './range.ts'
import { ProblemSink } from './refusal.ts'
import { headEnd, parseHead } from './response-head.ts'
import { answerMac, readTicketHeaders, requestMac, sameMac } from './ticket-mac.ts'
import { splitUrl, withEtag } from './url.ts'

test('HT1: ranges are cut to the file, or refused', () => {
  const size = 1000
  assert.deepEqual(parseRange('bytes=0-', size), { first: 0, last: 999 })
  assert.deepEqual(parseRange('bytes=10-19', size), { first: 10, last: 19 })
  assert.deepEqual(parseRange('bytes=990-18446744073709551616', size), { first: 990, last: 999 })
  assert.deepEqual(parseRange('bytes=-5', size), { first: 995, last: 999 })
  assert.deepEqual(parseRange('bytes=-5000', size), { first: 0, last: 999 })
  for (const bad of ['bytes=-0', 'bytes=1000-', 'bytes=18446744073709551616-', 'rows=0-1', `bytes=${'0-,'.repeat(1000)}`, 'bytes=0-1,5-6'])
    assert.equal(parseRange(bad, size), 'unsatisfiable', bad)
  for (const bad of [
    'bytes=5-1',
    'bytes=-',
    'bytes',
    '',
    'bytes=a-b',
    'bytes=0x1-2',
    'bytes= 1-2',
    'bytes=1-2 ',
    'bytes=--1',
    `bytes=${'1'.repeat(50)}-`
  ])
    assert.throws(
      () => parseRange(bad, size),
      e => hasCode(e, 'HTTP_RANGE'),
      bad
    )
})
test('any Range header gives a range inside the file, or is refused', () => {
  const text = fc.oneof(
    fc.string(),
    fc.tuple(fc.nat(2000), fc.nat(2000)).map(([a, b]) => `bytes=${a}-${b}`)
  )
  fc.assert(
    fc.property(text, fc.nat(1500), (header, size) => {
      try {
        const range = parseRange(header, size)
        if (range !== 'unsatisfiable') assert.ok(range.first >= 0 && range.first <= range.last && range.last < size)
      } catch (e) {
        assert.ok(e instanceof KithError && e.code === 'HTTP_RANGE')
      }
    })
  )
})
test('Content-Range comes back as it was written, and nothing else is read', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), (a, b, c) => {
      const [first = 0, last = 0, before = 0] = [a, b, c].sort((x, y) => x - y)
      const size = Math.min(before + 1, Number.MAX_SAFE_INTEGER)
      if (last >= size) return
      assert.deepEqual(parseContentRange(contentRange({ first, last }, size)), { first, last, size })
    })
  )
  for (const bad of [
    'bytes 5-4/10',
    'bytes 0-10/10',
    'bytes */10',
    'bytes 0-1',
    'rows 0-1/5',
    'bytes 0-9007199254740993/*',
    'bytes  0-1/5',
    ''
  ])
    assert.equal(parseContentRange(bad), undefined, bad)
})

const head = (...lines: string[]): Uint8Array => utf8(['HTTP/1.1 206 Partial Content', ...lines].join('\r\n') + '\r\n\r\n')

test('a head is read with its length and whether the connection stays', () => {
  const h = parseHead(head('Content-Length: 12', 'ETag: "x"', 'Set-Cookie: a', 'Set-Cookie: b'))
  assert.deepEqual([h.status, h.length, h.keepAlive, h.headers.get('etag'), h.headers.get('set-cookie')], [206, 12, true, '"x"', 'a'])
  assert.equal(parseHead(head('Connection: close')).keepAlive, false)
  assert.equal(parseHead(utf8('HTTP/1.0 200 OK\r\n\r\n')).keepAlive, false)
})
test('HT12: heads that parsers read differently are refused', () => {
  const cases: Uint8Array[] = [
    head('Content-Length: 1', 'Content-Length: 1'),
    head('Content-Range: bytes 0-0/1', 'content-range: bytes 0-0/1'),
    head('Content-Length: +1'),
    head('Content-Length: 1, 1'),
    head('Content-Length: 99999999999999999'),
    head('X: a', ' folded: b'),
    head('Bad Name: x'),
    head('X : y'),
    head('X: a\u0000b'),
    head('X: a\nY: b'),
    utf8('HTTP/1.1 206 OK\n\n'),
    utf8('HTTP/2 206\r\n\r\n'),
    utf8('HTTP/1.1 999 x\r\n\r\n'),
    utf8('ICY 200 OK\r\n\r\n'),
    head(...Array.from({ length: 10_000 }, (_, i) => `X-${i}: y`)),
    head(`X: ${'y'.repeat(MAX_HEAD_BYTES)}`)
  ]
  for (const bytes of cases)
    assert.throws(
      () => parseHead(bytes),
      e => hasCode(e, 'HTTP_HEAD')
    )
})
test('any bytes are a head or HTTP_HEAD', () => {
  const line = fc.constantFrom('HTTP/1.1 206 x', 'Content-Length: 5', 'a: b', ': x', '\u0001', 'Content-Length: 5', ' x', '')
  const structured = fc.array(line, { maxLength: 6 }).map(l => utf8(l.join('\r\n') + '\r\n\r\n'))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), structured), bytes => {
      try {
        assert.ok(parseHead(bytes).status >= 100)
      } catch (e) {
        assert.ok(e instanceof KithError && e.code === 'HTTP_HEAD')
      }
    })
  )
})
test('the end of a head is found however the bytes are cut', () => {
  const bytes = head('A: b')
  fc.assert(
    fc.property(fc.integer({ min: 1, max: bytes.length - 1 }), cut => {
      assert.equal(headEnd(bytes, 0, cut), -1)
      assert.equal(headEnd(bytes, cut, bytes.length), bytes.length)
    })
  )
})

test('a file name is attached as printable ASCII and comes back cleaned', () => {
  fc.assert(
    fc.property(anyText(300), name => {
      const header = contentDisposition(name)
      assert.match(header, /^attachment; filename="[\x20-\x7e]*"; filename\*=UTF-8''[\x21-\x7e]+$/)
      const back = fileNameOf(header)
      assert.ok(back === undefined || !/[\u0000-\u001f/\\\u202e]/.test(back))
    })
  )
  assert.equal(fileNameOf(contentDisposition("naïve 'file' (1).txt")), "naïve 'file' (1).txt")
  assert.equal(fileNameOf(contentDisposition('../../etc/passwd')), '.._.._etc_passwd')
  assert.equal(fileNameOf('attachment; filename="a\\"b.txt"'), 'a"b.txt')
  assert.equal(fileNameOf(`attachment; filename*=UTF-8''%2e%2e`), undefined)
  assert.equal(fileNameOf('inline'), undefined)
  assert.equal(fileNameOfPath('/a/b%20c.iso?x=1'), 'b c.iso')
  assert.equal(fileNameOfPath('/a/'), undefined)
})

test('any remote text is a clean name or none, a reason or none, ticket headers or none', () => {
  const piece = fc.constantFrom('attachment', ';', ' ', 'filename', '*', '=', '"', "UTF-8''", '\\', '%2e', '%', '/', '..', '\u202e', 'a')
  const text = fc.oneof(
    anyText(),
    fc.array(piece, { maxLength: 20 }).map(p => p.join(''))
  )
  fc.assert(
    fc.property(text, s => {
      for (const name of [fileNameOf(s), fileNameOfPath(s)])
        if (name !== undefined) assert.ok(name !== '' && !/[\u0000-\u001f/\\\u202e]|^\.+$/.test(name), JSON.stringify(name))
      readTicketHeaders(s, s, s)
      const bytes = Buffer.from(s).subarray(0, 4096)
      const sink = new ProblemSink(parseHead(head(`Content-Length: ${bytes.length}`)))
      if (bytes.length > 0) sink.target().set(bytes)
      sink.filled(bytes.length)
      const reason = sink.text('detail')
      assert.ok(reason === undefined || reason.length <= 300)
    })
  )
})
test('a URL and its ETag come back from one text; other texts are URL_FORBIDDEN', () => {
  fc.assert(
    fc.property(anyUrl, fc.option(fc.stringMatching(/^"[a-zA-Z0-9-]{1,20}"$/), { nil: undefined }), (url, etag) => {
      const parts = splitUrl(withEtag(url, etag))
      assert.equal(parts.etag, etag)
      const [back, sent] = [new URL(`${parts.tls ? 'https' : 'http'}://${parts.authority}${parts.path}`), new URL(url)]
      assert.deepEqual([back.origin, back.pathname, back.search], [sent.origin, sent.pathname, sent.search])
    })
  )
  fc.assert(
    fc.property(anyText(), s => {
      try {
        splitUrl(s)
      } catch (e) {
        assert.ok(hasCode(e, 'URL_FORBIDDEN') || hasCode(e, 'FORBIDDEN_ADDRESS'))
      }
    })
  )
})

test('a MAC covers every fact of the request and of the answer', () => {
  const key = new Uint8Array(32).fill(7)
  const request = { method: 'GET', path: '/x', range: 'bytes=0-1', counter: 5 }
  const mac = requestMac(key, request)
  assert.ok(sameMac(mac, requestMac(key, request)))
  for (const other of [{ method: 'HEAD' }, { path: '/y' }, { range: '' }, { counter: 6 }])
    assert.ok(!sameMac(mac, requestMac(key, { ...request, ...other })))
  assert.ok(!sameMac(mac, requestMac(new Uint8Array(32), request)))
  const answer = { status: 206, contentRange: 'bytes 0-1/2', counter: 5 }
  for (const other of [{ status: 402 }, { contentRange: '' }, { counter: 6 }])
    assert.ok(!sameMac(answerMac(key, answer), answerMac(key, { ...answer, ...other })))
  for (const bad of ['', 'x', mac.toUpperCase(), `${mac}00`]) assert.ok(!sameMac(bad, bad === '' ? mac : bad))
})
test('the vector of docs/wire/http.md', () => {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i)
  const path = `/${'ab'.repeat(32)}`
  assert.equal(
    requestMac(key, { method: 'GET', path, range: 'bytes=0-262143', counter: 1 }),
    'ad07552c608b13d26ebce308ab6786c2dace2ab3be72fa4fa37b81bc76453e4d'
  )
  assert.equal(
    answerMac(key, { status: 206, contentRange: 'bytes 0-262143/524288', counter: 1 }),
    'd5b16296ba713c440088f72c3066ec992b0ec30dc2bee08dc429582907a88acb'
  )
})
test('ticket headers have one spelling', () => {
  const [id, mac] = ['0a'.repeat(16), 'bc'.repeat(32)]
  assert.equal(readTicketHeaders(id, '12', mac)?.counter, 12)
  for (const [i, c, m] of [
    [id, '0', mac],
    [id, '01', mac],
    [id, '1e3', mac],
    [id, '9007199254740993', mac],
    [id.toUpperCase(), '1', mac],
    [id, '1', 'x'],
    [undefined, '1', mac],
    [id, undefined, mac]
  ])
    assert.equal(readTicketHeaders(i, c, m), undefined)
})

const ticket = (): Ticket => ({ id: new Uint8Array(16), key: new Uint8Array(32), expiresAt: 1000 })

test('a counter is new exactly once, and counters may overtake each other inside the window', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 100 }), counters => {
      const windows = new CounterWindows()
      const shown = ticket()
      const seen = new Set<number>()
      let highest = 0
      for (const c of counters) {
        const expected = seen.has(c) || (highest > 0 && c <= highest - COUNTER_WINDOW) ? 'replayed' : 'new'
        assert.equal(windows.accept(shown, c), expected)
        if (expected === 'new') seen.add(c)
        highest = Math.max(highest, c)
      }
    })
  )
})
test('what one ticket did says nothing about another, however many there are', () => {
  const windows = new CounterWindows()
  const honest = ticket()
  assert.equal(windows.accept(honest, 1), 'new')
  for (let i = 0; i < 5000; i++) assert.equal(windows.accept(ticket(), 1), 'new', 'no stranger uses up the places of others')
  assert.equal(windows.accept(honest, 1), 'replayed')
  assert.equal(windows.accept(honest, 2), 'new')
})
