import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import test, { type TestContext } from 'node:test'
import { within } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { parseAddress } from './address-scope.ts'
import { openHost } from './host.node.ts'
import type { Host } from './host.ts'
import { ScopeGate } from './scope-gate.ts'
import { MAX_PINGS } from './websocket-limits.ts'

const WAIT_MS = 10_000
const NONE = new Uint8Array()

async function open(t: TestContext, listen: readonly string[]): Promise<Host> {
  const deps = { clock: systemClock, log: silentLogger, gate: new ScopeGate(), peerPrivateKey: randomBytes(32) }
  const host = await openHost(deps, { listen })
  t.after(() => host[Symbol.asyncDispose]())
  return host
}

async function listening(t: TestContext): Promise<{ readonly host: Host; readonly port: number }> {
  const host = await open(t, ['/ip4/127.0.0.1/tcp/0/ws'])
  host.rpc.handle('x', { maxRequestBytes: 1, perSecond: 9 }, async () => NONE)
  return { host, port: parseAddress(host.addresses()[0]!)!.port! }
}

async function stillServes(t: TestContext, host: Host): Promise<void> {
  const other = await open(t, ['/ip4/127.0.0.1/tcp/0'])
  await other.rpc.request({ peerId: host.peerId, addresses: host.addresses() }, 'x', NONE, { maxResponseBytes: 1 })
}

const KEY = `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`
const upgrade = (lines: readonly string[]): string => `${['GET / HTTP/1.1', 'Host: x', ...lines].join('\r\n')}\r\n\r\n`
const GOOD = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', KEY]

/** Sends a request for a WebSocket, and `frames` once it is granted. Resolves with all that came back when the other side closes. */
async function exchange(port: number, request: string, frames: Uint8Array = NONE): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const parts: Buffer[] = []
  const closed = new Promise(resolve => socket.once('close', resolve))
  socket.on('data', part => {
    parts.push(part)
    if (parts.length === 1 && String(part).includes('101 Switching')) socket.write(frames)
  })
  socket.write(request)
  await within(WAIT_MS, 'the end of the connection', closed)
  return Buffer.concat(parts)
}

const masked = (firstByte: number, payload: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([firstByte, 0x80 | payload.length, 0, 0, 0, 0]), payload])
const closeFrame = (status: number): Buffer => Buffer.from([0x88, 2, status >> 8, status & 255])

test('CO4: an upgrade that is malformed is refused', async t => {
  const { host, port } = await listening(t)
  const cases: readonly (readonly string[])[] = [
    GOOD.map(l => l.replace('Version: 13', 'Version: 7')),
    GOOD.filter(l => l !== KEY),
    GOOD.map(l => (l === KEY ? 'Sec-WebSocket-Key: short' : l)),
    [...GOOD, KEY],
    GOOD.map(l => l.replace('websocket', 'h2c'))
  ]
  for (const lines of cases) assert.match(String(await exchange(port, upgrade(lines))), /^HTTP\/1\.1 4(00|26) /, lines.join(' | '))
  await stillServes(t, host)
})

test('CO12: text frames, in UTF-8 or not, end their connection and nothing else', async t => {
  const { host, port } = await listening(t)
  const half = Buffer.from('é').subarray(0, 1)
  const invalid = await exchange(port, upgrade(GOOD), masked(0x81, half))
  assert.ok(invalid.includes(closeFrame(1007)), invalid.subarray(-8).toString('hex'))
  const text = await exchange(port, upgrade(GOOD), masked(0x81, Buffer.from('not libp2p')))
  assert.ok(text.includes(closeFrame(1003)), text.subarray(-8).toString('hex'))
  await stillServes(t, host)
})

test('CO14: whoever floods with pings is hung up on', async t => {
  const { host, port } = await listening(t)
  const ping = masked(0x89, NONE)
  const answer = await exchange(port, upgrade(GOOD), Buffer.concat(Array<Buffer>(10_000).fill(ping)))
  assert.ok(answer.includes(closeFrame(1008)), answer.subarray(-8).toString('hex'))
  const frames = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
  const pong = Buffer.from([0x8a, 0])
  let pongs = 0
  for (let at = frames.indexOf(pong); at >= 0; at = frames.indexOf(pong, at + 2)) pongs++
  assert.ok(pongs <= MAX_PINGS + 1, `${pongs} pongs`)
  await stillServes(t, host)
})
