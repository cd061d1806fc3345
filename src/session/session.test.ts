import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { again, connect, type Instance, linkTo, openInstance, read } from '../../test/kits/sessions.ts'
import { bytesToHex, fromUtf8, utf8 } from '../base/bytes.ts'
import { codeOf, textOf } from '../base/errors.ts'
import { openAead, openSigner, randomBytes } from '../platform/crypto.node.ts'
import type { Aead } from '../platform/crypto-types.ts'
import { messageHeaderBytes, type ReceivedSecureMessage, writeSecureMessage } from '../wire/secure-message.ts'
import { signedBytes } from '../wire/signed.ts'
import { nonceOf } from './key-schedule.ts'
import type { EncryptionLayer } from './layers.ts'
import { MAX_SESSIONS_PER_PEER, REKEY_AFTER_MS, SESSION_DRAIN_MS } from './limits.ts'
import { type OpenedMessage, Session } from './session.ts'
import { SessionTable } from './session-table.ts'

const codeFrom = (run: Promise<unknown>): Promise<string> => run.then(() => 'accepted', codeOf)
const numbers = (opened: readonly OpenedMessage[]): number[] => opened.map(m => m.sequenceNum)
const text = (n: number): Uint8Array => utf8(`{"n":${n}}`)

async function setup(): Promise<{ a: Instance; b: Instance; mine: Session; theirs: Session }> {
  const [a, b] = [await openInstance(1), await openInstance(2)]
  return { a, b, ...(await connect(a, b)) }
}
const sealed = async (session: Session, n = 0): Promise<ReceivedSecureMessage> => read((await session.seal('ping', text(n))).frame)

test('messages that overtake each other are handed on in order, each once (threats SM24)', async () => {
  const { mine, theirs } = await setup()
  const m = [await sealed(mine, 1), await sealed(mine, 2), await sealed(mine, 3), await sealed(mine, 4)] as const
  assert.deepEqual(numbers(await theirs.open(m[0])), [1])
  assert.deepEqual(numbers(await theirs.open(m[2])), [])
  assert.deepEqual(theirs.missing(), [[2, 2]])
  assert.equal(await codeFrom(theirs.open(m[2])), 'REPLAY_DETECTED')
  const opened = await theirs.open(m[1])
  assert.deepEqual(numbers(opened), [2, 3])
  assert.deepEqual(
    opened.map(o => fromUtf8(o.payload)),
    ['{"n":2}', '{"n":3}']
  )
  assert.equal(await codeFrom(theirs.open(m[0])), 'REPLAY_DETECTED')
  for (const n of numbers(opened)) theirs.markDurable(n)
  assert.deepEqual(theirs.ackRanges(), [[2, 3]])
})

test('anything changed in a message is refused by one code (threats SM27)', async () => {
  const { a, mine, theirs } = await setup()
  const m = await sealed(mine)
  const data = Uint8Array.from(m.data)
  data[3]! ^= 1
  const tags = [0, 4, 8, 12, 15].map(n => ({ data: m.data.subarray(0, m.data.length - 16 + n) }))
  const header = [{ nonce: '00'.repeat(32) }, { timestamp: '2026-01-01T00:00:01.000Z' }, { msgType: 'task_delegate' }, { sequenceNum: 2 }]
  for (const change of [{ data }, { data: new Uint8Array() }, ...tags, ...header, { extra: { x: 1 } }])
    assert.equal(await codeFrom(theirs.open(read(await a.write(again(m, change))))), 'DECRYPTION_FAILED')
  assert.deepEqual(numbers(await theirs.open(m)), [1])
})

test("one who has the keys of a session but not its author's signature is refused (threats SM17, SM18)", async () => {
  const { a, mine, theirs } = await setup()
  const c = await openInstance(3)
  const m = await sealed(mine)
  assert.equal(await codeFrom(theirs.open(read(await c.write(again(m))))), 'INVALID_SIGNATURE')
  // A signature over the same bytes for another purpose is none for a message.
  const signer = openSigner(a.seed)
  const body = m.signedBytes.subarray('kith/message/1\0'.length)
  const other = await writeSecureMessage(again(m), async () => signer.sign(signedBytes('kith/prekey/1', body)))
  assert.equal(await codeFrom(theirs.open(read(other))), 'INVALID_SIGNATURE')
  // Nor is that of a message of one type for another.
  const handshake = read((await a.sessions.begin(c.self.entityId)).frame)
  const relabelled = await writeSecureMessage(
    again(handshake, { sessionId: m.sessionId, msgType: 'ping' }),
    async () => handshake.signature
  )
  assert.notEqual(await codeFrom(theirs.open(read(relabelled))), 'accepted')
  assert.deepEqual(numbers(await theirs.open(m)), [1])
})

test('a plain message ends an encrypted session, if its author signed it (threats SM21)', async () => {
  const { a, mine, theirs } = await setup()
  const c = await openInstance(3)
  const m = await sealed(mine)
  assert.equal(await codeFrom(theirs.open(read(await c.write(again(m, { encrypted: false }))))), 'INVALID_SIGNATURE')
  assert.ok(!theirs.isClosed)
  assert.equal(await codeFrom(theirs.open(read(await a.write(again(m, { encrypted: false }))))), 'DOWNGRADE')
  assert.ok(theirs.isClosed)
  assert.equal(await codeFrom(theirs.open(m)), 'SESSION_EXPIRED')
  assert.equal(await codeFrom(theirs.seal('ping', text(1))), 'SESSION_EXPIRED')
})

test('an unknown session, one that is over and one of another peer are answered alike (threats SM23)', async () => {
  const { b, mine, theirs } = await setup()
  const c = await openInstance(3)
  const m = await sealed(mine)
  const answerTo = async (changed: Partial<ReceivedSecureMessage>): Promise<string> => {
    const received = read(await c.write(again(m, changed)))
    try {
      return b.sessions.sessionOf(received).id
    } catch (error) {
      return `${codeOf(error)} ${textOf(error)}`
    }
  }
  const unknown = await answerTo({ sessionId: '01234567-89ab-4cde-8f01-23456789abcd' })
  assert.match(unknown, /^SESSION_EXPIRED /)
  assert.equal(await answerTo({ senderId: c.self.entityId }), unknown)
  b.sessions.close(theirs)
  assert.equal(await answerTo({}), unknown)
})

test('a message for somebody else, or of another version, is refused', async () => {
  const { a, mine, theirs } = await setup()
  const c = await openInstance(3)
  const m = await sealed(mine)
  assert.equal(await codeFrom(theirs.open(read(await a.write(again(m, { recipientId: c.self.entityId }))))), 'MISROUTED')
  assert.equal(await codeFrom(theirs.open(read(await a.write(again(m, { version: '1.0' }))))), 'INVALID_VERSION')
})

test('the last numbers are never reached: a session ends long before (threats SM25)', async () => {
  const [a, b] = [await openInstance(1, {}, { maxMessages: 3, rekeyAfterMessages: 2 }), await openInstance(2, {}, { maxMessages: 3 })]
  const { mine, theirs } = await connect(a, b)
  for (const needed of [false, true, true]) {
    await theirs.open(await sealed(mine))
    assert.equal(mine.needsRekey, needed)
  }
  assert.equal(await codeFrom(mine.seal('ping', text(4))), 'SESSION_EXPIRED')
  assert.equal(mine.lastSealed, 3)
  const next = await connect(a, b)
  const template = await sealed(next.mine)
  for (const sequenceNum of [4, 2 ** 53 - 2])
    assert.equal(await codeFrom(next.theirs.open(read(await a.write(again(template, { sequenceNum }))))), 'SEQUENCE_ERROR')
})

test('an hour long a session is used, then it asks for another, drains and ends', async () => {
  const { a, b, mine, theirs } = await setup()
  const late = await sealed(mine)
  const tooLate = await sealed(mine)
  for (const clock of [a.clock, b.clock]) await clock.advance(REKEY_AFTER_MS)
  assert.ok(mine.needsRekey && theirs.needsRekey && !mine.isClosed)
  const next = await connect(a, b)
  assert.equal(a.sessions.current(b.self.entityId), next.mine)
  assert.deepEqual(numbers(await theirs.open(late)), [1])
  for (const clock of [a.clock, b.clock]) await clock.advance(SESSION_DRAIN_MS + 1)
  assert.equal(await codeFrom(theirs.open(tooLate)), 'SESSION_EXPIRED')
  assert.equal(await codeFrom(mine.seal('ping', text(1))), 'SESSION_EXPIRED')
  assert.equal(a.sessions.counts.sessions, 1)
})

test("ten thousand sessions of one peer leave sixteen, and nobody else's is closed (threats SM26)", async () => {
  const { b, theirs, mine } = await setup()
  const clock = b.clock
  const authentication = { name: 'none', sign: async () => new Uint8Array(64), verifier: () => ({ verify: () => false }) }
  const deps = { clock, random: randomBytes, selfId: b.self.entityId, authentication }
  const aead = openAead(new Uint8Array(32))
  const open = (n: number, peer: Session['peer']): Session =>
    new Session(deps, {
      id: `00000000-0000-4000-8000-${`${n}`.padStart(12, '0')}`,
      role: 'responder',
      version: '1.1',
      peer,
      keys: { initiator: aead, responder: aead }
    })
  const table = new SessionTable()
  const other = open(1_000_000, mine.peer)
  table.add(other)
  const busy = open(1_000_001, theirs.peer)
  table.add(busy)
  for (let i = 0; i < 10_000; i++) {
    await (i % 8 === 0 ? clock.advance(1) : undefined)
    if (i % 8 === 0) await busy.seal('ping', text(i))
    table.add(open(i, theirs.peer))
  }
  assert.equal(table.of(theirs.peer.entityId).length, MAX_SESSIONS_PER_PEER)
  assert.equal(table.size, MAX_SESSIONS_PER_PEER + 1)
  assert.ok(!other.isClosed && !busy.isClosed)
})

/** Keys that the test knows: the same for both sides, and they write down what they are used for. */
function watchedLayer(used: Set<string>): EncryptionLayer {
  const key = (id: string): Aead => {
    const aead = openAead(new Uint8Array(32))
    return {
      open: (...args) => aead.open(...args),
      seal(nonce, plaintext, aad) {
        const pair = `${id}/${bytesToHex(nonce)}`
        assert.ok(!used.has(pair), 'a nonce was used twice under one key')
        used.add(pair)
        return aead.seal(nonce, plaintext, aad)
      }
    }
  }
  return {
    name: 'watched',
    newExchange: async () => ({
      publicKey: randomBytes(32),
      agree: async (_, transcript) => ({ initiator: key(`${bytesToHex(transcript)}/i`), responder: key(`${bytesToHex(transcript)}/r`) })
    })
  }
}

test('two messages under one number end the session; the same message again does not (threats SM28)', async () => {
  const layer = { encryption: watchedLayer(new Set()) }
  const [a, b] = [await openInstance(1, layer), await openInstance(2, layer)]
  const { mine, theirs } = await connect(a, b)
  const m = await sealed(mine)
  const forged = { ...again(m), nonce: '11'.repeat(32) }
  const aead = openAead(new Uint8Array(32))
  const second = read(await a.write({ ...forged, data: aead.seal(nonceOf(1), text(9), messageHeaderBytes(forged)) }))
  await theirs.open(m)
  const c = await openInstance(3)
  assert.equal(await codeFrom(theirs.open(m)), 'REPLAY_DETECTED')
  const byOther = read(await c.write({ ...forged, data: second.data }))
  assert.equal(await codeFrom(theirs.open(byOther)), 'REPLAY_DETECTED') // not of the peer: nothing is ended
  assert.ok(!theirs.isClosed)
  assert.equal(await codeFrom(theirs.open(second)), 'NONCE_REUSE')
  assert.ok(theirs.isClosed)
})

test('no key sees a nonce twice: 10,000 messages over restarts, failures and several at once (threats SM28)', async () => {
  const used = new Set<string>()
  const encryption = watchedLayer(used)
  let signing = 0
  // Signatures cost more than all the rest here; every seventh fails, as a key store may.
  const authentication = {
    name: 'quick',
    verifier: () => ({ verify: () => true }),
    sign: async () => {
      if (++signing % 7 === 0 && signing > 100) throw new Error('no signature now')
      return new Uint8Array(64)
    }
  }
  let failed = 0
  for (let restart = 0; restart < 5; restart++) {
    signing = 0
    const deps = { encryption, authentication, random: randomBytes }
    const [a, b] = [await openInstance(1, deps), await openInstance(2, deps)]
    const { mine, theirs } = await connect(a, b)
    for (let i = 0; i < 10; i++) {
      const all = [mine, theirs].flatMap(s => Array.from({ length: 100 }, () => s.seal('ping', text(i))))
      for (const result of await Promise.allSettled(all)) if (result.status === 'rejected') failed++
    }
  }
  assert.equal(used.size, 10_000)
  assert.ok(failed > 500)
})

test('a million numbers make a million nonces (threats SM28)', () => {
  const numberOf = (nonce: Uint8Array): number => nonce.reduce((n, byte) => n * 256 + byte, 0)
  for (let i = 1; i <= 500_000; i++) for (const n of [i, i * 2 ** 33 + i]) if (numberOf(nonceOf(n)) !== n) assert.fail(`${n}`)
  assert.equal(numberOf(nonceOf(2 ** 53 - 1)), 2 ** 53 - 1)
})

test('messages that are refused leave a session as if they had not come (threats RT3)', async () => {
  const change = fc.constantFrom('data', 'nonce', 'signature', 'far', 'plain', 'again')
  const step = fc.record({ junk: fc.array(change, { maxLength: 2 }), swap: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async steps => {
      // Everything is counted, so both pairs are the same: one of them is sent junk as well.
      const [quiet, noisy] = [await setup(), await setup()]
      const c = await openInstance(3)
      const junkOf = async (kind: string, m: ReceivedSecureMessage): Promise<ReceivedSecureMessage> => {
        if (kind === 'data') return read(await noisy.a.write(again(m, { data: m.data.map(x => x ^ 1) })))
        if (kind === 'nonce') return read(await noisy.a.write(again(m, { nonce: '22'.repeat(32) })))
        if (kind === 'far') return read(await noisy.a.write(again(m, { sequenceNum: m.sequenceNum + 2500 })))
        return read(await c.write(again(m, { encrypted: kind !== 'plain' })))
      }
      const stateOf = async ({ theirs }: { theirs: Session }): Promise<unknown> => [
        theirs.missing(),
        theirs.ackRanges(),
        theirs.usedAt,
        theirs.isClosed,
        bytesToHex((await theirs.seal('ping', text(1))).frame)
      ]
      for (const { junk, swap } of steps) {
        const pairs = [
          [await sealed(quiet.mine), await sealed(quiet.mine)],
          [await sealed(noisy.mine), await sealed(noisy.mine)]
        ] as const
        assert.deepEqual(pairs[0][0].signature, pairs[1][0].signature)
        const order = swap ? [1, 0] : [0, 1]
        for (const i of order) {
          for (const kind of junk)
            if (kind !== 'again') assert.notEqual(await codeFrom(noisy.theirs.open(await junkOf(kind, pairs[1][i]!))), 'accepted')
          const [wanted, got] = [await quiet.theirs.open(pairs[0][i]!), await noisy.theirs.open(pairs[1][i]!)]
          assert.deepEqual(got, wanted)
          for (const { sequenceNum } of wanted) for (const s of [quiet.theirs, noisy.theirs]) s.markDurable(sequenceNum)
          if (junk.includes('again')) assert.equal(await codeFrom(noisy.theirs.open(pairs[1][i]!)), 'REPLAY_DETECTED')
          assert.deepEqual(await stateOf(noisy), await stateOf(quiet))
        }
      }
    }),
    { numRuns: 8 }
  )
})

test('a link that carries nothing but what was recorded gets nothing in, over restarts (threats SM12)', async () => {
  const { a, b, mine, theirs } = await setup()
  const frames = [await sealed(mine, 1), await sealed(mine, 2)]
  for (const m of frames) await theirs.open(m)
  for (const m of frames) assert.equal(await codeFrom(b.sessions.sessionOf(m).open(m)), 'REPLAY_DETECTED')
  await b.clock.advance(299_000)
  for (const m of frames) assert.equal(await codeFrom(b.sessions.sessionOf(m).open(m)), 'REPLAY_DETECTED')
  const restarted = await openInstance(2)
  for (const m of frames) assert.throws(() => restarted.sessions.sessionOf(m), { code: 'SESSION_EXPIRED' })
  assert.ok(linkTo(a).peerId)
})
