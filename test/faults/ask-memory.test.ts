/**
 * A node with little memory (threats C8) that keeps a full mailbox, while many strangers begin large messages which they never end, and send
 * small ones as fast as they can: it stays, within its bounds, and what others send arrives.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { randomBytes } from '#crypto'
import { sha256 } from '#hash'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Channel } from '../../src/messaging/channel.ts'
import type { MessageLink } from '../../src/messaging/link.ts'
import { openMessageStream } from '../../src/messaging/link-stream.ts'
import { openMailboxStore } from '../../src/messaging/mailbox-store.node.ts'
import { sessionChannels } from '../../src/messaging/session-channel.ts'
import { openHost } from '../../src/net/host.node.ts'
import { ScopeGate } from '../../src/net/scope-gate.ts'
import { openSessions } from '../../src/session/sessions.ts'
import { chunkBody } from '../../src/wire/chunk-payloads.ts'
import type { MessageType } from '../../src/wire/message-types.ts'
import type { JsonObject } from '../../src/wire/strict-json.ts'
import { allArrivedOnce, numbered, openNode, sendTexts } from '../kits/ask-nodes.ts'
import { Lab } from '../kits/lab.ts'
import { note, peerSeedOf, selfOf } from '../kits/messaging.ts'

/** MiB of heap, where a node takes 60 when nothing goes on. */
const HEAP_MIB = 96
/** MiB in all: of Node's own, the heap, 64 of unfinished messages, and what is under way on links. */
const MOST_MIB = 420
const ATTACKERS = 10
const SMALL = 300
const PART = 64 * 1024
const PARTS = 128
const MAILBOX_BYTES = 32 * 2 ** 20

interface Victim {
  readonly entityId: string
  readonly address: string
}

test('C8: little memory, a full mailbox and a flood of many: the node stays within its bounds, and honest messages arrive', async t => {
  if (!existsSync('/proc/self/status')) {
    const why = 'needs Linux, to see how much memory a process had'
    assert.notEqual(process.env['KITH_REQUIRE_INTEROP'], '1', why)
    return t.skip(why)
  }
  const lab = new Lab(t)
  await fillMailbox(join(lab.dir('victim', 'data'), 'mailbox.db'))
  const victim = await openNode(t, lab, 'victim', [], undefined, { NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}` })
  const honest = await openNode(t, lab, 'honest', ['--bootstrap', victim.address])
  await honest.api.ask.send({ to: victim.address, text: 'first' })
  const texts = numbered('honest', 50)
  const floods = Promise.all(Array.from({ length: ATTACKERS }, (_, i) => flood(`attacker ${i}`, victim)))
  await sendTexts(honest, victim.entityId, texts)
  const sent = (await floods).reduce((n, x) => n + x, 0)
  await sendTexts(honest, victim.entityId, ['last'])
  await allArrivedOnce(honest, victim, ['first', ...texts, 'last'])
  const most = peakMib(victim.process.child.pid)
  t.diagnostic(`${Math.round(sent / 2 ** 20)} MiB came of strangers, ${most} MiB were in use at most`)
  assert.ok(most < MOST_MIB, `${most} MiB`)
  victim.process.kill('SIGTERM')
  assert.equal((await victim.process.ended()).code, 0)
})

/** Envelopes of somebody who does not fetch them. */
async function fillMailbox(path: string): Promise<void> {
  using store = openMailboxStore(path)
  const { entityId } = await selfOf('owner')
  const envelopes = Array.from({ length: MAILBOX_BYTES / PART }, () => randomBytes(PART))
  await Promise.all(envelopes.map(e => store.add(entityId, e, Date.now() + 3_600_000)))
}

/** A stranger with a session. @returns bytes that were sent before the link ended or nothing was left */
async function flood(name: string, { entityId, address }: Victim): Promise<number> {
  const gate = new ScopeGate()
  gate.allow(address, 'user')
  const self = await selfOf(name)
  await using host = await openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey: peerSeedOf(name) }, { listen: [] })
  using sessions = openSessions({ clock: systemClock, random: randomBytes, self, network: 'kith' })
  const signal = AbortSignal.timeout(30_000)
  await using link = await openMessageStream(host.streams, address.split('/p2p/')[1]!, [address], signal)
  const channel = await sessionChannels(sessions).connect(link, entityId, signal)
  const drained = drain(link)
  let bytes = 0
  try {
    for (const [type, body] of junk()) bytes += await say(link, channel, type, body)
  } catch {
    // The node has had enough of it.
  }
  await link[Symbol.asyncDispose]()
  await drained
  return bytes
}

function* junk(): Generator<[MessageType, JsonObject]> {
  const data = randomBytes(PART)
  const checksum = sha256(data).slice(0, 16)
  const transferId = crypto.randomUUID()
  const head = { kind: 'init', transferId, originalMsgType: 'agent_message', totalBytes: PARTS * PART, totalChunks: PARTS } as const
  yield ['chunk', chunkBody({ ...head, sha256: randomBytes(32) })]
  for (let chunkIndex = 0; chunkIndex < PARTS - 1; chunkIndex++)
    yield ['chunk', chunkBody({ kind: 'part', transferId, chunkIndex, totalChunks: PARTS, data, checksum })]
  for (let i = 0; i < SMALL; i++) yield ['agent_message', note('x'.repeat(1000))]
}

async function say(link: MessageLink, channel: Channel, type: MessageType, body: JsonObject): Promise<number> {
  const id = type === 'chunk' ? {} : { message_id: crypto.randomUUID() }
  const { frame } = await channel.seal(type, new TextEncoder().encode(JSON.stringify({ ...id, ...body })))
  await link.send(frame)
  return frame.length
}
async function drain(link: MessageLink): Promise<void> {
  try {
    while (await link.next());
  } catch {
    // it has ended
  }
}

function peakMib(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1]) / 1024)
}
