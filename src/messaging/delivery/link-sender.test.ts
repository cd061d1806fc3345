/** What goes out on one link, against another side that does not play along (threats T1). */
import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../../test/kits/fake-clock.ts'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import type { Channel } from '../channel.ts'
import { MAX_OWED, MAX_SAYINGS, PUT_OFF_MS } from '../limits.ts'
import type { MessageLink } from '../link.ts'
import { PeerFigures } from '../peer-figures.ts'
import type { WaitingMessage } from '../store.ts'
import { newUuid } from '../uuid.ts'
import { LinkSender } from './link-sender.ts'
import { PeerQueue } from './peer-queue.ts'

interface Rig {
  readonly sender: LinkSender
  readonly clock: FakeClock
  readonly queue: PeerQueue
  /** Types of what went out. */
  readonly out: string[]
  readonly ended: string[]
  readonly putOff: string[]
}

/** As large as an acknowledgement of many. */
const FRAME = new Uint8Array(4000)

/** @param reads whether the other side takes what is sent */
function open(waiting: WaitingMessage[] = [], reads = true): Rig {
  const clock = new FakeClock(0)
  const [out, ended, putOff] = [[] as string[], [] as string[], [] as string[]]
  let sequence = 0
  const channel = {
    worn: false,
    seal: (type: string) => {
      out.push(type)
      return { frame: FRAME, sequence: ++sequence }
    }
  } as unknown as Channel
  const link = { send: () => (reads ? Promise.resolve() : new Promise(() => {})) } as unknown as MessageLink
  const queue = new PeerQueue((lane, after, limit) => waiting.filter(m => m.priority === lane && m.seq > after).slice(0, limit))
  const nothing = (): void => {}
  const deps = {
    ...{ clock, queue, failpoint: nothing, figures: new PeerFigures(), wakeAt: nothing },
    ...{ onSent: nothing, onDelivered: nothing, onRefused: nothing, onReceipt: nothing, onWorn: nothing },
    onPutOff: (_: WaitingMessage, code: string) => void putOff.push(code)
  }
  const sender: LinkSender = new LinkSender(deps, link, channel, reason => {
    ended.push(reason.code)
    sender.over()
  })
  return { sender, clock, queue, out, ended, putOff }
}

test('who sends on and on and reads nothing is let go, and costs little until then', async () => {
  const { sender, ended } = open([], false)
  for (let n = 1; n <= 10 * MAX_OWED && ended.length === 0; n++) {
    sender.settle(n, n % 2 ? 'RATE_LIMITED' : undefined)
    if (n % 1000 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  assert.deepEqual(ended, ['PEER_PROTOCOL'])
})

test('who asks and asks and acknowledges nothing gets no more answers', async () => {
  const { sender, out, ended } = open()
  let given = 0
  for (let n = 0; n < 2 * MAX_OWED; n += 1000) {
    const said = await Promise.all(Array.from({ length: 1000 }, () => sender.say('chunk', {})))
    given += said.filter(Boolean).length
  }
  assert.ok(given >= MAX_OWED && given <= MAX_OWED + MAX_SAYINGS, `${given} answers`)
  assert.equal(out.length, given)
  assert.deepEqual(ended, [], 'its silence is the business of the timeout')
})

test('a recipient that says again and again that it has forgotten a large message has it begun anew seldom', async () => {
  const body = new TextEncoder().encode(JSON.stringify({ text: 'x'.repeat(300_000) }))
  const common = { type: 'agent_message', priority: 'normal', createdAt: 0, attempts: 0, relayed: false } as const
  const message: WaitingMessage = { ...common, seq: 1, id: newUuid(), bytes: body.length, body }
  const { sender, clock, out, putOff } = open([message])
  sender.pump()
  await eventually('it is announced', () => out.length === 1)
  for (let n = 1; n <= 3; n++) {
    const over = sender.chunks.onAnswer({ kind: 'resend', transferId: message.id, missing: [] }, clock.monotonic())
    assert.ok(over && !over.isDelivered)
    sender.transferOver(over.message, false)
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(out.length, n, 'not at once')
    assert.equal(putOff.length, n)
    await clock.advance(PUT_OFF_MS)
    sender.tick(clock.monotonic())
    await eventually('it is announced again', () => out.length === n + 1)
  }
})
