/** HS5: messages of before version 1.1 over real HTTP: only from whom the user has allowed it, only as texts, once. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { ed25519PublicKey, openSigner, randomBytes } from '#crypto'
import { MemoryNetwork, seedOf, selfOf, tempFolder } from '../../test/kits/messaging.ts'
import { bytesToHex, utf8 } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { didOfKey } from '../wire/did-key.ts'
import { openMessageHttp } from './http-server.node.ts'

const OLD = didOfKey(await ed25519PublicKey(seedOf('old entity')))
const NEWER = didOfKey(await ed25519PublicKey(seedOf('newer')))

interface Old {
  readonly version?: string
  readonly type?: string
  readonly sender?: string
  readonly signer?: string
  readonly payload?: unknown
  readonly ageMs?: number
}

/** As Python's json.dumps(sort_keys=True) would write it, for plain texts. */
async function oldMessage(m: Old = {}): Promise<string> {
  const { version = '0.3', type = 'agent_message', sender = 'entity-a', signer = 'old entity', payload = { text: 'hello' }, ageMs = 0 } = m
  const timestamp = new Date(Date.now() - ageMs).toISOString().replace('Z', '+00:00')
  const signed = { msg_type: type, nonce: bytesToHex(randomBytes(16)), payload, sender_id: sender, timestamp, version }
  const signature = await openSigner(seedOf(signer)).sign(utf8(JSON.stringify(signed)))
  return JSON.stringify({ ...signed, signature: Buffer.from(signature).toString('base64') })
}

test('the old form is taken from whom the user has allowed it, as a text that says how it came, and refused otherwise', async () => {
  using folder = tempFolder()
  const allowed: string[] = []
  const legacy = { allowed: () => allowed, speaksNewer: (id: string) => id === NEWER }
  await using peer = await new MemoryNetwork().open(folder.path, 'server', { legacy })
  await using http = await openMessageHttp({
    ...{ clock: systemClock, log: silentLogger, self: await selfOf('server') },
    ...{ accept: () => {}, peers: () => [], stats: () => ({}), isGranted: () => false, isBanned: () => false, penalise: () => {} },
    outside: async (body, address) => {
      await peer.messenger.receive(body, { via: 'http', address })
      return { verification: 'verified' }
    }
  })
  const post = async (body: string): Promise<string> => {
    const answer = await fetch(`${http.url}/message`, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
    const json = (await answer.json()) as { status?: string; error_code?: string }
    return json.status ?? `${answer.status} ${json.error_code}`
  }
  assert.equal(await post(await oldMessage()), '400 INVALID_VERSION')
  assert.equal(await post(await oldMessage({ sender: OLD })), '400 INVALID_VERSION')
  assert.equal(await post(await oldMessage({ sender: NEWER, signer: 'newer' })), '400 DOWNGRADE')
  allowed.push(OLD)
  const message = await oldMessage()
  assert.equal(await post(message), 'received')
  assert.equal(await post(message), '400 REPLAY_DETECTED')
  const [got] = peer.messenger.inbox()
  assert.deepEqual([got!.from, got!.via, got!.body['content']], [OLD, 'legacy', { type: 'text', data: { text: 'hello' } }])
  // By its did:key, as version 1.0, with a payload of another kind.
  assert.equal(await post(await oldMessage({ sender: OLD, version: '1.0', payload: { a: 1 } })), 'received')
  assert.deepEqual((peer.messenger.inbox()[0]!.body['content'] as { data: unknown }).data, { text: '{"a":1}' })
  for (const [change, code] of [
    [{ type: 'task_delegate' }, 'UNSUPPORTED'],
    [{ signer: 'somebody' }, 'INVALID_VERSION'],
    [{ sender: OLD, signer: 'somebody' }, 'INVALID_VERSION'],
    [{ version: '0.2' }, 'INVALID_VERSION'],
    [{ ageMs: 400_000 }, 'CLOCK_SKEW'],
    [{ sender: NEWER, signer: 'old entity' }, 'DOWNGRADE']
  ] as const)
    assert.equal(await post(await oldMessage(change)), `400 ${code}`, JSON.stringify(change))
  assert.equal(peer.messenger.inbox().length, 2)
})

test('what was signed is what counts: no member that is signed can be changed', async () => {
  using folder = tempFolder()
  const legacy = { allowed: () => [OLD], speaksNewer: () => false }
  await using peer = await new MemoryNetwork().open(folder.path, 'server', { legacy })
  const message = JSON.parse(await oldMessage()) as Record<string, unknown>
  for (const change of [{ payload: { text: 'other' } }, { nonce: '00'.repeat(16) }, { sender_id: 'entity-b' }, { version: '1.0' }]) {
    const forged = utf8(JSON.stringify({ ...message, ...change }))
    await assert.rejects(peer.messenger.receive(forged, { via: 'http', address: '127.0.0.1' }), { code: 'INVALID_VERSION' })
    await assert.rejects(peer.messenger.receive(forged, { via: 'sealed' }))
  }
  assert.deepEqual(peer.messenger.inbox(), [])
})
