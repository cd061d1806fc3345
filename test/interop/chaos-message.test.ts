/** protoc reads our messages of agents and writes the same bytes; a program that knows only docs/wire/agent-message.md signs and checks them. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import fc from 'fast-check'
import { ed25519Verify } from '#crypto'
import { bytesToHex, hexToBytes } from '../../src/base/bytes.ts'
import { encode } from '../../src/base/codec.ts'
import { didOfKey } from '../../src/identity/peer-id.ts'
import { loginSignedBytes, loginStep } from '../../src/wire/chaos-login.ts'
import { chaosSignedBytes, readChaosMessage, writeChaosMessage } from '../../src/wire/chaos-message.ts'
import { anyMessage, TestSigner } from '../kits/agent-messages.ts'

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
  const seen = new Set<string>()
  for (const m of fc.sample(anyMessage, { numRuns: 400, seed: 7 })) {
    const { payload } = m
    const kind = payload.kind === 'agent_comm' ? `agent_comm ${payload.body.content.kind}` : payload.kind
    if (seen.has(kind)) continue
    seen.add(kind)
    const bytes = writeChaosMessage(m)
    const text = run('decode', 'ChaoschainMessage', bytes)
    assert.match(String(text), new RegExp(`^message_id: "${m.messageId}"$`, 'm'))
    assert.doesNotMatch(String(text), /^\s*\d+:/m, 'a field that the .proto file does not know')
    assert.deepEqual(Buffer.from(run('encode', 'ChaoschainMessage', text)), Buffer.from(bytes))
  }
  assert.equal(seen.size, 9, [...seen].join())
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

test('an independent program checks what we sign, and signs what we check', async t => {
  const python = '/usr/bin/python3'
  if (spawnSync(python, ['-c', 'import cryptography']).status !== 0) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'install Debian package python3-cryptography')
    t.skip('install Debian package python3-cryptography')
    return
  }
  const run = (...args: string[]): string => {
    const done = spawnSync(python, [join(import.meta.dirname, 'chaos_message.py'), ...args], { encoding: 'utf8' })
    if (done.status !== 0) throw new Error(done.stderr)
    return done.stdout.trim()
  }
  const signer = new TestSigner()
  const from = didOfKey(signer.publicKey)
  const content = { kind: 'announcement', body: { title: 'hé', text: '', link: '' } } as const
  const id = '00000000-0000-4000-8000-00000000000a'
  const bytes = await signer.message({ kind: 'agent_comm', body: { agentId: from, targetId: '', content } }, 1_700_000_000_500, id)
  assert.deepEqual(JSON.parse(run('check', bytesToHex(bytes))), { id, from, ms: 1_700_000_000_500, agent: from, type: 5, title: 'hé' })
  bytes[60]! ^= 1
  assert.throws(() => run('check', bytesToHex(bytes)))

  const theirs = hexToBytes(run('make', '07'.repeat(32)))
  const message = readChaosMessage(theirs)
  assert.ok(await ed25519Verify(message.senderKey, chaosSignedBytes(theirs), message.signature))
  assert.deepEqual(message.payload, {
    kind: 'agent_comm',
    body: {
      agentId: didOfKey(message.senderKey),
      targetId: '',
      content: { kind: 'announcement', body: { title: 'Grüße', text: '', link: '' } }
    }
  })
  const nonce = new Uint8Array(32).fill(9)
  const login = JSON.parse(run('login', '07'.repeat(32), bytesToHex(nonce), '12D3A', '12D3B')) as { agent: string; signature: string }
  assert.equal(login.agent, didOfKey(message.senderKey))
  const signed = loginSignedBytes({ nonce, agentId: login.agent, from: '12D3A', to: '12D3B' })
  assert.ok(await ed25519Verify(message.senderKey, signed, hexToBytes(login.signature)))
})
