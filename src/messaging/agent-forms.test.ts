import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { anyBlock, anyCommunication } from '../../test/kits/agent-messages.ts'
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { canonicalJson, type JsonObject, parseJsonObject } from '../wire/strict-json.ts'
import { agentForm, readAgentForm } from './agent-forms.ts'
import { blockNotificationForm, blockProposalForm, readBlockNotificationForm, readBlockProposalForm } from './block-forms.ts'

const overTheWire = (json: JsonObject): JsonObject => parseJsonObject(utf8(canonicalJson(json)))

test('every message of an agent comes back from its JSON form', () => {
  fc.assert(
    fc.property(anyCommunication, m => {
      const form = agentForm(m)
      assert.equal(form.type, m.targetId === '' ? 'network_broadcast' : 'agent_message')
      assert.deepEqual(readAgentForm(form.type, overTheWire(form.body)), m)
    })
  )
  fc.assert(fc.property(anyBlock, b => assert.deepEqual(readBlockProposalForm(overTheWire(blockProposalForm(b))), b)))
  const notification = { blockHash: new Uint8Array(32).fill(1), producerId: 'p', timestamp: 1_700_000_000_000 }
  assert.deepEqual(readBlockNotificationForm(overTheWire(blockNotificationForm(notification))), notification)
})

test('the forms are those of spec 003, and what it leaves out has a default', () => {
  const broadcast = { type: 'network_broadcast', from: 'scout', content: { type: 'status_update', data: {} } }
  assert.deepEqual(readAgentForm('network_broadcast', broadcast), {
    agentId: 'scout',
    targetId: '',
    content: { kind: 'status', body: { state: 'available', text: '', mood: '', capabilities: [], tasksRunning: 0, load: 0 } }
  })
  const direct = {
    from: 'scout',
    to: 'ranger',
    content: { type: 'alliance_proposal', data: { name: 'north', expires_at: '2026-05-01T10:00:00Z', other: 1 } }
  }
  assert.deepEqual(readAgentForm('agent_message', direct)?.content, {
    kind: 'alliance',
    body: { proposalId: '', name: 'north', purpose: '', members: [], terms: '', expiresAt: Date.UTC(2026, 4, 1, 10) }
  })
  assert.equal(readAgentForm('agent_message', { from: 'a', to: 'b', content: { type: 'dance', data: {} } }), undefined)
  const block = { height: 3, parent: 'ab'.repeat(32), transactions: [], memes: [], timestamp: '2026-05-01T10:00:00.250Z' }
  assert.equal(
    readBlockProposalForm({ type: 'block_proposal', block, signature: 'cd'.repeat(64) }).timestamp,
    Date.UTC(2026, 4, 1, 10) + 250
  )
})

test('a form that is none is BAD_PAYLOAD, whatever is wrong with it', () => {
  const of = (type: string, data: JsonObject) => () => readAgentForm('agent_message', { from: 'a', to: 'b', content: { type, data } })
  const bad: readonly (() => unknown)[] = [
    () => readAgentForm('agent_message', { from: 'a', content: { type: 'meme', data: {} } }),
    of('alliance_proposal', { expires_at: '2026-02-30T00:00:00Z' }),
    of('alliance_proposal', { expires_at: 'soon' }),
    of('alliance_proposal', { members: Array.from({ length: 257 }, () => 'x') }),
    of('alliance_proposal', { members: [1] }),
    of('alliance_proposal', { name: 'é'.repeat(200) }),
    of('discussion', { block_hash: 'ab' }),
    of('discussion', { stance: 'constructor' }),
    of('meme', { meme: { data: '*' } }),
    of('meme', { meme: { link: 'javascript:1' } }),
    of('status_update', { load: 1001 }),
    of('status_update', { tasks_running: 0.5 }),
    of('announcement', { title: 7 }),
    () => readBlockProposalForm({ type: 'block_proposal' }),
    () => readBlockNotificationForm({ type: 'block_notification', block_hash: '00', producer_id: 'x', timestamp: '2026-05-01T10:00:00Z' })
  ]
  for (const [i, read] of bad.entries()) assert.throws(read, { code: 'BAD_PAYLOAD' }, `case ${i}`)
  const kinds = fc.constantFrom('alliance_proposal', 'discussion', 'meme', 'status_update', 'announcement')
  fc.assert(
    fc.property(
      kinds,
      fc.jsonValue(),
      fc.constantFrom('name', 'meme', 'state', 'load', 'members', 'title', 'expires_at'),
      (type, value, field) => {
        for (const data of [value, { [field]: value }]) {
          try {
            readAgentForm('agent_message', { from: 'a', to: 'b', content: { type, data: data as JsonObject } })
          } catch (e) {
            assert.ok(e instanceof KithError && e.code === 'BAD_PAYLOAD', String(e))
          }
        }
      }
    )
  )
})
