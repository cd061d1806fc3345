/** protoc reads our messages of agents and writes the same bytes; we read what it writes from text. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { encode } from '../../src/base/codec.ts'
import { loginStep } from '../../src/wire/chaos-login.ts'
import { readChaosMessage, writeChaosMessage } from '../../src/wire/chaos-message.ts'
import { anyMessage } from '../kits/agent-messages.ts'

const PROTO = join(import.meta.dirname, '../../proto')
/** protobuf-compiler has protoc without the well-known types (they are in libprotobuf-dev). */
const TIMESTAMP = 'syntax = "proto3"; package google.protobuf; message Timestamp { int64 seconds = 1; int32 nanos = 2; }'

/** protoc with our .proto file; undefined (after saying so) when it is missing. */
function protoc(t: TestContext): ((verb: 'encode' | 'decode', type: string, input: Uint8Array) => Buffer) | undefined {
  if (spawnSync('which', ['protoc']).status !== 0) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'protoc is missing: install Debian package protobuf-compiler')
    t.skip('protoc is missing: install Debian package protobuf-compiler')
    return undefined
  }
  const folder = mkdtempSync(join(tmpdir(), 'kith-proto-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'google/protobuf'), { recursive: true })
  writeFileSync(join(folder, 'google/protobuf/timestamp.proto'), TIMESTAMP)
  return (verb, type, input) => {
    const done = spawnSync('protoc', [`-I${PROTO}`, `-I${folder}`, `--${verb}=kith.chaoschain.${type}`, join(PROTO, 'chaoschain.proto')], {
      input
    })
    assert.equal(done.status, 0, String(done.stderr))
    return done.stdout
  }
}

test('protoc reads every kind of message, and writes the same bytes from the text it made', t => {
  const run = protoc(t)
  if (!run) return
  const seen = new Map<string, number>()
  for (const m of fc.sample(anyMessage, { numRuns: 400, seed: 7 })) {
    const { payload } = m
    const kind = payload.kind === 'agent_comm' ? `agent_comm ${payload.body.content.kind}` : payload.kind
    if ((seen.get(kind) ?? 0) >= 3) continue
    seen.set(kind, (seen.get(kind) ?? 0) + 1)
    const bytes = writeChaosMessage(m)
    const text = run('decode', 'ChaoschainMessage', bytes)
    assert.match(String(text), new RegExp(`^message_id: "${m.messageId}"$`, 'm'))
    assert.doesNotMatch(String(text), /^\s*\d+:/m, 'a field that the .proto file does not know')
    assert.deepEqual(Buffer.from(run('encode', 'ChaoschainMessage', text)), Buffer.from(bytes))
  }
  assert.equal(seen.size, 9, [...seen.keys()].join())
  const login = encode(loginStep, { kind: 'connect', body: { agentId: 'scout', publicKey: new Uint8Array(32).fill(7) } })
  assert.deepEqual(run('encode', 'AgentLogin', run('decode', 'AgentLogin', login)), Buffer.from(login))
})

test('we read what protoc writes from text', t => {
  const run = protoc(t)
  if (!run) return
  const text = `
    version: 1 message_id: "6f1c2b6e-5d0a-4c3e-9a55-0b8f6f3f0a11" created_at { seconds: 1700000000 nanos: 250000000 }
    agent_comm { agent_id: "scout" target_id: "did:key:zOther" type: COMMUNICATION_TYPE_ALLIANCE_PROPOSAL
      alliance { proposal_id: "p1" name: "north" purpose: "share figures" members: "scout" members: "ranger" expires_at { seconds: 1800000000 } } }
    signature: "${'s'.repeat(64)}" sender_key: "${'k'.repeat(32)}"`
  const message = readChaosMessage(run('encode', 'ChaoschainMessage', Buffer.from(text)))
  assert.deepEqual(message, {
    messageId: '6f1c2b6e-5d0a-4c3e-9a55-0b8f6f3f0a11',
    createdAt: 1_700_000_000_250,
    payload: {
      kind: 'agent_comm',
      body: {
        agentId: 'scout',
        targetId: 'did:key:zOther',
        content: {
          kind: 'alliance',
          body: {
            proposalId: 'p1',
            name: 'north',
            purpose: 'share figures',
            members: ['scout', 'ranger'],
            terms: '',
            expiresAt: 1_800_000_000_000
          }
        }
      }
    },
    signature: Uint8Array.from(Buffer.alloc(64, 's')),
    senderKey: Uint8Array.from(Buffer.alloc(32, 'k'))
  })
})
