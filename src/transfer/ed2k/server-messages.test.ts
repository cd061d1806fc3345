import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { hasCode, KithError } from '../../base/errors.ts'
import { MAX_SEARCH_RESULTS, MAX_SERVER_CLIENT_FILES, MAX_SERVER_FILE_SOURCES } from './limits.ts'
import { ServerBook } from './server-book.ts'
import { decodeFiles, encodeFound, encodeOffers, type FileRecord, PARTIAL, WHOLE } from './server-files.ts'
import {
  decodeCall,
  decodeFoundSources,
  decodeGivenId,
  decodeLogin,
  decodeMessage,
  decodeServerName,
  decodeServers,
  decodeSourcesWanted,
  decodeStatus,
  encodeCall,
  encodeFoundSources,
  encodeGivenId,
  encodeLogin,
  encodeMessage,
  encodeServerName,
  encodeServers,
  encodeSourcesWanted,
  encodeStatus
} from './server-messages.ts'
import { decodeSearch, encodeSearch, matcherOf, type Search, type Searchable } from './server-search.ts'

const wire = (e: unknown): boolean => hasCode(e, 'ED2K_WIRE')
const onlyKithErrors = (work: () => unknown): void => {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof KithError && error.code === 'ED2K_WIRE', String(error))
  }
}
const rec = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const hash = fc.uint8Array({ minLength: 16, maxLength: 16 })
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const u16 = fc.integer({ min: 0, max: 65_535 })
const size = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const text = fc.string({ maxLength: 40, unit: 'grapheme' })
const crypt = rec({ supported: fc.boolean(), requested: fc.boolean(), required: fc.boolean() })
const source = rec({ id: u32, port: u16, userHash: fc.option(hash, { nil: undefined }), crypt })
const leaf: fc.Arbitrary<Search> = fc.oneof(
  rec({ kind: fc.constant('words' as const), text }),
  rec({ kind: fc.constant('text' as const), text, field: fc.constantFrom(3, 4, 'Artist') }),
  rec({
    kind: fc.constant('number' as const),
    field: fc.constantFrom(2, 0x15, 'bitrate'),
    is: fc.constantFrom('=' as const, '>' as const, '<' as const, '>=' as const, '<=' as const, '!=' as const),
    value: fc.oneof(u32, size)
  })
)
const join = (left: Search, right: Search, by: 'and' | 'or' | 'not' = 'and'): Search => ({ kind: 'join', by, left, right })
const search = fc.oneof(
  leaf,
  fc.tuple(leaf, leaf, leaf).map(([a, b, c]) => join(join(a, b, 'or'), c, 'not'))
)

test('what clients and servers say is read back', () => {
  fc.assert(
    fc.property(hash, u16, text, crypt, (userHash, port, name, c) => {
      const login = { userHash, port, name, abilities: 0x119, crypt: c }
      assert.deepEqual(decodeLogin(encodeLogin(login)), login)
    })
  )
  fc.assert(
    fc.property(u32, u32, u32, (id, abilities, address) => {
      assert.deepEqual(decodeGivenId(encodeGivenId({ id, abilities, address }, 4661)), { id, abilities, address })
      assert.deepEqual(decodeStatus(encodeStatus({ clients: id, files: address })), { clients: id, files: address })
    })
  )
  fc.assert(
    fc.property(hash, u32, u16, text, (h, address, port, name) => {
      const server = { hash: h, address, port, name, description: name }
      assert.deepEqual(decodeServerName(encodeServerName(server)), server)
      assert.equal(decodeMessage(encodeMessage(name)), name)
    })
  )
  fc.assert(
    fc.property(hash, size, fc.array(source, { maxLength: 255 }), (h, n, sources) => {
      assert.deepEqual(decodeSourcesWanted(encodeSourcesWanted(h, n)), { hash: h, size: n })
      assert.deepEqual(decodeFoundSources(encodeFoundSources({ hash: h, sources }, true), true), { hash: h, sources })
      const plain = sources.map(({ id, port }) => ({ id, port }))
      assert.deepEqual(decodeFoundSources(encodeFoundSources({ hash: h, sources }, false), false), { hash: h, sources: plain })
    })
  )
  fc.assert(
    fc.property(source, s => {
      assert.deepEqual(decodeCall(encodeCall(s)), s.userHash ? s : { id: s.id, port: s.port })
    })
  )
  fc.assert(
    fc.property(fc.array(rec({ address: u32, port: u16 }), { maxLength: 64 }), list => {
      assert.deepEqual(decodeServers(encodeServers(list)), list)
    })
  )
  fc.assert(
    fc.property(search, s => {
      assert.deepEqual(decodeSearch(encodeSearch(s)), s)
    })
  )
})
test('ED1, ED2: any bytes give a message or ED2K_WIRE', () => {
  const readers = [
    decodeLogin,
    decodeGivenId,
    decodeStatus,
    decodeMessage,
    decodeServerName,
    decodeSourcesWanted,
    (b: Uint8Array) => decodeFoundSources(b, true),
    (b: Uint8Array) => decodeFoundSources(b, false),
    decodeCall,
    decodeServers,
    decodeFiles,
    decodeSearch
  ]
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), b => {
      for (const read of readers) onlyKithErrors(() => read(b))
    })
  )
})
test('bytes of the wire', () => {
  const h = new Uint8Array(16).fill(0xab)
  assert.equal(
    bytesToHex(encodeGivenId({ id: 77, abilities: 0x119, address: 0x027100cb }, 4661)),
    '4d000000190100003512000 0cb00710200000000'.replace(' ', '')
  )
  assert.deepEqual(decodeGivenId(hexToBytes('4d000000')), { id: 77, abilities: 0, address: 0 })
  assert.equal(bytesToHex(encodeSourcesWanted(h, 1000)), `${'ab'.repeat(16)}e8030000`)
  assert.equal(bytesToHex(encodeSourcesWanted(h, 2 ** 32)), `${'ab'.repeat(16)}000000000000000001000000`)
  const offer = encodeOffers([{ hash: h, size: 5, name: 'rand.bin', complete: true }], { marks: true, newTags: true, id: 1, port: 2 })
  // 98: a text of eight bytes with a short name, as aMule writes it
  assert.equal(bytesToHex(offer), `01000000${'ab'.repeat(16)}fbfbfbfbfbfb020000009801${'72616e642e62696e'}83020500 0000`.replace(' ', ''))
  assert.deepEqual(
    decodeSearch(hexToBytes('0000010400726f736501050077686974 65'.replace(' ', ''))),
    join({ kind: 'words', text: 'rose' }, { kind: 'words', text: 'white' })
  )
})
test('offers: whole and partial files, sizes above 4 GiB, names that are too long', () => {
  const h = (i: number): Uint8Array => new Uint8Array(16).fill(i)
  const files = [
    { hash: h(1), size: 5, name: 'whole', complete: true },
    { hash: h(2), size: 2 ** 32 + 7, name: 'ü'.repeat(400), complete: false }
  ]
  const [a, b] = decodeFiles(encodeOffers(files, { marks: true, newTags: true, id: 1, port: 2 }))
  assert.deepEqual([a?.id, a?.port, a?.size, a?.name], [WHOLE.id, WHOLE.port, 5, 'whole'])
  assert.deepEqual([b?.id, b?.port, b?.size, b?.name], [PARTIAL.id, PARTIAL.port, 2 ** 32 + 7, 'ü'.repeat(127)])
  const [c] = decodeFiles(encodeOffers(files, { marks: false, newTags: false, id: 9, port: 2 }))
  assert.deepEqual([c?.id, c?.port], [9, 2])
  const record: FileRecord = { hash: h(3), id: 5, port: 6, name: 'n', size: 7, kind: 'Pro', sources: 2, completeSources: 1 }
  assert.deepEqual(decodeFiles(encodeFound([record])), [record])
  assert.throws(() => decodeFiles(hexToBytes('ffffffff')), wire)
})
test('a search that is nested deep or has many terms is refused', () => {
  assert.throws(() => decodeSearch(new Uint8Array(400)), wire)
  const wide = Array.from({ length: 65 }, (): Search => ({ kind: 'words', text: 'a' }))
  const balance = (list: readonly Search[]): Search =>
    list.length === 1 ? list[0]! : join(balance(list.slice(0, list.length >> 1)), balance(list.slice(list.length >> 1)))
  assert.throws(() => decodeSearch(encodeSearch(balance(wide))), wire)
  assert.ok(decodeSearch(encodeSearch(balance(wide.slice(0, 32)))))
})
test('searches match names, kinds, endings and numbers', () => {
  const matches = (search: Search, f: Searchable): boolean => matcherOf(search)(f)
  const file = { name: 'white roses (live).ogg', size: 5_000_000, kind: 'Audio', sources: 3, completeSources: 1 }
  const words = (t: string): Search => ({ kind: 'words', text: t })
  assert.ok(matches(words('rose WHITE'), file))
  assert.ok(!matches(words('rose red'), file))
  assert.ok(!matches(words(' - '), file))
  assert.ok(matches(join(words('red'), words('live'), 'or'), file))
  assert.ok(matches(join(words('white'), words('red'), 'not'), file))
  assert.ok(!matches(join(words('white'), words('live'), 'not'), file))
  assert.ok(matches({ kind: 'text', field: 3, text: 'audio' }, file))
  assert.ok(matches({ kind: 'text', field: 4, text: 'OGG' }, file))
  assert.ok(!matches({ kind: 'text', field: 'Artist', text: 'x' }, file))
  assert.ok(matches({ kind: 'number', field: 2, is: '>', value: 4_000_000 }, file))
  assert.ok(!matches({ kind: 'number', field: 0x15, is: '<=', value: 2 }, file))
  assert.ok(!matches({ kind: 'number', field: 'x', is: '!=', value: 2 }, file))
})
test('ED6: what a server keeps of clients, files and sources is bounded, and goes with its client', () => {
  const book = new ServerBook()
  const who = (i: number) => ({
    port: 4662,
    userHash: new Uint8Array(16).fill(i),
    crypt: { supported: false, requested: false, required: false }
  })
  const record = (i: number, more: Partial<FileRecord> = {}): FileRecord => {
    const h = new Uint8Array(16)
    new DataView(h.buffer).setUint32(0, i)
    return { hash: h, ...WHOLE, name: `file ${i}`, size: 100, kind: '', sources: 0, completeSources: 0, ...more }
  }
  const greedy = book.join(who(1), 0x0100007f)
  const offered = book.offer(
    greedy,
    Array.from({ length: MAX_SERVER_CLIENT_FILES + 10 }, (_, i) => record(i))
  )
  assert.deepEqual([offered, book.files], [MAX_SERVER_CLIENT_FILES, MAX_SERVER_CLIENT_FILES])
  assert.equal(book.search({ kind: 'words', text: 'file' }).length, MAX_SEARCH_RESULTS)
  const low = book.join(who(2), undefined)
  assert.ok(low.id < 2 ** 24 && book.byLowId(low.id) === low)
  assert.equal(book.offer(low, [record(1), record(2, { size: 0 }), record(3, { size: 200 }), record(4, { name: 'x'.repeat(256) })]), 1)
  const other = book.join(who(3), undefined)
  assert.deepEqual(book.sourcesOf(greedy, record(1).hash, 100), [low])
  assert.deepEqual(book.sourcesOf(other, record(1).hash, 0), [greedy])
  assert.deepEqual(book.sourcesOf(other, record(1).hash, 101), [])
  book.leave(greedy)
  book.leave(greedy)
  assert.deepEqual([book.files, book.clients], [1, 2])
  assert.deepEqual(book.sourcesOf(other, record(1).hash, 100), [])
  const crowd = Array.from({ length: MAX_SERVER_FILE_SOURCES + 5 }, (_, i) => book.join(who(i), 0x0100007f + i * 256))
  assert.equal(crowd.filter(c => book.offer(c, [record(1)]) === 1).length, MAX_SERVER_FILE_SOURCES - 1)
})
