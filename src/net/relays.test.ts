/** Three real hosts: a relay, one that only the relay reaches, and one that wants to talk to it. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { type HostOptions, openHost } from './host.node.ts'
import type { Host } from './host.ts'
import { MAX_RELAY_RESERVATIONS_PER_IP, RELAY_BUFFER_BYTES } from './limits.ts'
import { ScopeGate } from './scope-gate.ts'

const TCP = '/ip4/127.0.0.1/tcp/0'
const HOP = '/libp2p/circuit/relay/0.2.0/hop'
const STOP = '/libp2p/circuit/relay/0.2.0/stop'
const code = (name: string) => (e: unknown) => hasCode(e, name) || assert.fail(`${(e as KithError).code}: ${String(e)}`)
const echoing = { maxRequestBytes: 2 ** 20, perSecond: 1000 }

async function open(t: TestContext, options: HostOptions = {}, peerPrivateKey = randomBytes(32)): Promise<{ host: Host; gate: ScopeGate }> {
  const gate = new ScopeGate()
  const host = await openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey }, { listen: [], ...options })
  t.after(() => host[Symbol.asyncDispose]())
  await within(5000, 'the relays were tried', host.relaysTried)
  return { host, gate }
}
const circuits = (host: Host): string[] => host.addresses().filter(a => a.includes('/p2p-circuit'))

test('T2: requests and streams go through a relay, which sees ciphertext; the address of the peer stays unknown', async t => {
  const relay = await open(t, { listen: [TCP], relayServer: {} })
  const hidden = await open(t, { relays: relay.host.addresses() })
  const [address] = circuits(hidden.host)
  assert.equal(address, `${relay.host.addresses()[0]}/p2p-circuit/p2p/${hidden.host.peerId}`)
  const secret = Buffer.from('this must not be seen by the relay')
  let context: { readonly address: string | undefined } | undefined
  hidden.host.rpc.handle('echo', echoing, async (request, c) => {
    context = c
    return request
  })
  hidden.host.streams.handle('take', { maxFrameBytes: 2 ** 20, maxStreamsPerPeer: 2 }, async stream => {
    for (let n = await stream.next(); n !== undefined; n = await stream.next()) await stream.send(secret)
  })
  const other = await open(t)
  other.gate.allow(address!, 'user')
  await other.host.dial(address!, AbortSignal.timeout(5000))
  const seen: Uint8Array[] = []
  for (const c of relay.host.libp2p.getConnections())
    for (const s of c.streams) if (s.protocol === HOP) s.addEventListener('message', e => void seen.push(Buffer.from(e.data.subarray())))

  const target = { peerId: hidden.host.peerId }
  assert.deepEqual(Buffer.from(await other.host.rpc.request(target, 'echo', secret, { maxResponseBytes: 100 })), secret)
  await using stream = await other.host.streams.open(target, 'take', { maxFrameBytes: 2 ** 20, signal: AbortSignal.timeout(5000) })
  await stream.send(Buffer.concat([secret, randomBytes(500_000)]))
  assert.equal(await stream.next(), secret.length)
  assert.equal(stream.address, undefined)
  assert.equal(context?.address, undefined)
  assert.equal(other.host.rpc.addressOf(hidden.host.peerId), undefined)
  assert.equal(hidden.host.rpc.addressOf(other.host.peerId), undefined)

  const through = other.host.libp2p.getConnections().find(c => c.remotePeer.toString() === hidden.host.peerId)
  assert.equal(through?.direct, false)
  assert.equal(through.encryption, '/tls/1.0.0')
  const bytes = Buffer.concat(seen)
  assert.ok(bytes.length > 500_000, 'the relay carried it')
  assert.equal(bytes.indexOf(secret), -1)
})

test('a relayed address may be dialled if the relay may be, and only then', async t => {
  const relay = await open(t, { listen: [TCP], relayServer: {} })
  const hidden = await open(t, { relays: relay.host.addresses() })
  const [address] = circuits(hidden.host)
  const other = await open(t)
  await assert.rejects(other.host.dial(address!, AbortSignal.timeout(5000)), code('FORBIDDEN_ADDRESS'))
  other.gate.allow(address!, 'user')
  assert.equal(await other.host.dial(address!, AbortSignal.timeout(5000)), hidden.host.peerId)
})

test('C11: a slot is lost with the relay and comes back with it', async t => {
  const key = randomBytes(32)
  const first = await open(t, { listen: [TCP], relayServer: {} }, key)
  const [at] = first.host.addresses()
  const hidden = await open(t, { relays: [at!] })
  assert.equal(circuits(hidden.host).length, 1)
  const heard: number[] = []
  hidden.host.events.on('addresses:changed', ({ addresses }) => heard.push(addresses.length))
  await first.host[Symbol.asyncDispose]()
  await eventually('the address is gone', () => circuits(hidden.host).length === 0)
  await open(t, { listen: [at!.split('/p2p/')[0]!], relayServer: {} }, key)
  await eventually('the address is back', () => circuits(hidden.host).length === 1, 15_000)
  await eventually('others are told', () => heard.at(-1) === 1)
})

test('a relay that is down does not keep a host from opening', async t => {
  const gone = await open(t, { listen: [TCP] })
  const [at] = gone.host.addresses()
  await gone.host[Symbol.asyncDispose]()
  const hidden = await open(t, { listen: [TCP], relays: [at!] })
  assert.deepEqual(circuits(hidden.host), [])
  assert.equal(hidden.host.addresses().length, 1)
  for (const bad of ['/ip4/127.0.0.1/tcp/1', `${at}/p2p-circuit`, 'x'])
    await assert.rejects(open(t, { relays: [bad] }), code('BAD_ADDRESS'))
})

test('T2: a peer that we did not choose cannot pose as our relay and have its addresses announced', async t => {
  const relay = await open(t, { listen: [TCP], relayServer: {} })
  const hidden = await open(t, { listen: [TCP], relays: relay.host.addresses() })
  const liar = await open(t, { listen: [TCP], relayServer: {} })
  liar.gate.allow(hidden.host.addresses()[0]!, 'user')
  await liar.host.dial(hidden.host.addresses()[0]!, AbortSignal.timeout(5000))
  const stream = await liar.host.libp2p.getConnections()[0]!.newStream(STOP, { signal: AbortSignal.timeout(5000) })
  await eventually('the stream is refused', () => stream.status !== 'open')
  assert.deepEqual(
    circuits(hidden.host).filter(a => a.includes(liar.host.peerId)),
    []
  )
  assert.equal(circuits(hidden.host).length, 1)
})

test('CO17: a relay has places for so many peers of one address, and for so many connections', async t => {
  const relay = await open(t, { listen: [TCP], relayServer: { maxCircuits: 1 } })
  const hidden: Host[] = []
  for (let i = 0; i <= MAX_RELAY_RESERVATIONS_PER_IP; i++) hidden.push((await open(t, { relays: relay.host.addresses() })).host)
  assert.deepEqual(
    hidden.map(h => circuits(h).length),
    [...Array<number>(MAX_RELAY_RESERVATIONS_PER_IP).fill(1), 0]
  )
  const dial = async (to: Host): Promise<string> => {
    const { host, gate } = await open(t)
    gate.allow(circuits(to)[0]!, 'user')
    return host.dial(circuits(to)[0]!, AbortSignal.timeout(5000))
  }
  await dial(hidden[0]!)
  await assert.rejects(dial(hidden[1]!), code('PEER_UNREACHABLE'))
})

test('a relay ends a connection that carried its share; the next one begins anew', async t => {
  const relay = await open(t, { listen: [TCP], relayServer: { circuitBytes: 300_000 } })
  const hidden = await open(t, { relays: relay.host.addresses() })
  hidden.host.rpc.handle('echo', echoing, async request => request)
  const [address] = circuits(hidden.host)
  const other = await open(t)
  other.gate.allow(address!, 'user')
  const target = { peerId: hidden.host.peerId, addresses: [address!] }
  const ask = (): Promise<Uint8Array> =>
    other.host.rpc.request(target, 'echo', new Uint8Array(50_000), { maxResponseBytes: 2 ** 20, timeoutMs: 3000 })
  await ask()
  await assert.rejects(async () => {
    for (let i = 0; i < 6; i++) await ask()
  })
  await eventually(
    'a new connection',
    () =>
      ask().then(
        () => true,
        () => false
      ),
    10_000
  )
})

test('CO15: a relay holds little for a reader that does not read', async t => {
  const relay = await open(t, { listen: [TCP], relayServer: {} })
  const [at] = relay.host.addresses()
  const [sink, source] = [await open(t), await open(t)]
  for (const { host, gate } of [sink, source]) {
    gate.allow(at!, 'user')
    await host.dial(at!, AbortSignal.timeout(5000))
  }
  // By hand, since an honest end reads what comes: a slot, and a circuit to it.
  await sink.host.libp2p.unhandle(STOP)
  await sink.host.libp2p.handle(STOP, stream => {
    stream.addEventListener('message', () => stream.pause(), { once: true })
    stream.send(Uint8Array.of(4, 8, 1, 32, 100)) // STATUS OK
  })
  const say = async (host: Host, bytes: Uint8Array) => {
    const stream = await host.libp2p.getConnections()[0]!.newStream(HOP, { signal: AbortSignal.timeout(5000) })
    const answered = new Promise(resolve => stream.addEventListener('message', resolve, { once: true }))
    stream.send(bytes)
    await within(5000, 'the relay answers', answered)
    return stream
  }
  await say(sink.host, Uint8Array.of(2, 8, 0)) // RESERVE
  const peer = (await import('@libp2p/peer-id')).peerIdFromString(sink.host.peerId).toMultihash().bytes
  const circuit = await say(source.host, Uint8Array.from([6 + peer.length, 8, 1, 18, peer.length + 2, 10, peer.length, ...peer])) // CONNECT
  const from = relay.host.libp2p.getConnections().find(c => c.remotePeer.toString() === source.host.peerId)
  const carried = from!.streams.find(s => s.protocol === HOP && s.status === 'open')
  let received = 0
  carried!.addEventListener('message', e => void (received += e.data.byteLength))
  for (let i = 0; i < 64; i++) circuit.send(new Uint8Array(256 * 1024))
  let last = -1
  await eventually('the relay stops reading', async () => {
    await systemClock.sleep(50)
    const still = received > 0 && received === last
    last = received
    return still
  })
  assert.ok(received < 8 * 2 ** 20 + RELAY_BUFFER_BYTES, `${received} bytes were taken`)
})
