import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { hasCode } from '../base/errors.ts'
import { issueInstanceCertificate, issuePeerChain, verifyPeerCertificate } from './certificates.ts'
import { peerIdToBytes } from './peer-id.ts'

const vector = JSON.parse(readFileSync(new URL('../../test/vectors/identity/certificates.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>
const PERSON = new Uint8Array(32).fill(1)
const INSTANCE = new Uint8Array(32).fill(2)
const ISSUED = 1_700_000_000_000
const peerId = vector.peerId!
const code = (name: string) => (e: unknown) => hasCode(e, name)

test('certificates are byte for byte those of the vectors', async () => {
  const instance = await issueInstanceCertificate(PERSON, {
    instance: hexToBytes(vector.instanceKey!),
    encryption: new Uint8Array(32).fill(4),
    issuedAt: ISSUED
  })
  assert.equal(bytesToHex(instance), vector.signedInstance)
  assert.equal(bytesToHex(await issuePeerChain(INSTANCE, peerIdToBytes(peerId), ISSUED, instance)), vector.chain)
  assert.equal(bytesToHex(await issuePeerChain(INSTANCE, peerIdToBytes(peerId), ISSUED)), vector.chainBare)
})

test('a valid chain names the instance and, if there is one, the person', async () => {
  const whole = await verifyPeerCertificate(hexToBytes(vector.chain!), peerId)
  assert.equal(bytesToHex(whole.instanceKey), vector.instanceKey)
  assert.equal(bytesToHex(whole.personKey!), vector.person)
  const bare = await verifyPeerCertificate(hexToBytes(vector.chainBare!), peerId)
  assert.equal(bytesToHex(bare.instanceKey), vector.instanceKey)
  assert.equal(bare.personKey, undefined)
})

test('a chain for another peer is refused', async () => {
  const other = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
  await assert.rejects(verifyPeerCertificate(hexToBytes(vector.chain!), other), code('INVALID_CERTIFICATE'))
  await assert.rejects(verifyPeerCertificate(hexToBytes(vector.chain!), 'nonsense'), code('BAD_PEER_ID'))
})

test('a person cannot be put over an instance that they did not name', async () => {
  const foreign = await issueInstanceCertificate(PERSON, {
    instance: new Uint8Array(32).fill(9),
    encryption: new Uint8Array(32),
    issuedAt: ISSUED
  })
  const chain = await issuePeerChain(INSTANCE, peerIdToBytes(peerId), ISSUED, foreign)
  await assert.rejects(verifyPeerCertificate(chain, peerId), code('INVALID_CERTIFICATE'))
})

test('no changed byte is accepted', async () => {
  const chain = hexToBytes(vector.chain!)
  for (let i = 0; i < chain.length; i++) {
    const changed = Uint8Array.from(chain)
    changed[i]! ^= 1
    await assert.rejects(
      verifyPeerCertificate(changed, peerId),
      (e: unknown) => /^(WIRE_|INVALID_)/.test((e as { code: string }).code),
      `byte ${i}`
    )
  }
})
