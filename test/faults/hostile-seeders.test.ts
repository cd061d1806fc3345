/**
 * One honest seeder among hostile ones (threats T3): real offers and tickets, real sockets, and servers that lie in every way a server
 * can. The file arrives right, in a bounded time, the liars are blamed, and nobody is owed anything for bytes that were not good.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { hexToBytes } from '../../src/base/bytes.ts'
import { MemoryNetwork } from '../../src/net/rpc-memory.ts'
import type { Download } from '../../src/transfer/download.node.ts'
import { answerMac } from '../../src/transfer/http/ticket-mac.ts'
import { RACE_AFTER_MS } from '../../src/transfer/limits.ts'
import { type Bill, freeGate, type PaymentGate } from '../../src/transfer/payment-gate.ts'
import { CHUNK_BYTES } from '../../src/wire/limits.ts'
import { sha256Of, sha256OfFile } from '../kits/lab.ts'
import { eventually, seededBytes, within } from '../kits/transfer-doubles.ts'
import { MemoryFinder, openTestPeer, type TestPeer } from '../kits/transfer-peer.ts'

const SIZE = 16 * 2 ** 20
const LIMIT = 8 * 2 ** 20
/** A source that falls silent is raced after a second, at the next look of the scheduler; twice, for it may be met at the start and at the end. */
const ALLOWANCE_MS = 2 * (RACE_AFTER_MS + 500)

/** What a server does with one request; everything it says carries the proof that it is the seeder. */
type Script = (answer: Answer) => void

interface Answer {
  readonly socket: Socket
  readonly first: number
  readonly last: number
  readonly right: Uint8Array
  /** Sends a head with the proof for exactly what it says. */
  head(status: number, contentRange: string, length: number): void
}

const rangeOf = ({ first, last }: Answer): string => `bytes ${first}-${last}/${SIZE}`
const partial = (a: Answer): void => a.head(206, rangeOf(a), a.last - a.first + 1)

const scripts: Readonly<Record<string, Script>> = {
  'wrong bytes': a => {
    partial(a)
    a.socket.write(new Uint8Array(a.last - a.first + 1).fill(7))
  },
  'stalls in the middle of a chunk': a => {
    partial(a)
    a.socket.write(a.right.subarray(0, 100_000))
  },
  drips: a => {
    partial(a)
    let at = 0
    const timer = setInterval(() => a.socket.write(a.right.subarray(at, (at += 512))), 50)
    a.socket.once('close', () => clearInterval(timer))
  },
  'never stops': a => {
    partial(a)
    a.socket.write(a.right)
    const more = (): void => {
      if (a.socket.destroyed) return
      if (a.socket.write(new Uint8Array(65_536))) setImmediate(more)
      else a.socket.once('drain', more)
    }
    more()
  },
  'another range': a => {
    a.head(206, `bytes ${a.first + 1}-${a.last + 1}/${SIZE}`, a.last - a.first + 1)
    a.socket.write(a.right)
  },
  closes: a => void a.socket.destroy(),
  'the whole file': a => {
    a.head(200, '', SIZE)
    a.socket.write(seededBytes(SIZE))
  },
  'claims chunks that it lacks': a => {
    const body = JSON.stringify({ code: 'CHUNK_MISSING' })
    a.head(416, '', body.length)
    a.socket.write(body)
  },
  'wants money first': a => {
    const body = JSON.stringify({ code: 'PAYMENT_REQUIRED', detail: 'pay \u001b[31mfirst' })
    a.head(402, '', body.length)
    a.socket.write(body)
  }
}

test('one honest seeder and ten hostile ones: the right file, in time, and nothing owed for what was not good', async t => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-hostile-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const content = seededBytes(SIZE)
  const file = join(folder, 'film.bin')
  writeFileSync(file, content)
  const world = { network: new MemoryNetwork(), all: new MemoryFinder('') }
  const honest = stack.use(await openTestPeer(world.network, world.all))
  const link = await honest.share(file, { uploadLimit: LIMIT })
  const fetchIt = async (name: string, bills: PaymentGate): Promise<{ download: Download; ms: number }> => {
    const peer = stack.use(await openTestPeer(world.network, world.all, bills))
    const out = join(folder, name)
    mkdirSync(out)
    const at = performance.now()
    const download = peer.get(link, { folder: out })
    await download.ended
    assert.equal(download.state, 'done', download.message)
    assert.equal(sha256OfFile(download.path!), sha256Of(content))
    return { download, ms: performance.now() - at }
  }
  const alone = await fetchIt('alone', freeGate)

  const names = new Map<string, string>()
  for (const [name, script] of Object.entries(scripts)) {
    const hostile = await openHostile(stack, world, content, script)
    await hostile.share(file, { pricePerMb: 1000n })
    names.set(Buffer.from(hostile.identity.instance.key).toString('hex'), name)
  }
  const liar = await openImpostor(stack, world, folder, honest)
  const paid = recordingGate()
  const { download, ms } = await fetchIt('crowd', paid.gate)
  t.diagnostic(`alone ${Math.round(alone.ms)} ms, with hostile seeders ${Math.round(ms)} ms`)
  assert.ok(ms <= 3 * alone.ms + ALLOWANCE_MS, `${ms} ms against ${alone.ms} ms`)

  const stats = download.sources().map(s => ({ ...s, name: names.get(s.source.seeder ?? '') ?? 'honest' }))
  const byName = new Map(stats.map(s => [s.name, s]))
  for (const s of stats) t.diagnostic(`${s.name}: ${s.state}, ${s.chunks} chunks, ${s.badChunks} bad, ${s.note ?? ''}`)
  assert.ok(!stats.some(s => s.source.seeder === liar), 'an offer for another content opens no source')
  const wrong = byName.get('wrong bytes')!
  assert.ok(wrong.badChunks >= 3 && wrong.chunks === 0 && wrong.state === 'dropped', 'blamed and dropped')
  for (const name of ['never stops', 'another range', 'the whole file']) assert.equal(byName.get(name)?.state, 'dropped', name)
  assert.ok(
    stats.every(s => s.name === 'wrong bytes' || s.badChunks === 0),
    'nobody else is blamed for chunks'
  )
  assert.ok(
    stats.every(s => !s.note?.includes('\u001b')),
    'what a server said cannot reach the screen'
  )

  // Each chunk counts once, for the one who delivered it and was right.
  const owed = [...paid.delivered.values()]
  for (const [seeder, chunks] of paid.bySeeder) assert.equal(chunks, byName.get(names.get(seeder)!)?.chunks, names.get(seeder))
  assert.equal(paid.bySeeder.get(wrong.source.seeder!) ?? 0, 0)
  assert.ok(owed.length <= SIZE / CHUNK_BYTES - byName.get('honest')!.chunks)
  assert.equal(paid.twice, 0)
})

test('a seeder whose server does not answer at first is asked again', async t => {
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'kith-late-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const world = { network: new MemoryNetwork(), all: new MemoryFinder('') }
  const file = join(folder, 'film.bin')
  writeFileSync(file, seededBytes(600_000))
  const port = await freePort()
  const seeder = stack.use(await openTestPeer(world.network, world.all, freeGate, undefined, { advertisedPort: port }))
  const link = await seeder.share(file)
  const peer = stack.use(await openTestPeer(world.network, world.all))
  mkdirSync(join(folder, 'out'))
  const download = peer.get(link, { folder: join(folder, 'out') })
  await eventually('nobody can be reached', () => download.state === 'waiting', 20_000)
  const door = createServer(inside => {
    const outside = connect(seeder.port('http'), '127.0.0.1')
    for (const [a, b] of [
      [inside, outside],
      [outside, inside]
    ] as const)
      a.on('error', () => b.destroy()).pipe(b)
  })
  await new Promise<void>(resolve => door.listen(port, '127.0.0.1', resolve))
  stack.defer(() => void door.close())
  await within(20_000, 'the end of the download', download.ended)
  assert.equal(download.state, 'done', download.message)
})

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

interface World {
  readonly network: MemoryNetwork
  readonly all: MemoryFinder
}

/** A peer with real offers and tickets whose HTTP server follows a script. */
async function openHostile(stack: AsyncDisposableStack, world: World, content: Uint8Array, script: Script): Promise<TestPeer> {
  const sockets = new Set<Socket>()
  let peer: TestPeer | undefined
  const server: Server = createServer(socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    let text = ''
    socket.on('data', bytes => {
      text += bytes.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end)
        text = text.slice(end + 4)
        script(answerTo(head, socket, content, peer!))
      }
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  stack.defer(async () => {
    for (const s of sockets) s.destroy()
    await new Promise(resolve => server.close(resolve))
  })
  const port = (server.address() as { port: number }).port
  const seller: PaymentGate = { ...freeGate, terms: { wallet: new Uint8Array(20).fill(7), chainId: 98765 } }
  peer = stack.use(await openTestPeer(world.network, world.all, seller, undefined, { advertisedPort: port }))
  return peer
}

function answerTo(head: string, socket: Socket, content: Uint8Array, peer: TestPeer): Answer {
  const header = (name: string): string => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]?.trim() ?? ''
  const [, first = 0, last = 0] = (/bytes=(\d+)-(\d+)/.exec(header('range')) ?? []).map(Number)
  const fileId = hexToBytes(/^GET \/([0-9a-f]{64}) /.exec(head)?.[1] ?? '')
  const key = peer.tickets.customerOf(hexToBytes(header('kith-ticket')), fileId)?.ticket.key
  assert.ok(key, 'a downloader shows its ticket')
  return {
    socket,
    first,
    last,
    right: content.subarray(first, last + 1),
    head: (status, contentRange, length) => {
      const mac = answerMac(key, { status, contentRange, counter: Number(header('kith-counter')) })
      const range = contentRange === '' ? '' : `Content-Range: ${contentRange}\r\n`
      socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: ${length}\r\n${range}Kith-Mac: ${mac}\r\n\r\n`)
    }
  }
}

/** Announces another content under the id of the file. @returns its instance key, hex */
async function openImpostor(stack: AsyncDisposableStack, world: World, folder: string, honest: TestPeer): Promise<string> {
  const peer = stack.use(await openTestPeer(world.network, world.all))
  const other = join(folder, 'other.bin')
  writeFileSync(other, seededBytes(SIZE, 2))
  await peer.share(other, { announce: false })
  const { fileId } = honest.shares.records()[0]!.record
  await peer.shares.add({ ...peer.shares.records()[0]!.record, fileId })
  await peer.finder.announce(fileId)
  return Buffer.from(peer.identity.instance.key).toString('hex')
}

/** Payments that are always allowed, and remember what is owed for. */
function recordingGate() {
  const delivered = new Map<number, string>()
  const bySeeder = new Map<string, number>()
  const state = { twice: 0 }
  const bill: Bill = {
    owedWei: 0n,
    paidWei: 0n,
    admit: () => {},
    delivered: (seeder, _protocol, chunk) => {
      if (delivered.has(chunk)) state.twice++
      delivered.set(chunk, seeder)
      bySeeder.set(seeder, (bySeeder.get(seeder) ?? 0) + 1)
    },
    settle: async () => ({ state: 'nothing-owed', tx: undefined, invoiceId: undefined, totalWei: 0n, gasUsed: undefined, payees: [] }),
    close: () => {}
  }
  const gate: PaymentGate = { ...freeGate, wallet: new Uint8Array(20).fill(9), openBill: async () => bill }
  return {
    gate,
    delivered,
    bySeeder,
    get twice() {
      return state.twice
    }
  }
}
