/** Messages and sessions with a program in Python that has none of Kith's code: each side reads what the other writes. */
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { after } from 'node:test'
import fc from 'fast-check'
import { bytesToHex, fromUtf8, hexToBytes, utf8 } from '../../src/base/bytes.ts'
import { codeOf } from '../../src/base/errors.ts'
import { ed25519Verify, randomBytes } from '../../src/platform/crypto.node.ts'
import type { Session } from '../../src/session/session.ts'
import { readLegacyMessage } from '../../src/wire/legacy-message.ts'
import { messageHeaderBytes, messageTime, readSecureMessage, type SecureMessage } from '../../src/wire/secure-message.ts'
import { canonicalJson, type JsonObject, parseJson } from '../../src/wire/strict-json.ts'
import { type Instance, openInstance } from '../kits/sessions.ts'

const PYTHON = '/usr/bin/python3'
const missing = spawnSync(PYTHON, ['-c', 'import cryptography']).status !== 0
if (missing && process.env['KITH_REQUIRE_INTEROP'] === '1') throw new Error('python3-cryptography is needed')
const options = missing ? { skip: 'install the Debian package python3-cryptography' } : {}

type Answer = Readonly<Record<string, string>>

/** The program, which answers each line with a line. */
class Python implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  constructor() {
    this.#child = spawn(PYTHON, [join(import.meta.dirname, 'secure_message.py')], { env: { PYTHONUTF8: '1' } })
    this.#child.stderr.pipe(process.stderr)
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }
  /** What it says to `command`; when it refuses, only `refused`. */
  async try(command: JsonObject): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`)
    const { value, done } = await this.#lines.next()
    assert.ok(!done, 'the program has ended')
    return JSON.parse(value) as Answer
  }
  async ask(command: JsonObject): Promise<Answer> {
    const answer = await this.try(command)
    assert.equal(answer['refused'], undefined, JSON.stringify(command))
    return answer
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    if (this.#child.exitCode === null) await once(this.#child, 'close')
  }
}

/** One for all tests: it starts slowly. */
const python = missing ? (undefined as never) : new Python()
after(() => python?.[Symbol.asyncDispose]())

const SESSION = '01234567-89ab-4cde-8f01-23456789abcd'
const headerFor = (me: Instance, to: string, sequenceNum: number): Omit<SecureMessage, 'data' | 'encrypted'> => ({
  version: '1.1',
  msgType: 'ping',
  senderId: me.self.entityId,
  recipientId: to,
  sessionId: SESSION,
  sequenceNum,
  timestamp: messageTime(me.clock.now()),
  nonce: bytesToHex(randomBytes(32))
})

test('both read the same JSON, write it in the same form, and refuse the same', options, async () => {
  const token = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"a"',
    '"\\u00e9"',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '1',
    '-0',
    '1.5',
    '1e+21',
    '1E5',
    'null',
    ' '
  )
  const texts = [
    fc.json({ depthSize: 'small' }),
    fc.json({ depthSize: 'small', stringUnit: 'grapheme' }),
    fc.double().map(String),
    fc.double({ min: -1e23, max: 1e23 }).map(String),
    fc.maxSafeInteger().map(String),
    fc.array(token, { maxLength: 8 }).map(t => t.join(''))
  ].flatMap(kind => fc.sample(kind, { numRuns: 250, seed: 20_261 }))
  const wellFormed = texts.map(t => t.toWellFormed())
  const theirs = (await python.ask({ do: 'canonical', texts: wellFormed }))['canonical'] as unknown as readonly string[]
  const ours = wellFormed.map(text => {
    try {
      return canonicalJson(parseJson(utf8(text)))
    } catch (error) {
      return codeOf(error)
    }
  })
  assert.ok(ours.filter(o => o === 'MALFORMED_JSON').length > 100)
  for (const [i, text] of texts.entries()) assert.equal(theirs[i], ours[i], text)
})

test('messages that Kith has signed are read by Python, and changed ones refused', options, async () => {
  const me = await openInstance(1)
  const { me: them } = await python.ask({ do: 'canonical', texts: [] })
  for (let i = 0; i < 20; i++) {
    const extra: JsonObject | undefined = i % 2 ? { 'x\u{1f600}': ['é', 1e21, -1.5e-7], a: null, '\uffff': i } : undefined
    const message = { ...headerFor(me, them!, i), encrypted: false, data: randomBytes(i * 50), ...(extra && { extra }) }
    const frame = fromUtf8(await me.write(message))
    const read = await python.ask({ do: 'read', message: frame })
    assert.equal(read['payload'], bytesToHex(message.data))
    assert.equal(read['header'], fromUtf8(messageHeaderBytes(message)))
    const other = frame.replace('"sequence_num":', '"sequence_num":1')
    assert.equal((await python.try({ do: 'read', message: other }))['refused'], 'INVALID_SIGNATURE')
  }
})

test('messages that Python has signed are read by Kith', options, async () => {
  const me = await openInstance(1)
  for (let i = 0; i < 20; i++) {
    const header = {
      version: '1.0',
      msg_type: 'task',
      recipient_id: me.self.entityId,
      session_id: SESSION,
      sequence_num: i,
      timestamp: '2026-02-01T00:00:00Z',
      nonce: bytesToHex(randomBytes(32)),
      ...(i % 2 && { trace: { '\u{1f600}': 0.1, '\uffff': [] }, critical: [] })
    }
    const { message, me: them, key } = await python.ask({ do: 'write', message: header, payload: bytesToHex(utf8('{"a":"日"}')) })
    const read = readSecureMessage(utf8(message!))
    assert.deepEqual([read.senderId, read.type, read.sequenceNum], [them, 'task_delegate', i])
    assert.deepEqual(read.senderKey, hexToBytes(key!))
    assert.equal(fromUtf8(read.data), '{"a":"日"}')
    assert.ok(await ed25519Verify(read.senderKey, read.signedBytes, read.signature))
  }
})

/** Messages in both directions; one that is changed on the way is refused on both sides. */
async function talk(session: Session): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const payload = canonicalJson({ message_id: SESSION, text: `日本 ${i}` })
    const { frame } = await session.seal('agent_message', utf8(payload))
    assert.deepEqual(pick(await python.ask({ do: 'open', message: fromUtf8(frame) })), { type: 'agent_message', payload })
    const { message } = await python.ask({ do: 'seal', type: 'ping', payload })
    const [opened, ...more] = await session.open(readSecureMessage(utf8(message!)))
    assert.deepEqual([opened?.type, fromUtf8(opened!.payload), more.length], ['ping', payload, 0])
  }
  const { frame } = await session.seal('ping', utf8('{}'))
  const text = fromUtf8(frame)
  const flipped = text.replace(/"data":"(.)/, (_, c: string) => `"data":"${c === 'A' ? 'B' : 'A'}`)
  assert.equal((await python.try({ do: 'open', message: flipped }))['refused'], 'INVALID_SIGNATURE')
  await python.ask({ do: 'open', message: text })
}
const pick = ({ type, payload }: Answer): JsonObject => ({ type: type!, payload: payload! })

test('Kith begins a session with Python', options, async () => {
  const me = await openInstance(1)
  using sessions = me.sessions
  const { me: them } = await python.ask({ do: 'canonical', texts: [] })
  const { frame } = await sessions.begin(them!)
  const time = messageTime(me.clock.now())
  const { message } = await python.ask({ do: 'answer', message: fromUtf8(frame), network: 'test', time })
  const { session, frame: confirm } = await sessions.onHandshakeAck(readSecureMessage(utf8(message!)), { peerId: undefined })
  await python.ask({ do: 'confirm', message: fromUtf8(confirm) })
  await talk(session)
})

test('Python begins a session with Kith; one of another network gets none', options, async () => {
  const me = await openInstance(1)
  using sessions = me.sessions
  const link = { key: 'python', peerId: undefined }
  const begin = { do: 'begin', to: me.self.entityId, time: messageTime(me.clock.now()) }
  const foreign = await python.ask({ ...begin, network: 'another' })
  await assert.rejects(sessions.onHandshake(readSecureMessage(utf8(foreign['message']!)), link), { code: 'DECRYPTION_FAILED' })
  const { message } = await python.ask({ ...begin, network: 'test' })
  const ack = await sessions.onHandshake(readSecureMessage(utf8(message!)), link)
  const { message: confirm } = await python.ask({ do: 'finish', message: fromUtf8(ack!) })
  await talk(await sessions.onHandshakeConfirm(readSecureMessage(utf8(confirm!))))
})

test('what Python signs as before version 1.1 is read', options, async () => {
  const message = `{"version":"0.3","msg_type":"task","payload":{"é":1.0,"x":[1e400,-0.0]},"timestamp":"2026-02-01T00:00:00Z","nonce":"${'0'.repeat(32)}"}`
  const refused = await python.ask({ do: 'legacy', message })
  assert.throws(() => readLegacyMessage(utf8(refused['message']!)), { code: 'MALFORMED_JSON' })
  const { message: text, key } = await python.ask({ do: 'legacy', message: message.replace('1e400', '1e22') })
  const read = readLegacyMessage(utf8(text!))
  assert.ok(await ed25519Verify(hexToBytes(key!), read.signedBytes, read.signature))
})
