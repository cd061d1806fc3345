import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import test from 'node:test'
import { eventually } from '../../../test/kits/transfer-doubles.ts'
import { utf8 } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import type { PeerAddress } from '../bittorrent/urls.ts'
import { decodeKrpc, encodeKrpc, type KrpcMessage, NOTHING, type Question } from './krpc.ts'
import { type Mainline, type MainlineOptions, openMainline } from './mainline.node.ts'

const deps = { clock: systemClock, log: silentLogger }
const open = (host: string, first?: Mainline | number, options: MainlineOptions = {}): Promise<Mainline> => {
  const port = typeof first === 'number' ? first : first?.port
  return openMainline(deps, { host, port: 0, bootstrap: port === undefined ? [] : [`127.0.0.1:${port}`], ...options })
}
const never = (): AbortSignal => new AbortController().signal
const collect = async (node: Mainline, infoHash: Uint8Array): Promise<PeerAddress[]> => {
  const found: PeerAddress[] = []
  for await (const peer of node.lookup(infoHash, never())) found.push(peer)
  return found
}

/** A node made by hand: sends what it likes, and answers nothing by itself. */
class RawNode implements AsyncDisposable {
  readonly id: Uint8Array = randomBytes(20)
  readonly received: KrpcMessage[] = []
  readonly lengths: number[] = []
  readonly #socket: Socket
  readonly #to: number
  constructor(socket: Socket, to: number) {
    this.#socket = socket
    this.#to = to
    socket.on('message', bytes => {
      this.received.push(decodeKrpc(bytes))
      this.lengths.push(bytes.length)
    })
  }
  static async open(to: Mainline, host = '127.0.0.1'): Promise<RawNode> {
    const socket = createSocket('udp4')
    await new Promise<void>(resolve => socket.bind(0, host, resolve))
    return new RawNode(socket, to.port)
  }
  get port(): number {
    return this.#socket.address().port
  }
  raw(bytes: Uint8Array): void {
    this.#socket.send(bytes, this.#to, '127.0.0.1')
  }
  ask(question: Question, readOnly = true): number {
    const bytes = encodeKrpc({ transaction: utf8('aa'), kind: 'question', id: this.id, readOnly, question })
    this.raw(bytes)
    return bytes.length
  }
  async next<K extends KrpcMessage['kind']>(kind: K): Promise<Extract<KrpcMessage, { kind: K }>> {
    await eventually(`a message: ${kind}`, () => this.received.some(m => m.kind === kind))
    return this.received.splice(
      this.received.findIndex(m => m.kind === kind),
      1
    )[0] as Extract<KrpcMessage, { kind: K }>
  }
  /** Answers the next question, so that our address counts as proved. */
  async pong(): Promise<void> {
    const { transaction } = await this.next('question')
    this.raw(encodeKrpc({ transaction, kind: 'answer', id: this.id, answer: NOTHING, seenAs: undefined }))
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>(resolve => this.#socket.close(resolve))
  }
}

test('nodes find each other through the first one; what one announces another finds, and items go round', async () => {
  await using first = await open('127.0.0.1')
  await using stack = new AsyncDisposableStack()
  const nodes = await Promise.all(Array.from({ length: 12 }, async (_, i) => stack.use(await open(`127.0.0.${i + 2}`, first))))
  await eventually('all know some', () => nodes.every(n => n.nodes >= 4))
  const infoHash = randomBytes(20)
  stack.use(nodes[3]!.announce(infoHash, 7001))
  stack.use(nodes[4]!.announce(infoHash, 7002))
  await eventually('both are found', async () => (await collect(nodes[9]!, infoHash)).length === 2)
  const found = await collect(nodes[0]!, infoHash)
  assert.deepEqual(found.map(p => `${p.host}:${p.port}`).sort(), ['127.0.0.5:7001', '127.0.0.6:7002'])
  assert.ok(nodes[0]!.isGiven(found[0]!))
  const { target, kept } = await nodes[1]!.putImmutable(utf8('12:Hello World!'), never())
  assert.ok(kept >= 4)
  assert.deepEqual(await nodes[8]!.getImmutable(target, never()), utf8('12:Hello World!'))
  const seed = randomBytes(32)
  const put = (seq: number, text: string, cas?: number) =>
    nodes[2]!.putMutable(
      { seed, seq, value: utf8(`${text.length}:${text}`), salt: utf8('s'), ...(cas === undefined ? {} : { cas }) },
      never()
    )
  await put(1, 'one')
  await put(2, 'two', 1)
  await assert.rejects(put(1, 'old'), e => e instanceof KithError && e.code === 'DHT_ITEM_REFUSED' && e.data['code'] === 302)
  await assert.rejects(put(3, 'three', 1), e => e instanceof KithError && e.data['code'] === 301)
  const key = (await import('#crypto')).ed25519PublicKey(seed)
  const item = await nodes[7]!.getMutable(await key, utf8('s'), never())
  assert.deepEqual([item?.signed?.seq, item?.value], [2, utf8('3:two')])
  assert.equal(await nodes[7]!.getMutable(await key, utf8('t'), never()), undefined)
  await assert.rejects(nodes[1]!.putImmutable(utf8('i1ei2e'), never()), e => codeOf(e) === 'DHT_ITEM_REFUSED')
})

test('two nodes that only know each other find what the other announces, and a node that comes later is told', async () => {
  await using first = await open('127.0.0.1')
  const infoHash = randomBytes(20)
  await using _announced = first.announce(infoHash, 7003)
  await using second = await open('127.0.0.2', first)
  await eventually('found', async () => (await collect(second, infoHash)).some(p => p.port === 7003))
  const came: PeerAddress[] = []
  await using _search = first.search(infoHash, p => void came.push(p))
  await using third = await open('127.0.0.3', first)
  await using _third = third.announce(infoHash, 7004)
  await eventually('the search goes on', () => came.some(p => p.port === 7004))
})

test('a node that is read-only asks and is not kept by others', async () => {
  await using first = await open('127.0.0.1')
  await using quiet = await open('127.0.0.2', first, { readOnly: true })
  await eventually('it has joined', () => quiet.nodes === 1)
  assert.equal(first.nodes, 0)
  let saved: readonly string[] = []
  const saving = await openMainline(
    { ...deps, saveNodes: nodes => (saved = nodes) },
    { host: '127.0.0.3', bootstrap: [`127.0.0.1:${first.port}`] }
  )
  await eventually('it has joined', () => saving.nodes === 1)
  await saving[Symbol.asyncDispose]()
  assert.deepEqual(saved, [`127.0.0.1:${first.port}`])
})

test('BT8: nobody gets more than three times what was sent before the address is proved', async () => {
  await using node = await open('127.0.0.1')
  await using stack = new AsyncDisposableStack()
  const others = await Promise.all(Array.from({ length: 16 }, async (_, i) => stack.use(await open(`127.0.0.${i + 2}`, node))))
  await eventually('a full table', () => node.nodes >= 8)
  const infoHash = randomBytes(20)
  for (let i = 0; i < 16; i++) stack.use(others[i]!.announce(infoHash, 7100 + i))
  const value = utf8(`900:${'x'.repeat(900)}`)
  const { target } = await others[0]!.putImmutable(value, never())
  await using stranger = await RawNode.open(node, '127.0.0.50')
  for (const question of [
    { name: 'find_node', target: infoHash },
    { name: 'get_peers', target: infoHash }
  ] as const) {
    const sent = stranger.ask(question)
    const { answer } = await stranger.next('answer')
    assert.ok(stranger.lengths.pop()! <= 3 * sent)
    assert.ok(answer.nodes.length > 0)
  }
  stranger.ask({ name: 'get', target, seq: undefined }) // read-only: it could not answer a ping
  assert.equal((await stranger.next('answer')).answer.value, undefined)
})

test('BT8: an item is held back until its asker has answered a ping', async () => {
  await using node = await open('127.0.0.1')
  await using writer = await open('127.0.0.2', node)
  await eventually('they know each other', () => writer.nodes === 1)
  const value = utf8(`900:${'x'.repeat(900)}`)
  const { target, kept } = await writer.putImmutable(value, never())
  assert.equal(kept, 1)
  await using asker = await RawNode.open(node, '127.0.0.9')
  asker.ask({ name: 'get', target, seq: undefined }, false)
  await asker.pong()
  assert.deepEqual((await asker.next('answer')).answer.value, value)
  await using silent = await RawNode.open(node, '127.0.0.10')
  silent.ask({ name: 'get', target, seq: undefined }, false)
  await silent.next('question')
  silent.ask({ name: 'ping' }, true)
  await silent.next('answer') // that of the ping
  assert.ok(silent.lengths.every(n => n < 150))
})

test('BT8: tokens that are wrong or of another address, unknown methods, floods, and answers to nothing', async () => {
  await using node = await open('127.0.0.1')
  await using a = await RawNode.open(node, '127.0.0.60')
  await using b = await RawNode.open(node, '127.0.0.61')
  const infoHash = randomBytes(20)
  const announce = (token: Uint8Array) => ({ name: 'announce_peer', target: infoHash, port: 7000, token }) as const
  a.ask(announce(randomBytes(8)))
  assert.equal((await a.next('error')).code, 203)
  a.ask({ name: 'get_peers', target: infoHash })
  const token = (await a.next('answer')).answer.token!
  b.ask(announce(token))
  assert.equal((await b.next('error')).code, 203)
  a.ask(announce(token))
  await a.next('answer')
  assert.deepEqual(await collect(node, infoHash), [{ host: '127.0.0.60', port: 7000 }])
  a.raw(utf8(`d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:zz1:y1:qe`))
  const unknown = await a.next('error')
  assert.deepEqual([unknown.code, unknown.transaction], [204, utf8('zz')])
  // Answers that nobody asked for do not make a node known.
  b.raw(encodeKrpc({ transaction: utf8('xxxx'), kind: 'answer', id: b.id, answer: NOTHING, seenAs: undefined }))
  b.raw(utf8('garbage'))
  b.ask({ name: 'ping' })
  await b.next('answer')
  assert.equal(node.nodes, 0)
  // A flood is answered within the rate only.
  await using flood = await RawNode.open(node, '127.0.0.62')
  for (let i = 0; i < 1000; i++) flood.ask({ name: 'ping' })
  await eventually('others are answered', () => {
    b.ask({ name: 'ping' }) // the flood may have filled the socket's buffer
    return b.received.some(m => m.kind === 'answer')
  })
  assert.ok(flood.received.length < 500)
})

test('BT10: put is refused with the code that says why', async () => {
  await using node = await open('127.0.0.1')
  await using peer = await RawNode.open(node, '127.0.0.70')
  peer.ask({ name: 'get', target: randomBytes(20), seq: undefined })
  const token = (await peer.next('answer')).answer.token!
  const put = async (value: string, salt = '', signature = randomBytes(64), extra: Partial<Question> = {}): Promise<number> => {
    const signed = { key: randomBytes(32), signature, seq: 1 }
    peer.ask({ name: 'put', token, value: utf8(value), signed, salt: utf8(salt), cas: undefined, ...extra } as Question)
    return (await peer.next('error')).code
  }
  assert.equal(await put(`1000:${'x'.repeat(1000)}`), 205)
  assert.equal(await put('i1e', 's'.repeat(65)), 207)
  assert.equal(await put('i1e'), 206)
  assert.equal(await put('i1e', '', randomBytes(64), { token: randomBytes(8) } as Partial<Question>), 203)
})

test('an answer from another address, or with another id than was named, does not count', async () => {
  await using real = await RawNode.open({ port: 9 } as Mainline, '127.0.0.80')
  await using node = await open('127.0.0.1', undefined, { bootstrap: [`127.0.0.80:${real.port}`] })
  const { transaction } = await real.next('question')
  await using forger = await RawNode.open(node, '127.0.0.81')
  forger.raw(encodeKrpc({ transaction, kind: 'answer', id: forger.id, answer: NOTHING, seenAs: undefined }))
  forger.ask({ name: 'ping' })
  await forger.next('answer')
  assert.equal(node.nodes, 0)
})
