/** Payloads: what is written is read back, and whatever else is sent is refused with a code. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { agentMessageBody, broadcastBody, readAgentMessage, readBroadcast } from './agent-payloads.ts'
import { capabilitiesBody, discoveryBody, readCapabilities, readDiscovery } from './capability-payloads.ts'
import { chunkBody, readChunk } from './chunk-payloads.ts'
import { didOfKey } from './did-key.ts'
import { MESSAGE_TYPES, type MessageType } from './message-types.ts'
import { payloadBytes, readPayload } from './payloads.ts'
import {
  errorBody,
  heartbeatBody,
  pingBody,
  readError,
  readHeartbeat,
  readPing,
  readStatus,
  readWakeUp,
  statusBody,
  wakeUpBody
} from './presence-payloads.ts'
import { canonicalJson, type Json, type JsonObject, parseJsonObject } from './strict-json.ts'

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record<T>(model, { noNullPrototype: true })
const ID = '0b2f2c0e-5b0c-4b8e-9f0e-3d9a1c1f0a11'
const id = fc.uuid({ version: 4 })
const maybeId = fc.option(id, { nil: undefined })
const did = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(didOfKey)
const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .map(t => t.slice(0, 60))
  .filter(t => t.isWellFormed())
const names = fc.array(name, { maxLength: 4 })
const count = fc.nat(1_000_000)
const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n }).map(b => Uint8Array.from(b))
const data = fc.dictionary(
  name.filter(n => n !== '__proto__'),
  fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null)),
  { maxKeys: 3, noNullPrototype: true }
)
const content = record({ type: fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/), data })
const peers = fc.array(record({ entityId: did, addresses: names, capabilities: names }), { maxLength: 3 })

/** A kind of payload: values of it, its writer and its reader. */
interface Kind<T> {
  readonly type: MessageType
  readonly values: fc.Arbitrary<T>
  readonly body: (value: T) => JsonObject
  readonly read: (body: JsonObject) => T
}
const kind = <T>(
  type: MessageType,
  values: fc.Arbitrary<T>,
  body: (value: T) => JsonObject,
  read: (body: JsonObject) => T
): Kind<unknown> => ({ type, values, body, read }) as unknown as Kind<unknown>

const KINDS = [
  kind('ping', record({ replyTo: maybeId }), pingBody, readPing),
  kind('heartbeat', record({ sequence: fc.maxSafeNat() }), heartbeatBody, readHeartbeat),
  kind(
    'status_report',
    record({
      state: fc.constantFrom('READY' as const, 'BUSY' as const, 'STOPPING' as const),
      load: fc.double({ min: 0, max: 1, noNaN: true }).map(n => n + 0),
      uptimeSeconds: fc.maxSafeNat(),
      tasks: record({ waiting: count, running: count })
    }),
    statusBody,
    readStatus
  ),
  kind('wake_up', record({ reason: text }), wakeUpBody, readWakeUp),
  kind(
    'error',
    record({ code: fc.stringMatching(/^[A-Z][A-Z0-9_]{0,30}$/), message: text, originalMessageId: maybeId }),
    errorBody,
    readError
  ),
  kind(
    'capability_response',
    record({
      replyTo: maybeId,
      protocolVersion: fc.constantFrom('1.0', '1.1'),
      supportedMsgTypes: names,
      cryptoFeatures: names,
      endpoints: names,
      entityId: did,
      skills: fc.array(record({ name, description: text }), { maxLength: 3 })
    }),
    capabilitiesBody,
    readCapabilities
  ),
  kind(
    'discovery',
    fc.oneof(
      record({ kind: fc.constant('entity' as const), entityId: did }),
      record({ kind: fc.constant('capability' as const), capability: name }),
      record({ kind: fc.constant('answer' as const), replyTo: id, peers })
    ),
    discoveryBody,
    readDiscovery
  ),
  kind('agent_message', record({ from: name, to: name, content }), agentMessageBody, readAgentMessage),
  kind('network_broadcast', record({ from: name, content }), broadcastBody, readBroadcast),
  kind(
    'chunk',
    fc.oneof(
      record({ kind: fc.constant('complete' as const), transferId: id }),
      record({
        kind: fc.constant('init' as const),
        transferId: id,
        originalMsgType: name,
        totalBytes: fc.integer({ min: 1, max: 8 * 2 ** 20 }),
        sha256: bytes(32)
      }).map(c => ({ ...c, totalChunks: Math.ceil(c.totalBytes / 65_536) })),
      record({
        kind: fc.constant('part' as const),
        transferId: id,
        chunkIndex: fc.nat(9),
        totalChunks: fc.constant(10),
        data: fc.uint8Array({ minLength: 1, maxLength: 50 }).map(b => Uint8Array.from(b)),
        checksum: bytes(16)
      }),
      fc
        .uniqueArray(fc.nat(1023), { maxLength: 8 })
        .map(n => n.sort((a, b) => a - b))
        .map(n => Array.from({ length: n.length >> 1 }, (_, i) => [n[2 * i]!, n[2 * i + 1]!] as const))
        .chain(missing => record({ kind: fc.constant('resend' as const), transferId: id, missing: fc.constant(missing) }))
    ),
    chunkBody,
    readChunk
  )
]

for (const { type, values, body, read } of KINDS) {
  test(`${type}: what is written is read back, with members that are not known and without`, () => {
    fc.assert(
      fc.property(values, id, (value, messageId) => {
        const payload = readPayload(type, payloadBytes({ ...body(value), later_addition: [1] }, messageId))
        assert.equal(payload.messageId, messageId)
        assert.deepEqual(read(payload.body), value)
        assert.deepEqual(read(parseJsonObject(utf8(canonicalJson(body(value))))), value)
      })
    )
  })

  test(`${type}: one member changed is read, or refused with BAD_PAYLOAD`, () => {
    const wrong = fc.oneof(
      fc.constantFrom<Json>(
        null,
        '',
        'x'.repeat(5000),
        0,
        -1,
        1.5,
        1e300,
        true,
        [],
        [[]],
        [null],
        {},
        [[2, 1]],
        [
          [1, 1],
          [1, 2]
        ],
        ID
      ),
      fc.jsonValue().map(v => JSON.parse(JSON.stringify(v)) as Json)
    )
    fc.assert(
      fc.property(values, fc.nat(), fc.option(wrong, { nil: undefined }), (value, at, other) => {
        const good = body(value)
        const members = [...Object.keys(good), 'reply_to']
        const changed = { ...good, [members[at % members.length]!]: other }
        if (other === undefined) delete (changed as Record<string, unknown>)[members[at % members.length]!]
        try {
          const again = read(changed as JsonObject)
          assert.deepEqual(read(body(again)), again)
        } catch (e) {
          assert.ok(e instanceof KithError && e.code === 'BAD_PAYLOAD', String(e))
        }
      })
    )
  })
}

test('a payload is an object with a message_id, unless its type has none', () => {
  for (const type of Object.keys(MESSAGE_TYPES) as MessageType[]) {
    for (const bad of ['[]', 'null', '"x"', '{', '{"a":1,"a":1}'])
      assert.throws(() => readPayload(type, utf8(bad)), { code: 'MALFORMED_JSON' })
    for (const messageId of [1, '', ID.toUpperCase(), null])
      assert.throws(() => readPayload(type, utf8(JSON.stringify({ message_id: messageId }))), { code: 'BAD_PAYLOAD' })
  }
  for (const type of ['handshake', 'ack', 'chunk'] as const) assert.equal(readPayload(type, utf8('{}')).messageId, undefined)
  for (const type of ['ping', 'task_delegate', 'group_message'] as const)
    assert.throws(() => readPayload(type, utf8('{}')), { code: 'BAD_PAYLOAD' })
  assert.deepEqual(readPayload('task_result', payloadBytes({ output: [1] }, ID)), { messageId: ID, body: { output: [1] } })
  assert.deepEqual(readPayload('capability_query', payloadBytes({}, ID)), { messageId: ID, body: {} })
  assert.throws(() => payloadBytes({ message_id: ID }), { code: 'BAD_PAYLOAD' })
})

test('payloads that need not be large may not be', () => {
  const large = payloadBytes({ reason: '', pad: 'x'.repeat(16_384) }, ID)
  assert.throws(() => readPayload('wake_up', large), { code: 'TOO_LARGE' })
  assert.ok(readPayload('task_delegate', large).body)
})

test('CH2: a chunked payload whose parts cannot make its whole is refused', () => {
  const init = {
    kind: 'init',
    transfer_id: ID,
    original_msg_type: 'task_result',
    total_bytes: 100_000,
    total_chunks: 2,
    sha256: 'ab'.repeat(32)
  }
  assert.equal((readChunk(init) as { totalChunks: number }).totalChunks, 2)
  for (const change of [
    { total_chunks: 0 },
    { total_chunks: 1025 },
    { total_chunks: 1.5 },
    { total_bytes: 0 },
    { total_bytes: 2 ** 53 },
    { total_bytes: 8 * 2 ** 20 + 1, total_chunks: 200 },
    { total_bytes: 2, total_chunks: 3 },
    { total_bytes: 10, total_chunks: 6 },
    { total_bytes: 300_000, total_chunks: 1 },
    { sha256: 'AB'.repeat(32) }
  ])
    assert.throws(() => readChunk({ ...init, ...change }), { code: 'BAD_PAYLOAD' }, JSON.stringify(change))
})

test('CH1: a part outside its whole is refused', () => {
  const part = { kind: 'part', transfer_id: ID, chunk_index: 1, total_chunks: 2, data: 'YQ==', checksum: 'ab'.repeat(16) }
  assert.equal(readChunk(part).kind, 'part')
  for (const change of [
    { chunk_index: -1 },
    { chunk_index: 2 },
    { chunk_index: 1.5 },
    { chunk_index: 2 ** 32 },
    { data: '' },
    { data: 'YR==' },
    { kind: 'x' }
  ])
    assert.throws(() => readChunk({ ...part, ...change }), { code: 'BAD_PAYLOAD' }, JSON.stringify(change))
})
