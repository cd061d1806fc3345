/** Messages against docs/wire/message-vectors.json, which Python makes from the text of docs/wire/message.md. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { ed25519Sign, ed25519Verify } from '#crypto'
import { bytesToHex, fromUtf8, hexToBytes, utf8 } from '../base/bytes.ts'
import { readLegacyMessage } from './legacy-message.ts'
import { MESSAGE_TYPES, messageTypeOf } from './message-types.ts'
import { payloadBytes, readPayload } from './payloads.ts'
import { readSecureMessage, writeSecureMessage } from './secure-message.ts'
import { canonicalJson, type JsonObject, parseJson } from './strict-json.ts'

const FOLDER = join(import.meta.dirname, '../../docs/wire')
const TEXT = readFileSync(join(FOLDER, 'message-vectors.json'), 'utf8')
interface Case {
  readonly code: string
  readonly why: string
}
const VECTORS = JSON.parse(TEXT) as {
  readonly sender: string
  readonly recipient: string
  readonly canonical: readonly { readonly text: string; readonly canonical: string }[]
  readonly refused_json: readonly { readonly text: string; readonly code: string }[]
  readonly messages: readonly {
    readonly type: string
    readonly payload: JsonObject
    readonly message: string
    readonly signed: string
    readonly header: string
  }[]
  readonly refused: readonly (Case & { readonly message: string })[]
  readonly legacy: { readonly key: string; readonly message: string; readonly signed: string }
}

test('JSON is read and written as in the vectors', () => {
  for (const { text, canonical } of VECTORS.canonical) assert.equal(canonicalJson(parseJson(utf8(text))), canonical)
  for (const { text, code } of VECTORS.refused_json) assert.throws(() => parseJson(utf8(text)), { code }, text)
})

test('messages are read and written as in the vectors, with the payload of every type', async () => {
  for (const { type, payload, message, signed, header } of VECTORS.messages) {
    const m = readSecureMessage(utf8(message))
    assert.deepEqual([m.senderId, m.recipientId, m.msgType], [VECTORS.sender, VECTORS.recipient, type])
    assert.equal(bytesToHex(m.signedBytes), signed)
    assert.equal(fromUtf8(m.header), header)
    assert.ok(await ed25519Verify(m.senderKey, m.signedBytes, m.signature))
    const { messageId, body } = readPayload(messageTypeOf(type)!, m.data)
    assert.deepEqual(messageId === undefined ? body : { ...body, message_id: messageId }, payload)
    const data = payloadBytes(body, messageId)
    const again = await writeSecureMessage({ ...m, data }, bytes => ed25519Sign(new Uint8Array(32).fill(1), bytes))
    assert.equal(fromUtf8(again), message)
  }
  /** In session-vectors.json; and groups, which have a page of their own; the result of a task is signed by its agent. */
  const elsewhere = ['handshake', 'handshake_ack', 'handshake_confirm', 'group_update', 'group_message', 'task_result']
  const seen = new Set([...elsewhere, ...VECTORS.messages.map(m => m.type)])
  assert.deepEqual(
    Object.keys(MESSAGE_TYPES).filter(t => !seen.has(t)),
    []
  )
})

test('what must be refused is refused with its code', () => {
  for (const { why, code, message } of VECTORS.refused) assert.throws(() => readSecureMessage(utf8(message)), { code }, why)
})

test('a message before version 1.1 is read as Python signed it', async () => {
  const { key, message, signed } = VECTORS.legacy
  const m = readLegacyMessage(utf8(message))
  assert.equal(fromUtf8(m.signedBytes), signed)
  assert.ok(await ed25519Verify(hexToBytes(key), m.signedBytes, m.signature))
})

test('message-vectors.json is what message-vectors.py makes', t => {
  if (spawnSync('/usr/bin/python3', ['-c', 'import cryptography']).status !== 0) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'python3-cryptography is missing')
    return t.skip('needs the Debian package python3-cryptography')
  }
  const made = execFileSync('/usr/bin/python3', [join(FOLDER, 'message-vectors.py')], { encoding: 'utf8', env: { PYTHONUTF8: '1' } })
  assert.equal(made, TEXT)
})
