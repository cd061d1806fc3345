/** The tracker and its client over real sockets. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import test from 'node:test'
import { WebSocket } from 'ws'
import { eventually, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { MAX_CLIENT_MESSAGE_BYTES, WS_SILENCE_MS } from './limits.ts'
import { TrackerLink } from './tracker-link.node.ts'
import { type ClientMessage, writeClientMessage } from './tracker-messages.ts'
import { openWebSocketTracker } from './tracker-server.node.ts'

const deps = { clock: systemClock, log: silentLogger }
const HOST = { host: '127.0.0.1', port: 0 }
const fill = (n: number): Uint8Array => new Uint8Array(20).fill(n)
const announce = (id: number, offers: readonly { offerId: Uint8Array; sdp: string }[] = []): ClientMessage => ({
  kind: 'announce',
  infoHash: fill(9),
  peerId: fill(id),
  event: 'started',
  left: 1,
  offers
})

/** A client that says what it likes. */
async function openRaw(port: number): Promise<{ socket: WebSocket; got: string[]; closed: Promise<void> }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, {
    perMessageDeflate: false,
    maxPayload: 1 << 20,
    handshakeTimeout: 5000,
    followRedirects: false
  })
  const got: string[] = []
  socket.on('message', data => got.push(String(data)))
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    socket.on('open', resolve)
    socket.on('error', reject)
  })
  return { socket, got, closed }
}

test('two clients of the tracker exchange an offer and its answer; a scrape sees both', async () => {
  await using tracker = await openWebSocketTracker(deps, HOST)
  const [a, b] = [await openRaw(tracker.port), await openRaw(tracker.port)]
  a.socket.send(writeClientMessage(announce(1)))
  await eventually('the first is known', () => a.got.length === 1)
  b.socket.send(writeClientMessage(announce(2, [{ offerId: fill(7), sdp: 'the offer' }])))
  await eventually('the offer arrives', () => a.got.length === 2)
  assert.deepEqual((JSON.parse(a.got[1]!) as { offer: unknown }).offer, { type: 'offer', sdp: 'the offer' })
  a.socket.send(
    writeClientMessage({ kind: 'answer', infoHash: fill(9), peerId: fill(1), toPeerId: fill(2), offerId: fill(7), sdp: 'the answer' })
  )
  await eventually('the answer arrives', () => b.got.length === 2)
  assert.deepEqual((JSON.parse(b.got[1]!) as { answer: unknown }).answer, { type: 'answer', sdp: 'the answer' })
  const page = await fetch(`http://127.0.0.1:${tracker.port}/scrape?info_hash=${'%09'.repeat(20)}`)
  assert.match(await page.text(), /8:completei0e.*10:incompletei2e/s)
  assert.equal((await fetch(`http://127.0.0.1:${tracker.port}/`)).status, 404)
  a.socket.terminate()
  b.socket.terminate()
  await eventually('both are gone', () => tracker.connected === 0)
})

test('BT13: nonsense, a message too long and a flood close the socket that sent them, and no other', async () => {
  await using tracker = await openWebSocketTracker(deps, { ...HOST, exemptLoopback: false, maxSocketsPerAddress: 5 })
  const good = await openRaw(tracker.port)
  for (const message of ['{', 'x'.repeat(MAX_CLIENT_MESSAGE_BYTES + 1), new Uint8Array([0xff, 0xfe])]) {
    const bad = await openRaw(tracker.port)
    bad.socket.on('error', () => {})
    bad.socket.send(message)
    await within(5000, 'the socket is closed', bad.closed)
  }
  await eventually('the bad ones are forgotten', () => tracker.connected === 1)
  const others = await Promise.all([1, 2, 3, 4].map(() => openRaw(tracker.port)))
  await assert.rejects(openRaw(tracker.port), /503/)
  const [flood] = others
  flood!.socket.on('error', () => {})
  for (let i = 0; i < 1000; i++) flood!.socket.send(writeClientMessage(announce(3)))
  await within(5000, 'the flood is cut off', flood!.closed)
  assert.equal(good.socket.readyState, WebSocket.OPEN)
  for (const { socket } of [good, ...others]) socket.terminate()
})

test('a client that begins a connection and says nothing keeps nobody from closing the tracker', async () => {
  const tracker = await openWebSocketTracker(deps, HOST)
  const socket = connect(tracker.port, '127.0.0.1')
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  socket.on('error', () => {})
  await new Promise<void>(resolve => socket.on('connect', () => resolve()))
  socket.write('GET / HTTP/1.1\r\n')
  await within(5000, 'the tracker closes', Promise.resolve(tracker[Symbol.asyncDispose]()))
  await tracker[Symbol.asyncDispose]()
  await within(5000, 'the socket is closed', closed)
})

test('a link reaches a tracker again that was restarted, and tells whose word its addresses are', async () => {
  const sleeps: number[] = []
  const clock = {
    ...systemClock,
    // pauses between attempts are counted, not waited for
    sleep: (ms: number, signal?: AbortSignal) => {
      if (ms !== WS_SILENCE_MS) sleeps.push(ms)
      return systemClock.sleep(ms === WS_SILENCE_MS ? ms : 5, signal)
    }
  }
  const checkAddress = async (host: string, _port: number, trust: string): Promise<string> => {
    if (trust === 'found') throw new KithError('FORBIDDEN_ADDRESS', 'loopback')
    return host
  }
  const first = await openWebSocketTracker(deps, HOST)
  const { port } = first
  await using link = new TrackerLink({ clock, log: silentLogger, checkAddress, random: () => 0.5 }, `ws://127.0.0.1:${port}/`, 'given')
  const got: string[] = []
  using _ = link.listen(fill(9), { message: m => got.push(m.kind) })
  const session = await within(5000, 'the link is up', link.session())
  assert.equal(session.trust, 'given')
  session.send(announce(1))
  await eventually('an answer', () => got.length === 1)
  await first[Symbol.asyncDispose]()
  await eventually('the loss is noticed', () => session.signal.aborted)
  await eventually('it was tried again in vain', () => sleeps.length >= 3)
  assert.deepEqual(sleeps.slice(0, 3), [10_000, 20_000, 40_000])
  await using second = await openWebSocketTracker(deps, { ...HOST, port })
  const next = await within(10_000, 'the link is up again', link.session())
  next.send(announce(1))
  await eventually('another answer', () => got.length === 2)
  assert.equal(second.connected, 1)
})

test('a tracker that the rules forbid is not contacted', async () => {
  await using tracker = await openWebSocketTracker(deps, HOST)
  const asked: string[] = []
  const checkAddress = async (host: string): Promise<string> => {
    asked.push(host)
    throw new KithError('FORBIDDEN_ADDRESS', 'loopback')
  }
  await using _ = new TrackerLink({ ...deps, checkAddress, random: Math.random }, `ws://127.0.0.1:${tracker.port}/`, 'found')
  await eventually('the rules were asked', () => asked.length > 0)
  assert.equal(tracker.connected, 0)
})
