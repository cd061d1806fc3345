/** Peer records, envelopes, mailboxes and groups as a Python program makes them from docs/wire/reach.md and docs/wire/groups.md. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import fc from 'fast-check'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { type Codec, decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { capabilityKey, peerKey } from '../discovery/peer-registry.ts'
import { checkPeerRecord } from '../discovery/peer-registry-check.ts'
import { peerIdToBytes, peerIdToText } from '../identity/peer-id.ts'
import { keyOfDid } from '../wire/did-key.ts'
import { groupOpCodec } from '../wire/group-op.ts'
import { collectAnswer, collectRequest } from '../wire/mailbox-collect.ts'
import { knownRequest } from '../wire/mailbox-known.ts'
import { peerRecordCodec } from '../wire/peer-record.ts'
import { peerRecordRequest } from '../wire/peer-record-request.ts'
import { relayAnswerCodec } from '../wire/relay-answer.ts'
import { envelopeHeadBytes, sealedEnvelopeCodec } from '../wire/sealed-envelope.ts'
import { signedCodec } from '../wire/signed.ts'
import { GroupLog, readGroupOp, transcriptOf } from './groups/log.ts'
import { epochIdOf, openPost, sealPost } from './groups/seal.ts'
import { knownTag } from './mailbox-tags.ts'

interface Vectors {
  readonly a: { readonly id: string; readonly peer_id: string }
  readonly b: { readonly id: string; readonly peer_id: string }
  readonly now: number
  readonly peer_key: string
  readonly capability_key: string
  readonly peer_record: string
  readonly record_requests: { readonly you: string; readonly another: string }
  readonly envelope: { readonly head: string; readonly bytes: string }
  readonly relay_answers: { readonly delivered: string; readonly full: string }
  readonly collect_request: string
  readonly collect_answer: string
  readonly known_request: string
  readonly group: {
    readonly ops: readonly { readonly bytes: string; readonly hash: string }[]
    readonly heads: readonly string[]
  } & Record<'group_id' | 'sender' | 'text' | 'post_id' | 'epoch_key' | 'epoch' | 'transcript' | 'salt' | 'data', string>
}
const V = JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/wire/reach-vectors.json'), 'utf8')) as Vectors

/** Reads bytes, and writes what was read as the same bytes. */
function both<T>(codec: Codec<T>, hex: string): T {
  const value = decode(codec, hexToBytes(hex))
  assert.equal(bytesToHex(encode(codec, value)), hex)
  return value
}

test('a peer record, and the keys under which it is found', async () => {
  const { entityId, peerId, record } = await checkPeerRecord(hexToBytes(V.peer_record), V.now)
  assert.deepEqual([entityId, peerId], [V.a.id, V.a.peer_id])
  both(peerRecordCodec, bytesToHex(decode(signedCodec, hexToBytes(V.peer_record)).body))
  assert.deepEqual([record.sequence, record.expiresAt, record.relaysFor], [7, V.now + 3_600_000, 'everyone'])
  assert.deepEqual(record.agents[0]!.skills, ['summarise', 'übersetzen'])
  assert.deepEqual([record.capabilities, Buffer.from(record.prekey!).toString()], [['chat'], 'prekey'])
  assert.deepEqual(
    record.via.map(v => [peerIdToText(v.peerId), v.entityKey]),
    [[V.b.peer_id, keyOfDid(V.b.id)]]
  )
  assert.equal(bytesToHex(await peerKey(V.a.id)), V.peer_key)
  assert.equal(bytesToHex(await capabilityKey('übersetzen')), V.capability_key)
  assert.deepEqual(both(peerRecordRequest, V.record_requests.you), { sequence: 7 })
  assert.deepEqual(both(peerRecordRequest, V.record_requests.another), { key: keyOfDid(V.b.id), depth: 3 })
})

test('an envelope, what becomes of it, and how it is collected', async () => {
  const envelope = both(sealedEnvelopeCodec, V.envelope.bytes)
  assert.equal(bytesToHex(envelopeHeadBytes(envelope)), V.envelope.head)
  assert.deepEqual(envelope.hops.map(peerIdToText), [V.a.peer_id])
  assert.deepEqual(both(relayAnswerCodec, V.relay_answers.delivered), { outcome: 'delivered', hops: 2, code: '' })
  assert.deepEqual(both(relayAnswerCodec, V.relay_answers.full), { outcome: 'no-route', hops: 0, code: 'QUEUE_FULL' })
  assert.deepEqual(both(collectRequest, V.collect_request).done, [4, 9])
  const { left, waiting } = both(collectAnswer, V.collect_answer)
  assert.deepEqual([left, waiting.map(w => [w.number, bytesToHex(w.envelope)])], [1, [[12, V.envelope.bytes]]])
  const { tags } = both(knownRequest, V.known_request)
  assert.deepEqual(tags, [await knownTag(keyOfDid(V.b.id)!, peerIdToBytes(V.a.peer_id))])
})

test('a group, two additions at the same time, its epoch, and a message', async () => {
  const { group } = V
  const log = new GroupLog(group.group_id)
  for (const { bytes, hash } of [...group.ops].reverse()) {
    const op = (await readGroupOp(hexToBytes(bytes)))!
    assert.equal(op.hash, hash)
    both(groupOpCodec, bytesToHex(decode(signedCodec, hexToBytes(bytes)).body))
    log.add([op])
  }
  assert.deepEqual(log.fold.heads, group.heads)
  assert.deepEqual(
    [...log.fold.members.values()].map(m => m.role),
    ['admin', 'admin', 'member', 'member']
  )
  assert.ok(log.fold.members.has(V.a.id) && log.fold.members.has(V.b.id))
  assert.equal(await transcriptOf(group.heads), group.transcript)
  assert.equal(await epochIdOf(hexToBytes(group.epoch_key)), group.epoch)
  const head = {
    groupId: group.group_id,
    postId: group.post_id,
    epoch: group.epoch,
    heads: group.heads,
    transcript: group.transcript,
    salt: group.salt
  }
  const key = hexToBytes(group.epoch_key)
  assert.equal(bytesToHex(await sealPost(key, head, group.sender, { text: group.text })), group.data)
  assert.deepEqual({ ...(await openPost(key, { ...head, data: hexToBytes(group.data) }, group.sender)) }, { text: group.text })
})

test('any bytes are what an owner says of whom it knows, and written again as they were, or a WIRE_ error', () => {
  const request = fc.record({
    certificate: fc.uint8Array({ maxLength: 64 }),
    tags: fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 20 })
  })
  fc.assert(fc.property(request, r => assert.deepEqual({ ...decode(knownRequest, encode(knownRequest, r)) }, { ...r })))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), b => {
      try {
        assert.deepEqual(encode(knownRequest, decode(knownRequest, b)), b)
      } catch (e) {
        assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'))
      }
    })
  )
})
