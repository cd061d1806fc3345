/** Handshake, messages and sealed message against docs/wire/session-vectors.json, which Python makes from the text of docs/wire. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { type SessionVectors, sessionFacts } from '../../test/kits/session-facts.ts'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { x25519, x25519PublicKey } from '../platform/crypto.node.ts'
import { directionKey } from './key-schedule.ts'

const FOLDER = join(import.meta.dirname, '../../docs/wire')
const TEXT = readFileSync(join(FOLDER, 'session-vectors.json'), 'utf8')
const vectors = JSON.parse(TEXT) as SessionVectors & Readonly<Record<'t2' | 'shared' | 'initiator_key' | 'responder_key', string>>

test('a handshake with fixed keys, its messages, a prekey and what is sealed to it are byte by byte those of the page', async () => {
  const facts = await sessionFacts(vectors)
  for (const [name, value] of Object.entries(facts)) assert.equal(value, vectors[name as keyof SessionVectors], name)
})

test('the keys of both directions are those of the page', async () => {
  const [a, b] = [new Uint8Array(32).fill(0x31), new Uint8Array(32).fill(0x32)]
  const shared = (await x25519(a, await x25519PublicKey(b)))!
  assert.equal(bytesToHex(shared), vectors.shared)
  for (const role of ['initiator', 'responder'] as const)
    assert.equal(bytesToHex(await directionKey(shared, hexToBytes(vectors.t2), role)), vectors[`${role}_key`])
})

test('session-vectors.json is what session-vectors.py makes', t => {
  if (spawnSync('/usr/bin/python3', ['-c', 'import cryptography']).status !== 0) {
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', 'python3-cryptography is missing')
    return t.skip('needs the Debian package python3-cryptography')
  }
  const made = execFileSync('/usr/bin/python3', [join(FOLDER, 'session-vectors.py')], { encoding: 'utf8', env: { PYTHONUTF8: '1' } })
  assert.equal(made, TEXT)
})
