/** mDNS in a network namespace of its own, so that no real network hears us. Skips where namespaces or multicast are not allowed. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import test, { type TestContext } from 'node:test'
import type { PeerDiscovery } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { peerIdOfKey, peerIdToText } from '../identity/peer-id.ts'
import { openHost } from '../net/host.node.ts'
import { ScopeGate } from '../net/scope-gate.ts'
import {
  MAX_ADDRESSES_PER_PROVIDER,
  MAX_LAN_DIALS,
  MAX_LAN_PEERS,
  MDNS_ANSWERS_PER_SECOND,
  MDNS_REPLIES_BURST,
  MDNS_REPLIES_PER_SECOND
} from './limits.ts'
import { MDNS_SERVICE, type MdnsComponents, mdnsService } from './mdns.ts'

const INSIDE = 'KITH_TEST_MDNS_NAMESPACE'
const SETUP =
  'ip link set lo up && ip link add k0 type veth peer name k1 && ip addr add 10.99.0.1/24 dev k0 && ip link set k0 up && ip link set k1 up && ip addr add 8.8.8.8/32 dev k0 && ip route add default dev k0'
const US = '10.99.0.1'

async function open(t: TestContext) {
  const gate = new ScopeGate()
  const services = { mdns: await mdnsService({ gate, log: silentLogger }, { intervalMs: 500 }) }
  const deps = { clock: systemClock, log: silentLogger, gate, peerPrivateKey: randomBytes(32) }
  const host = await openHost(deps, { listen: ['/ip4/0.0.0.0/tcp/0'], services })
  t.after(() => host[Symbol.asyncDispose]())
  return { host, gate }
}

const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255])
const name = (text: string): Buffer =>
  Buffer.concat([...text.split('.').map(l => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)])), Buffer.from([0])])
const record = (type: number, data: Buffer, owner = name(MDNS_SERVICE), ttl = 120): Buffer =>
  Buffer.concat([owner, u16(type), u16(1), Buffer.from([0, 0, 0, ttl]), u16(data.length), data])
/** Ours have a number, those of nodes have none. */
const response = (...answers: readonly Buffer[]): Buffer =>
  Buffer.concat([u16(7), u16(0x8400), u16(0), u16(answers.length), u16(0), u16(0), ...answers])
const question = Buffer.concat([u16(0), u16(0), u16(1), u16(0), u16(0), u16(0), name(MDNS_SERVICE), u16(12), u16(1)])
const text = (s: string): Buffer => Buffer.concat([Buffer.from([s.length]), Buffer.from(s)])
const announce = (address: string, peer: string, ttl = 120): Buffer =>
  response(
    record(12, name(`x${peer.slice(-20)}.${MDNS_SERVICE}`), undefined, ttl),
    record(16, text(`dnsaddr=${address}/p2p/${peer}`), undefined, ttl)
  )

/** Sends to the multicast group, and counts what others send there. */
async function wire(t: TestContext, address = US) {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  t.after(() => socket.close())
  const seen = { replies: 0 }
  socket.on('message', packet => void (packet.length > 2 && packet[1] === 0 && (packet[2]! & 0x80) !== 0 && seen.replies++))
  await new Promise<void>(resolve => socket.bind(address === US ? 5353 : 0, address === US ? undefined : address, resolve))
  if (address === US) socket.addMembership('224.0.0.251', US)
  socket.setMulticastInterface(US)
  const send = (packet: Buffer): Promise<void> =>
    new Promise((resolve, reject) => socket.send(packet, 5353, '224.0.0.251', error => (error ? reject(error) : resolve())))
  return { seen, send }
}
const invented = (): string => peerIdToText(peerIdOfKey(randomBytes(32)))

/** The service over a clock that stands still, without a socket; each dial fails when the test says so. */
async function openAlone() {
  const clock = new FakeClock()
  const dialled: { readonly addresses: readonly string[]; readonly end: () => void }[] = []
  const openConnection = (addresses: readonly Multiaddr[]): Promise<never> =>
    new Promise<never>((_, reject) => dialled.push({ addresses: addresses.map(String), end: () => reject(new Error('nobody')) }))
  const log = Object.assign(() => {}, { trace: () => {}, error: () => {} })
  const components = {
    ...{ logger: { forComponent: () => log }, connectionManager: { openConnection } },
    addressManager: { getAddresses: () => [multiaddr('/ip4/10.99.0.1/tcp/9')] }
  }
  const make = await mdnsService({ gate: new ScopeGate(), log: silentLogger, clock })
  const service = make(components as unknown as MdnsComponents) as PeerDiscovery & EventTarget
  return { clock, dialled, service }
}

if (process.env[INSIDE]) {
  test('two nodes in one network connect', async t => {
    const [a, b] = [await open(t), await open(t)]
    await eventually('they find each other', () => a.host.peers().length > 0, 10_000)
    assert.equal(a.host.peers()[0]!.peerId, b.host.peerId)
  })

  test('DH9: a flood of invented peers, questions and broken packets costs little, and a real peer is still found', async t => {
    const a = await open(t)
    const { send, seen } = await wire(t)
    for (let i = 0; i < 2000; i++) {
      await send(question)
      await send(announce(`/ip4/10.99.0.${2 + (i % 200)}/tcp/9`, invented(), i % 2))
    }
    const loop = Buffer.concat([u16(0), u16(0x8400), u16(0), u16(1), u16(0), u16(0), Buffer.from([0xc0, 12]), u16(12), u16(1)])
    const huge = response(record(16, Buffer.alloc(60_000, 0xff)))
    for (const broken of [
      loop,
      huge,
      Buffer.alloc(0),
      Buffer.alloc(9000, 0xff),
      response().subarray(0, 5),
      response(record(12, Buffer.from([0xc0, 0xff])))
    ])
      await send(broken)
    for (const bad of ['/ip4/127.0.0.1/tcp/1', '/ip4/1.1.1.1/tcp/1', '/dns4/x/tcp/1', '/unix/x', 'nonsense'])
      await send(announce(bad, invented()))
    await send(announce('/ip4/10.99.0.9/tcp/9', 'not-a-peer'))
    const dials = a.host.libp2p.getDialQueue().length
    assert.ok(dials <= MAX_LAN_DIALS, `${dials} dials`)
    for (const bad of ['/ip4/127.0.0.1/tcp/1', '/ip4/10.99.99.99/tcp/1']) assert.ok(!a.gate.permits(bad), bad)
    await eventually('it still answers', async () => {
      await send(question)
      return seen.replies > 0
    })
    // Loosely: each second allows one more, and a loaded machine takes its time.
    assert.ok(seen.replies < 100, `${seen.replies} replies to 2000 questions`)
    const b = await open(t)
    await eventually('the real peer', () => a.host.peers().some(p => p.peerId === b.host.peerId), 30_000)
  })

  test('DH9: an answer from beyond the local network is not read', async t => {
    const a = await open(t)
    const near = await open(t)
    const { send } = await wire(t, '8.8.8.8')
    const dialled = new Set<string>()
    a.host.libp2p.addEventListener('peer:discovery', e => dialled.add(e.detail.id.toString()))
    const far = invented()
    for (let i = 0; i < 5; i++) await send(announce('/ip4/10.99.0.77/tcp/9', far))
    await eventually('a near one is read', () => dialled.has(near.host.peerId), 10_000)
    assert.ok(!dialled.has(far))
    assert.ok(!a.gate.permits('/ip4/10.99.0.77/tcp/9'))
  })
} else {
  test('DH9: of invented peers so many are dialled at a time, and so many in an hour', async () => {
    const { clock, dialled, service } = await openAlone()
    const announced = (id: string): boolean =>
      service.dispatchEvent(new CustomEvent('peer', { detail: { id, multiaddrs: [multiaddr('/ip4/10.99.0.2/tcp/9')] } }))
    for (let i = 0; i < 1000; i++) announced(`peer ${i}`)
    assert.equal(dialled.length, MAX_LAN_DIALS)
    let dials = 0
    const fail = async (): Promise<void> => {
      dials += dialled.length
      for (const { end } of dialled.splice(0)) end()
      await new Promise(resolve => setImmediate(resolve))
    }
    await fail()
    for (let i = 1000; i < 3000; i++) {
      announced(`peer ${i}`)
      if (dialled.length === MAX_LAN_DIALS) await fail()
    }
    await fail()
    assert.equal(dials, MAX_LAN_PEERS)
    announced('peer 2999') // no place, and so not known
    assert.equal(dialled.length, 0)
    announced('peer 0')
    assert.equal(dialled.length, 1, 'one that is known takes nobody’s place')
    await clock.advance(3_600_000 / MAX_LAN_PEERS + 1)
    announced('a real one')
    assert.equal(dialled.length, 2)
    await fail()
  })

  test('DH9: questions and answers are read from the local network alone, so many of them, and only local addresses', async () => {
    const { clock, dialled, service } = await openAlone()
    const inside = service as unknown as {
      mdns: unknown
      _onMdnsQuery(event: unknown, from?: { readonly address: string }): void
      _onMdnsResponse(event: unknown, from?: { readonly address: string }): void
    }
    let replies = 0
    inside.mdns = { respond: () => void replies++ }
    const near = { address: '10.99.0.7' }
    const ask = (service: string, from: { readonly address: string } | undefined): void =>
      inside._onMdnsQuery({ questions: [{ name: service, type: 'PTR' }] }, from)
    for (const from of [{ address: '8.8.8.8' }, undefined]) ask(MDNS_SERVICE, from)
    for (let i = 0; i < 100; i++) ask('_other._tcp.local', near)
    assert.equal(replies, 0)
    for (let i = 0; i < 100; i++) ask(MDNS_SERVICE, near)
    assert.equal(replies, MDNS_REPLIES_BURST)
    await clock.advance(1000)
    for (let i = 0; i < 100; i++) ask(MDNS_SERVICE, near)
    assert.equal(replies, MDNS_REPLIES_BURST + MDNS_REPLIES_PER_SECOND)

    let seen = 0
    service.addEventListener('peer', () => seen++)
    const answer = (addresses: readonly string[], from: { readonly address: string }): void => {
      const id = invented()
      const data = addresses.map(a => `dnsaddr=${a}/p2p/${id}`)
      const answers = [
        { type: 'PTR', name: MDNS_SERVICE, data: `x.${MDNS_SERVICE}` },
        { type: 'TXT', data }
      ]
      inside._onMdnsResponse({ answers, additionals: [] }, from)
    }
    answer(['/ip4/10.99.0.2/tcp/9'], { address: '8.8.8.8' })
    assert.equal(seen, 0)
    answer(['/ip4/127.0.0.1/tcp/1', '/ip4/8.8.8.8/tcp/1'], near)
    assert.deepEqual([seen, dialled.length], [1, 0])
    const many = Array.from({ length: 2 * MAX_ADDRESSES_PER_PROVIDER }, (_, i) => `/ip4/10.99.0.${i + 2}/tcp/9`)
    answer(['/ip4/127.0.0.1/tcp/1', ...many], near)
    assert.equal(dialled[0]!.addresses.length, MAX_ADDRESSES_PER_PROVIDER - 1)
    assert.ok(dialled[0]!.addresses.every(a => a.startsWith('/ip4/10.99.')))
    for (let i = 0; i < 1000; i++) answer(['/ip4/127.0.0.1/tcp/1'], near)
    assert.equal(seen, MDNS_ANSWERS_PER_SECOND)
    for (const { end } of dialled) end()
  })

  const isSupported = spawnSync('unshare', ['-rn', 'sh', '-c', SETUP], { timeout: 5000 }).status === 0
  const skip = isSupported ? false : 'needs network namespaces (Debian packages util-linux and iproute2, and permission)'
  test('nodes in one network find each other by mDNS, and floods are bounded', { skip }, () => {
    // Inherited, it makes the inner runner skip everything.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const run = spawnSync('unshare', ['-rn', 'sh', '-c', `${SETUP} && exec "$0" --test "$1"`, process.execPath, import.meta.filename], {
      env: { ...env, [INSIDE]: '1' },
      encoding: 'utf8',
      timeout: 90_000
    })
    assert.equal(run.status, 0, run.stdout + run.stderr)
    assert.match(run.stdout, /pass [1-9]/)
  })
}
