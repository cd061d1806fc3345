import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, hexToBytes, utf8 } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { type Item, isGenuine, mutableTarget, orderError, signedBytes, sizeError, targetOf } from './items.ts'
import { decodeKrpc, encodeKrpc, type KrpcMessage, NOTHING } from './krpc.ts'
import { MAX_DATAGRAM_BYTES } from './limits.ts'
import { isIdOfAddress, makeNodeId } from './node-id.ts'

const vectors = (name: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, `../../../test/vectors/bittorrent/${name}.json`), 'utf8')) as Record<string, unknown>
const text = (s: string): Uint8Array => Uint8Array.from(s, c => c.charCodeAt(0))
const read = (s: string): KrpcMessage => decodeKrpc(text(s))
const ID = 'abcdefghij0123456789'

test('the messages of BEP 5 are read, and written as other programs read them', () => {
  const ping = read(`d1:ad2:id20:${ID}e1:q4:ping1:t2:aa1:y1:qe`)
  assert.deepEqual(ping, { transaction: text('aa'), kind: 'question', id: text(ID), readOnly: false, question: { name: 'ping' } })
  const find = read(`d1:ad2:id20:${ID}6:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe`)
  assert.ok(find.kind === 'question' && find.question.name === 'find_node')
  assert.deepEqual(find.question.target, text('mnopqrstuvwxyz123456'))
  const peers = read(`d1:rd2:id20:${ID}5:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re`)
  assert.ok(peers.kind === 'answer')
  assert.deepEqual(peers.answer.peers, [
    { host: '97.120.106.101', port: 11893 },
    { host: '105.100.104.116', port: 28269 }
  ])
  assert.deepEqual(peers.answer.token, text('aoeusnth'))
  const error = read('d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee')
  assert.deepEqual(error, { transaction: text('aa'), kind: 'error', code: 201, why: 'A Generic Error Ocurred' })
  const written = encodeKrpc({ transaction: text('aa'), kind: 'answer', id: text(ID), answer: NOTHING, seenAs: undefined })
  assert.equal(String.fromCharCode(...written), `d1:rd2:id20:${ID}e1:t2:aa1:v4:KT\0\x011:y1:re`)
})

test('BT8: questions that make no sense are answered with 203 or 204, other nonsense with nothing', () => {
  const refusedWith = (s: string): number | undefined => {
    const m = read(s)
    return m.kind === 'refused' ? m.code : undefined
  }
  assert.equal(refusedWith(`d1:ad2:id20:${ID}e1:q4:vote1:t2:aa1:y1:qe`), 204)
  assert.equal(refusedWith('d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe'), 203)
  assert.equal(refusedWith(`d1:ad2:id20:${ID}6:target3:abce1:q9:find_node1:t2:aa1:y1:qe`), 203)
  assert.equal(refusedWith(`d1:ad2:id20:${ID}9:info_hash20:${ID}4:porti0e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe`), 203)
  for (const nonsense of [
    '',
    'i1e',
    'd1:y1:qe',
    `d1:rd2:id20:${ID}5:nodes25:${'x'.repeat(25)}e1:t2:aa1:y1:re`, // not a multiple of 26
    `d1:rd2:id20:${ID}e1:t99:${'t'.repeat(99)}1:y1:re`,
    'd1:t2:aa1:y1:re',
    `d1:x${MAX_DATAGRAM_BYTES}:${'x'.repeat(MAX_DATAGRAM_BYTES)}e`
  ])
    assert.throws(
      () => read(nonsense),
      e => hasCode(e, 'BAD_KRPC'),
      nonsense.slice(0, 60)
    )
})

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n })
const port = fc.integer({ min: 1, max: 65_535 })
const address = record({ host: fc.oneof(fc.ipV4(), fc.constant('2001:db9:1:2:3:4:5:6')), port })
const signed = record({ key: bytes(32), signature: bytes(64), seq: fc.maxSafeNat() })
const value = fc.oneof(fc.constant(text('i7e')), fc.constant(text('5:hello')), fc.constant(text('d1:ai1ee')))
const maybe = <T>(a: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(a, { nil: undefined })
const question = fc.oneof(
  fc.constant({ name: 'ping' as const }),
  record({ name: fc.constantFrom('find_node' as const, 'get_peers' as const), target: bytes(20) }),
  record({ name: fc.constant('announce_peer' as const), target: bytes(20), port: maybe(port), token: fc.uint8Array({ maxLength: 64 }) }),
  record({ name: fc.constant('get' as const), target: bytes(20), seq: maybe(fc.maxSafeNat()) }),
  record({
    name: fc.constant('put' as const),
    token: fc.uint8Array({ maxLength: 64 }),
    value,
    signed: maybe(signed),
    salt: fc.uint8Array({ maxLength: 70 }),
    cas: maybe(fc.maxSafeNat())
  })
)
const byFamily = <T extends { host: string }>(list: readonly T[]): T[] => [
  ...list.filter(n => !n.host.includes(':')),
  ...list.filter(n => n.host.includes(':'))
]
const answer = record({
  nodes: fc.array(
    fc.tuple(bytes(20), address).map(([id, a]) => ({ id, ...a })),
    { maxLength: 8 }
  ),
  peers: fc.array(address, { maxLength: 50 }),
  token: maybe(fc.uint8Array({ maxLength: 64 })),
  value: maybe(value),
  signed: maybe(signed)
}).map(a => ({ ...a, nodes: byFamily(a.nodes), seq: a.signed?.seq }))
const transaction = fc.uint8Array({ maxLength: 32 })
const message: fc.Arbitrary<KrpcMessage> = fc.oneof(
  record({ transaction, kind: fc.constant('question' as const), id: bytes(20), readOnly: fc.boolean(), question }),
  record({ transaction, kind: fc.constant('answer' as const), id: bytes(20), answer, seenAs: maybe(address) })
)
test('what is written is read back', () => {
  fc.assert(fc.property(message, m => assert.deepEqual(decodeKrpc(encodeKrpc(m)), m)))
})
test('any bytes are read or refused with BAD_KRPC', () => {
  const survives = (b: Uint8Array): void => {
    try {
      encodeKrpc(decodeKrpc(b))
    } catch (e) {
      assert.ok(hasCode(e, 'BAD_KRPC'), String(e))
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), survives))
  fc.assert(
    fc.property(message, fc.nat(), fc.nat(255), (m, at, b) => {
      const raw = encodeKrpc(m)
      raw[at % raw.length] = b
      survives(raw)
    })
  )
})

test('node ids follow from addresses as in the vectors of BEP 42', () => {
  for (const v of vectors('bep42')['vectors'] as { ip: string; node_id: string }[]) {
    const id = hexToBytes(v.node_id)
    assert.ok(isIdOfAddress(id, v.ip))
    assert.equal(bytesToHex(makeNodeId(v.ip, id)), v.node_id)
    assert.ok(!isIdOfAddress(id, '203.0.114.9'))
  }
  assert.ok(isIdOfAddress(new Uint8Array(20), '192.168.1.2')) // BEP 42: exempt
  const v6 = '2001:4860:4860::8888'
  fc.assert(fc.property(bytes(20), fc.ipV4(), (r, ip) => isIdOfAddress(makeNodeId(ip, r), ip) && isIdOfAddress(makeNodeId(v6, r), v6)))
})

test('BT10: items: the vectors of BEP 44, a wrong signature, sizes and sequence numbers', async () => {
  const v = vectors('bep44') as {
    public: string
    mutable: { salt: string; signed: string; target: string; signature: string }[]
    immutable: { value: string; target: string }
  }
  const key = hexToBytes(v.public)
  const hello = text('12:Hello World!')
  const item = (seq: number, signature: string, salt = '', value = hello): Item => ({
    value,
    salt: utf8(salt),
    signed: { key, seq, signature: hexToBytes(signature) }
  })
  for (const m of v.mutable) {
    assert.deepEqual(signedBytes(hello, 1, utf8(m.salt)), text(m.signed))
    assert.equal(bytesToHex(mutableTarget(key, utf8(m.salt))), m.target)
    assert.ok(await isGenuine(item(1, m.signature, m.salt)))
    assert.ok(!(await isGenuine(item(2, m.signature, m.salt))))
    assert.ok(!(await isGenuine(item(1, m.signature, `${m.salt}x`))))
  }
  assert.equal(bytesToHex(targetOf({ value: text(v.immutable.value), signed: undefined, salt: new Uint8Array() })), v.immutable.target)
  const sig = v.mutable[0]!.signature
  assert.equal(sizeError(item(1, sig, '', text(`997:${'x'.repeat(997)}`))), 205)
  assert.equal(sizeError(item(1, sig, '', text(`996:${'x'.repeat(996)}`))), undefined)
  assert.equal(sizeError(item(1, sig, 's'.repeat(65))), 207)
  assert.equal(orderError(item(5, sig), item(4, sig), undefined), 302)
  assert.equal(orderError(item(5, sig), item(5, sig, '', text('i1e')), undefined), 302)
  assert.equal(orderError(item(5, sig), item(5, sig), undefined), undefined)
  assert.equal(orderError(item(5, sig), item(6, sig), 4), 301)
  assert.equal(orderError(item(5, sig), item(6, sig), 5), undefined)
  assert.equal(orderError(undefined, item(1, sig), 9), undefined)
})
