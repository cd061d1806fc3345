/** Framed streams between real hosts: what the muxer and libp2p's own back-pressure do to them. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { openHost } from './host.node.ts'
import type { Host } from './host.ts'
import { MAX_PAUSED_BYTES } from './limits.ts'
import { MemoryNetwork } from './rpc-memory.ts'
import { ScopeGate } from './scope-gate.ts'
import type { FramedStream, Streams } from './streams.ts'

const MAX = 2 ** 20
const signal = new AbortController().signal
const opening = { maxFrameBytes: MAX, signal }
const serving = { maxFrameBytes: MAX, maxStreamsPerPeer: 3 }
const code = (name: string, inner?: string) => (e: unknown) =>
  (hasCode(e, name) && (inner === undefined || (e as KithError).data.code === inner)) ||
  assert.fail(`${(e as KithError).code}: ${String(e)}`)

async function open(t: TestContext): Promise<Host> {
  const gate = new ScopeGate()
  const deps = { clock: systemClock, log: silentLogger, gate, peerPrivateKey: randomBytes(32) }
  const host = await openHost(deps, { listen: ['/ip4/127.0.0.1/tcp/0'] })
  t.after(() => host[Symbol.asyncDispose]())
  return host
}
async function readFrame(stream: FramedStream): Promise<Uint8Array | undefined> {
  const n = await stream.next()
  if (n === undefined) return undefined
  const bytes = new Uint8Array(n)
  await stream.read(bytes)
  return bytes
}
async function echo(stream: FramedStream): Promise<void> {
  for (let frame = await readFrame(stream); frame; frame = await readFrame(stream)) await stream.send(frame)
}

interface Two {
  readonly server: Streams
  readonly client: Streams
  readonly target: { readonly peerId: string; readonly addresses?: readonly string[] }
}
const KINDS: Readonly<Record<string, (t: TestContext) => Promise<Two>>> = {
  libp2p: async t => {
    const [a, b] = [await open(t), await open(t)]
    return { server: a.streams, client: b.streams, target: { peerId: a.peerId, addresses: a.addresses() } }
  },
  memory: async () => {
    const network = new MemoryNetwork()
    return { server: network.join('A', '127.0.0.1').streams, client: network.join('B', '127.0.0.1').streams, target: { peerId: 'A' } }
  }
}

for (const [kind, make] of Object.entries(KINDS)) {
  test(`${kind}: frames go both ways on one stream, and it ends in order`, async t => {
    const { server, client, target } = await make(t)
    server.handle('echo', serving, echo)
    const stream = await client.open(target, 'echo', opening)
    assert.equal(stream.address, '127.0.0.1')
    for (const size of [0, 1, 127, 128, 70_000, MAX]) {
      const frame = Uint8Array.from(randomBytes(size))
      const [answer] = await Promise.all([readFrame(stream), stream.send(frame)])
      assert.deepEqual(answer, frame)
    }
    await within(5000, 'closing', stream.close())
  })

  test(`${kind}: an unknown protocol, too many streams of a peer, and a handler that throws`, async t => {
    const { server, client, target } = await make(t)
    await assert.rejects(client.open(target, 'echo', opening), code('PEER_REFUSED', 'UNKNOWN_METHOD'))
    server.handle('echo', serving, echo)
    server.handle('throws', serving, () => Promise.reject(new Error('secret')))
    const streams = []
    for (let i = 0; i < 3; i++) {
      const stream = await client.open(target, 'echo', opening)
      await stream.send(Uint8Array.of(i))
      assert.deepEqual(await readFrame(stream), Uint8Array.of(i))
      streams.push(stream)
    }
    await assert.rejects(async () => {
      await using fourth = await client.open(target, 'echo', opening)
      await fourth.send(Uint8Array.of(1))
      await within(5000, 'the fourth', readFrame(fourth))
    }, code('PEER_PROTOCOL'))
    await using thrown = await client.open(target, 'throws', opening)
    await assert.rejects(within(5000, 'the handler that throws', readFrame(thrown)), code('PEER_PROTOCOL'))
    await streams[0]!.close()
    await eventually('a place came free', async () => {
      await using again = await client.open(target, 'echo', opening)
      return await again.send(Uint8Array.of(1)).then(
        () =>
          readFrame(again).then(
            f => f?.[0] === 1,
            () => false
          ),
        () => false
      )
    })
    for (const s of streams) await s[Symbol.asyncDispose]()
  })
}

test('CO15: a sender waits for a reader that does not read, again and again, and memory stays bounded', async t => {
  const [a, b] = [await open(t), await open(t)]
  const { promise: got, resolve } = Promise.withResolvers<FramedStream>()
  const { promise: done, resolve: end } = Promise.withResolvers<void>()
  a.streams.handle('sink', serving, stream => {
    resolve(stream)
    return done
  })
  const stream = await b.streams.open({ peerId: a.peerId, addresses: a.addresses() }, 'sink', opening)
  const FRAME = 256 * 1024
  let sent = 0
  const sending = (async () => {
    for (; sent < 200; sent++) await stream.send(new Uint8Array(FRAME))
  })()
  const sink = await got
  let read = 0
  // The library's own way of waiting works once: so it is looked at several times.
  for (let round = 0; round < 4; round++) {
    let last = -1
    await eventually('the sender waits', async () => {
      await systemClock.sleep(50)
      const still = sent === last
      last = sent
      return still
    })
    assert.ok((sent - read) * FRAME <= MAX_PAUSED_BYTES + 8 * 2 ** 20, `round ${round}: ${sent} sent, ${read} read`)
    for (let i = 0; i < 40; i++, read++) assert.equal((await readFrame(sink))!.length, FRAME)
  }
  while (read < 200) {
    assert.equal((await readFrame(sink))!.length, FRAME)
    read++
  }
  await within(5000, 'the rest', sending)
  end()
  await stream[Symbol.asyncDispose]()
})

test('closing a host ends its streams and their handlers', async t => {
  const [a, b] = [await open(t), await open(t)]
  let ended = false
  a.streams.handle('wait', serving, async stream => {
    await stream.send(Uint8Array.of(1))
    await new Promise(resolve => stream.closed.addEventListener('abort', resolve, { once: true }))
    ended = true
  })
  const stream = await b.streams.open({ peerId: a.peerId, addresses: a.addresses() }, 'wait', opening)
  await readFrame(stream)
  const reading = assert.rejects(stream.next(), code('PEER_PROTOCOL'))
  await within(5000, 'the host', a[Symbol.asyncDispose]())
  assert.ok(ended)
  await within(5000, 'the other end', reading)
  await assert.rejects(b.streams.open({ peerId: a.peerId }, 'wait', opening), code('PEER_UNREACHABLE'))
  await b[Symbol.asyncDispose]()
  await assert.rejects(b.streams.open({ peerId: a.peerId }, 'wait', opening), code('HOST_CLOSED'))
})
