import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import test from 'node:test'
import { deflateSync } from 'node:zlib'
import { TestClient } from '../../../test/kits/ed2k-client.ts'
import { eventually, within } from '../../../test/kits/transfer-doubles.ts'
import { equalBytes } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import type { AddressClass } from '../address-filter.ts'
import { openEd2k } from '../ed2k/ed2k.node.ts'
import { asUserHash } from '../ed2k/hello.ts'
import { PeerHub } from '../ed2k/hub.node.ts'
import { makeEd2kIdentity } from '../ed2k/identity.node.ts'
import { openListener } from '../ed2k/listener.node.ts'
import type { Ed2kPeer } from '../ed2k/peers.ts'
import { openEd2kNetworks } from '../ed2k/server-networks.node.ts'
import type { Tag } from '../ed2k/tags.ts'
import { type Kad, type KadDeps, type KadOptions, openKad } from './kad.node.ts'
import { FINDS_PER_MINUTE, MAX_ANSWERED_SOURCES, SEARCHES_PER_MINUTE } from './limits.ts'
import { decodeKad, encodeKad, type KadMessage, kindOf } from './messages.ts'
import { tagsOfOwn } from './sources.ts'

const deps = { clock: systemClock, log: silentLogger }
const never = (): AbortSignal => new AbortController().signal
/** Where nodes were told to listen. */
const hosts = new WeakMap<Kad | RawNode, string>()
async function open(
  host: string,
  first: Kad | RawNode | undefined,
  more: Partial<KadOptions> = {},
  moreDeps: Partial<KadDeps> = {}
): Promise<Kad> {
  const bootstrap = first ? [`${hosts.get(first)}:${first.port}`] : []
  const defaults = { host, port: 0, bootstrap, clientHash: asUserHash(randomBytes(16)), tcpPort: 4662 }
  const kad = await openKad({ ...deps, ...moreDeps }, { ...defaults, ...more })
  hosts.set(kad, host)
  return kad
}
async function firstOf(items: AsyncIterable<Ed2kPeer>): Promise<Ed2kPeer | undefined> {
  for await (const item of items) return item
  return undefined
}
const NO_CRYPT = { supported: false, requested: false, required: false }

/** A node made by hand: sends what it likes, and answers only what it is told to. */
class RawNode implements AsyncDisposable {
  readonly id: Uint8Array = randomBytes(16)
  readonly received: KadMessage[] = []
  answer: (message: KadMessage) => KadMessage | undefined = () => undefined
  readonly #socket: Socket
  #to: { readonly host: string; readonly port: number }
  constructor(socket: Socket, to: { readonly host: string; readonly port: number }) {
    this.#socket = socket
    this.#to = to
    socket.on('message', (bytes, from) => {
      const message = decodeKad(kindOf(bytes[1]!)!, bytes.subarray(2))
      this.received.push(message)
      this.#to = { host: from.address, port: from.port }
      const answer = this.answer(message)
      if (answer) this.say(answer)
    })
  }
  static async open(to?: Kad, host = '127.0.0.1'): Promise<RawNode> {
    const socket = createSocket('udp4')
    await new Promise<void>(resolve => socket.bind(0, host, resolve))
    const node = new RawNode(socket, { host: to ? hosts.get(to)! : host, port: to?.port ?? 0 })
    hosts.set(node, host)
    return node
  }
  get port(): number {
    return this.#socket.address().port
  }
  raw(bytes: Uint8Array): void {
    this.#socket.send(bytes, this.#to.port, this.#to.host)
  }
  say(message: KadMessage): void {
    this.raw(encodeKad(message))
  }
  count(kind: KadMessage['kind']): number {
    return this.received.filter(m => m.kind === kind).length
  }
  async next<K extends KadMessage['kind']>(kind: K): Promise<Extract<KadMessage, { kind: K }>> {
    await eventually(`a message: ${kind}`, () => this.count(kind) > 0)
    const at = this.received.findIndex(m => m.kind === kind)
    return this.received.splice(at, 1)[0] as Extract<KadMessage, { kind: K }>
  }
  /** Answers hellos, and names these contacts. */
  behave(contacts: readonly { readonly host: string; readonly port: number }[] = []): void {
    const named = contacts.map(c => ({ ...c, id: randomBytes(16), tcpPort: 4662, version: 8 }))
    this.answer = m => {
      const self = { id: this.id, tcpPort: 4662, version: 8 }
      if (m.kind === 'hello') return { kind: 'helloAnswer', ...self, flags: 0 }
      if (m.kind === 'first') return { kind: 'firstAnswer', ...self, contacts: named }
      if (m.kind === 'find') return { kind: 'found', target: m.target, contacts: named.slice(0, m.most) }
      return m.kind === 'ping' ? { kind: 'pong', port: 1 } : undefined
    }
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>(resolve => this.#socket.close(resolve))
  }
}

test('nodes find each other through the first one, and what one publishes others find', async () => {
  await using first = await open('127.0.0.1', undefined)
  await using stack = new AsyncDisposableStack()
  const nodes = await Promise.all(Array.from({ length: 8 }, async (_, i) => stack.use(await open(`127.0.0.${i + 2}`, first))))
  await eventually('the first knows all', () => first.nodes === 8 && nodes.every(n => n.nodes >= 1))
  const hash = randomBytes(16)
  const clientHash = asUserHash(randomBytes(16))
  const seeder = stack.use(await open('127.0.0.20', first, { clientHash, tcpPort: 5001 }))
  await using _published = seeder.publish(hash, 1000)
  await eventually('somebody keeps it', () => nodes.some(n => n.stored > 0))
  for (const node of [nodes[1]!, nodes[6]!]) {
    const peer = await within(10_000, 'the seeder', firstOf(node.find(hash, 1000, never())))
    assert.deepEqual([peer?.host, peer?.port, peer?.crypt?.supported], ['127.0.0.20', 5001, true])
    assert.ok(equalBytes(peer!.userHash!, clientHash))
    assert.equal(node.trustOf(peer!), 'given')
  }
})

test('two nodes that only know each other, a search that began first, another size, and what is not published any more', async () => {
  await using first = await open('127.0.0.1', undefined, { tcpPort: 5002 })
  const hash = randomBytes(16)
  const over = new AbortController()
  await using second = await open('127.0.0.2', first, { tcpPort: 5003 })
  const early = firstOf(first.find(hash, 1000, over.signal))
  const wrong = firstOf(first.find(hash, 1001, over.signal))
  {
    await using _published = second.publish(hash, 1000)
    assert.equal((await within(5_000, 'the second', early))?.port, 5003)
    // The second answers for itself as well.
    await using raw = await RawNode.open(second, '127.0.0.3')
    raw.say({ kind: 'search', target: hash, from: 0, size: 1000 })
    assert.equal((await raw.next('results')).results.length, 1)
  }
  await using raw = await RawNode.open(second, '127.0.0.4')
  raw.say({ kind: 'search', target: hash, from: 0, size: 1000 })
  raw.say({ kind: 'ping' })
  await raw.next('pong')
  assert.equal(raw.count('results'), 0)
  over.abort()
  assert.equal(await wrong, undefined)
})

test('who cannot be reached publishes nothing', async () => {
  await using first = await open('127.0.0.1', undefined)
  let isReachable: boolean | undefined = false
  await using closed = await open('127.0.0.2', first, {}, { isReachable: () => isReachable })
  await using nowhere = await open('127.0.0.3', first, { tcpPort: 0 })
  const hash = randomBytes(16)
  await using _a = closed.publish(hash, 1000)
  await using _b = nowhere.publish(hash, 1000)
  await closed.ready
  await using raw = await RawNode.open(closed, '127.0.0.4')
  raw.say({ kind: 'search', target: hash, from: 0, size: 0 })
  raw.say({ kind: 'hello', id: raw.id, tcpPort: 1, version: 8, flags: 0 })
  assert.equal((await raw.next('helloAnswer')).flags, 2)
  assert.equal(raw.count('results') + first.stored, 0)
  isReachable = true
  await using _other = await open('127.0.0.5', closed) // growth is a reason to try again
  raw.say({ kind: 'search', target: hash, from: 0, size: 0 })
  await raw.next('results')
})

test('a client that was asked to try our port tells us so over TCP, too', async () => {
  await using stack = new AsyncDisposableStack()
  const none = { byFileId: () => undefined, byInfoHash: () => undefined }
  const gate = { admit: async () => 'no', customerOf: () => undefined, sent: () => {} }
  const ed2k = stack.use(await openEd2k({ ...deps, shares: none, gate }, { listen: { host: '127.0.0.1', port: 0 } }))
  const raw = stack.use(await RawNode.open())
  raw.behave()
  const kad = { host: '127.0.0.1', port: 0, bootstrap: [`127.0.0.1:${raw.port}`] }
  const networks = stack.use(await openEd2kNetworks(deps, { servers: [], kad, userHash: ed2k.userHash, listenPort: ed2k.port }))
  ed2k.setReached(host => networks.reachedBy(host))
  await using client = await TestClient.dial(ed2k.port)
  const { tcpPort } = await raw.next('check')
  assert.deepEqual([tcpPort, networks.kad?.isTcpOpen], [ed2k.port, false])
  client.send(0xc5, 0xa8)
  await eventually('it is open', () => networks.kad?.isTcpOpen === true)
})

test('a client that can be reached is told so over TCP and UDP; by nodes that it asked', async () => {
  await using stack = new AsyncDisposableStack()
  const hub = stack.use(
    new PeerHub(
      {
        ...deps,
        shares: { byFileId: () => undefined, byInfoHash: () => undefined },
        gate: { admit: async () => 'no', customerOf: () => undefined, sent: () => {} }
      },
      { identity: makeEd2kIdentity(), nickname: 'test', wantObfuscation: false, requireObfuscation: false }
    )
  )
  const listener = stack.use(await openListener(hub, { host: '127.0.0.2', port: 0 }))
  const first = stack.use(await open('127.0.0.1', undefined))
  const second = stack.use(await open('127.0.0.2', first, { clientHash: hub.userHash, tcpPort: listener.port }))
  await eventually('it is open', () => second.isTcpOpen)
  const third = stack.use(await open('127.0.0.3', first, { clientHash: randomBytes(16), tcpPort: listener.port }))
  await third.ready
  third.reachedBy('127.0.0.9') // nobody asked it
  assert.ok(!third.isTcpOpen && !first.isTcpOpen)
})

test('ED6: floods are ignored, unrequested answers and garbage too, and who has not proved its address gets one datagram', async () => {
  await using node = await open('127.0.0.1', undefined)
  await using stack = new AsyncDisposableStack()
  const raw = stack.use(await RawNode.open(node, '127.0.0.2'))
  const hash = randomBytes(16)
  for (const bytes of [[], [0xe4], [0xe4, 0x21], [0xe4, 0x44, 1], [0xe5, 0x34, 1, 2], [0xff, 0x60], [0xe4, 0x99]])
    raw.raw(new Uint8Array(bytes))
  raw.raw(new Uint8Array([0xe5, 0x44, ...deflateSync(new Uint8Array(1_000_000))]))
  // A hundred sources under one hash, from as many addresses.
  const senders = await Promise.all(Array.from({ length: 100 }, (_, i) => RawNode.open(node, `127.0.1.${i + 1}`)))
  for (const s of senders) stack.use(s)
  for (const s of senders) s.say({ kind: 'publish', target: hash, client: s.id, tags: tagsOfOwn(1000, 4662, NO_CRYPT) })
  await eventually('they are kept', () => node.stored === 100)
  raw.say({ kind: 'search', target: hash, from: 0, size: 0 })
  const partial = await raw.next('results')
  assert.ok(partial.results.length < 30)
  await raw.next('ping')
  assert.equal(raw.count('results'), 0)
  raw.say({ kind: 'pong', port: 1 })
  let count = partial.results.length
  while (count < 100) count += (await raw.next('results')).results.length
  assert.ok(count === 100 && count <= MAX_ANSWERED_SOURCES)
  for (let i = 0; i < 3 * FINDS_PER_MINUTE; i++) raw.say({ kind: 'find', most: 11, target: hash, asked: node.id })
  for (let i = 0; i < 3 * SEARCHES_PER_MINUTE; i++) raw.say({ kind: 'search', target: randomBytes(16), from: 0, size: 0 })
  raw.say({ kind: 'find', most: 11, target: hash, asked: randomBytes(16) })
  raw.say({ kind: 'results', id: raw.id, target: hash, results: [] })
  raw.say({ kind: 'ping' })
  await raw.next('pong')
  assert.ok(raw.count('found') <= FINDS_PER_MINUTE && raw.count('found') > 0)
  // One address, one node; its second id is not met.
  assert.equal(node.nodes, 0)
})

/** Loopback stands for the internet. */
const asPublic = (host: string): AddressClass => (host.startsWith('127.') ? 'public' : host.startsWith('10.') ? 'private' : 'never')

test('ED6: publications far from our id are not kept, except in a Kad of a few nodes', async () => {
  const near = randomBytes(16)
  const far = new Uint8Array([near[0]! ^ 0x80, ...randomBytes(15)])
  const message = (target: Uint8Array): KadMessage => ({ kind: 'publish', target, client: near, tags: tagsOfOwn(1000, 4662, NO_CRYPT) })
  await using strict = await open('127.0.0.1', undefined, { id: near }, { classOf: asPublic })
  await using raw = await RawNode.open(strict, '127.0.0.2')
  raw.say(message(far))
  raw.say(message(near))
  await raw.next('published')
  assert.equal(strict.stored, 1)
  await using lax = await open('127.0.0.1', undefined, { id: near, anyDistance: true }, { classOf: asPublic })
  await using other = await RawNode.open(lax, '127.0.0.2')
  other.say(message(far))
  await other.next('published')
})

test('ED6: a node that names private contacts and sources, or too many, gets us nowhere', async () => {
  await using stack = new AsyncDisposableStack()
  const liar = stack.use(await RawNode.open())
  const silent = stack.use(await RawNode.open(undefined, '127.0.0.9'))
  const hash = randomBytes(16)
  liar.behave([
    { host: '10.0.0.1', port: 4672 },
    { host: '169.254.169.254', port: 4672 },
    { host: '127.0.0.9', port: silent.port }
  ])
  const source = (host: number, port: number, i: number): { id: Uint8Array; tags: Tag[] } => ({
    id: randomBytes(16),
    tags: [
      { name: 0xfe, type: 'u32', value: host + i },
      { name: 0xff, type: 'u8', value: 1 },
      { name: 0xfd, type: 'u16', value: port }
    ]
  })
  const plain = liar.answer
  liar.answer = m => {
    if (m.kind !== 'search') return plain(m)
    const results = [
      source(0x0a000001, 4662, 0),
      source(0x7f000001, 22, 0),
      ...Array.from({ length: 10 }, (_, i) => source(0x7f000101, 4662, i))
    ]
    for (let i = 0; i < 100; i++) liar.say({ kind: 'results', id: liar.id, target: randomBytes(16), results })
    return { kind: 'results', id: liar.id, target: hash, results }
  }
  const node = stack.use(await open('127.0.0.1', liar, { anyDistance: true }, { classOf: asPublic, checkAddress: async h => h }))
  const over = new AbortController()
  const found: Ed2kPeer[] = []
  for await (const peer of node.find(hash, 1000, over.signal)) if (found.push(peer) === 10) over.abort()
  assert.ok(found.every(p => p.host.startsWith('127.0.1.')))
  assert.deepEqual(node.contacts(), [`127.0.0.1:${liar.port}`])
})

test('a port in use is said; contacts are handed over at the end', async () => {
  await using first = await open('127.0.0.1', undefined)
  await assert.rejects(open('127.0.0.1', undefined, { port: first.port }), e => codeOf(e) === 'PORT_UNAVAILABLE')
  const saved: (readonly string[])[] = []
  {
    await using second = await open('127.0.0.2', first, {}, { saveNodes: nodes => saved.push(nodes) })
    await eventually('it knows the first', () => second.nodes === 1)
    await second[Symbol.asyncDispose]()
  }
  assert.deepEqual(saved, [[`127.0.0.1:${first.port}`]])
})
