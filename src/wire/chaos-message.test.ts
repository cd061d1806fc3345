import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { ed25519Verify } from '#crypto'
import { anyMessage, TestSigner } from '../../test/kits/agent-messages.ts'
import { bytesToHex, concatBytes, utf8 } from '../base/bytes.ts'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { loginSignedBytes, loginStep, MAX_LOGIN_FRAME_BYTES } from './chaos-login.ts'
import { chaosBytesToSign, chaosSignedBytes, readChaosMessage, writeChaosMessage } from './chaos-message.ts'
import { MAX_CHAOS_MESSAGE_BYTES } from './limits.ts'

test('what is written is read back, and what is signed is what was received without the signature', () => {
  fc.assert(
    fc.property(anyMessage, m => {
      const bytes = writeChaosMessage(m)
      assert.deepEqual(readChaosMessage(bytes), m)
      assert.deepEqual(chaosSignedBytes(bytes), chaosBytesToSign(m))
    }),
    { numRuns: 200 }
  )
})

test('any bytes decode and re-encode identically, or throw a WIRE_ error', () => {
  const changed = fc.tuple(anyMessage.map(writeChaosMessage), fc.nat(), fc.nat(255), fc.nat(600)).map(([bytes, at, value, cut]) => {
    bytes[at % bytes.length] = value
    return cut > 500 ? bytes.subarray(0, cut - 500) : bytes
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), changed), b => {
      try {
        assert.deepEqual(writeChaosMessage(readChaosMessage(b)), Uint8Array.from(b))
      } catch (e) {
        assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'), String(e))
      }
    }),
    { numRuns: 300 }
  )
})

test('a message has the bytes of docs/wire/agent-message.md', () => {
  const bytes = writeChaosMessage({
    messageId: '00000000-0000-4000-8000-000000000001',
    createdAt: 1_700_000_000_500,
    payload: {
      kind: 'agent_comm',
      body: { agentId: 'a', targetId: '', content: { kind: 'announcement', body: { title: 'hi', text: '', link: '' } } }
    },
    senderKey: new Uint8Array(32).fill(1),
    signature: new Uint8Array(64).fill(2)
  })
  const expected =
    `0801${'1224'}${Buffer.from('00000000-0000-4000-8000-000000000001').toString('hex')}` +
    `1a0c0880e2cfaa061080cab5ee01${'320b0a0161180542040a026869'}4a40${'02'.repeat(64)}5220${'01'.repeat(32)}`
  assert.equal(bytesToHex(bytes), expected)
})

test('every changed byte of a signed message is noticed', async () => {
  const signer = new TestSigner()
  const bytes = await signer.message({
    kind: 'meme',
    body: { title: 't', mime: '', data: Uint8Array.of(1), link: '', author: '', tags: [] }
  })
  const verdict = async (b: Uint8Array): Promise<boolean> => {
    try {
      const m = readChaosMessage(b)
      return await ed25519Verify(m.senderKey, chaosSignedBytes(b), m.signature)
    } catch (e) {
      assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'), String(e))
      return false
    }
  }
  assert.ok(await verdict(bytes))
  for (let i = 0; i < bytes.length; i++) {
    const changed = Uint8Array.from(bytes)
    changed[i]! ^= 1 << (i % 8)
    assert.equal(await verdict(changed), false, `byte ${i}`)
  }
})

test('another version is told apart before anything else is read; large messages are not read', () => {
  assert.throws(() => readChaosMessage(Uint8Array.of(0x08, 0x02, 0x7f)), { code: 'WIRE_VERSION' })
  assert.throws(() => readChaosMessage(new Uint8Array(MAX_CHAOS_MESSAGE_BYTES + 1)), { code: 'WIRE_RANGE' })
})

test('steps of a login are read back; the signature holds every part of it', () => {
  const steps = [
    { kind: 'connect', body: { agentId: 'did:key:z6Mk', publicKey: new Uint8Array(32).fill(3) } },
    { kind: 'challenge', body: { nonce: new Uint8Array(32).fill(4) } },
    { kind: 'response', body: { signature: new Uint8Array(64).fill(5) } },
    { kind: 'accepted', body: { agentId: 'did:key:z6Mk' } },
    { kind: 'refused', body: { code: 'RATE_LIMITED', message: 'later' } }
  ] as const
  for (const step of steps) assert.deepEqual(decode(loginStep, encode(loginStep, step)), step)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: MAX_LOGIN_FRAME_BYTES }), b => {
      try {
        assert.deepEqual(encode(loginStep, decode(loginStep, b)), Uint8Array.from(b))
      } catch (e) {
        assert.ok(e instanceof KithError && e.code.startsWith('WIRE_'), String(e))
      }
    })
  )
  const nonce = new Uint8Array(32).fill(7)
  assert.deepEqual(
    loginSignedBytes({ nonce, agentId: 'ab', from: 'c', to: 'd' }),
    concatBytes(
      utf8('kith/agent-login/1'),
      Uint8Array.of(0),
      nonce,
      Uint8Array.of(0, 2),
      utf8('ab'),
      Uint8Array.of(0, 1),
      utf8('c'),
      Uint8Array.of(0, 1),
      utf8('d')
    )
  )
})
