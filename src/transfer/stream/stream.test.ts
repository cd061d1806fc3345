/** What the kit does not ask: hostile ends, the line of runs on one stream, and streams that went stale. Over memory, except for the kit. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { eventually, MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { decode, encode } from '../../base/codec.ts'
import { hasCode, type KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { MemoryNetwork } from '../../net/rpc-memory.ts'
import type { FramedStream, Streams } from '../../net/streams.ts'
import { type FileRequest, type FileResponse, fileRequest, fileResponse } from '../../wire/file-stream.ts'
import { CHUNK_BYTES } from '../../wire/limits.ts'
import type { Source, TransferProtocol } from '../protocol.ts'
import { openKithStream } from '../stream.ts'
import { MAX_FILE_FRAME_BYTES, MAX_REFUSALS, MAX_RUN_BYTES, MAX_STREAMS_PER_PEER } from './limits.ts'

const base = { clock: systemClock, log: silentLogger }
const signal = new AbortController().signal
const code = (name: string) => (e: unknown) => hasCode(e, name) || assert.fail(`${(e as KithError).code}: ${String(e)}`)
const share = new MemoryShare(seededBytes(8 * CHUNK_BYTES + 5))
const none = shareIndex([])
const empty: FileResponse = { data: new Uint8Array(), isLastChunk: false, nextChunkHash: '', refusal: '', reason: '' }

interface Rig extends AsyncDisposable {
  readonly downloader: Streams
  readonly source: Source
  readonly protocol: TransferProtocol
}
async function rig(seeder: (streams: Streams) => Disposable | AsyncDisposable): Promise<Rig> {
  const stack = new AsyncDisposableStack()
  const network = new MemoryNetwork()
  stack.use(seeder(network.join('seeder', '127.0.0.1').streams))
  const downloader = network.join('downloader', '127.0.0.1').streams
  const protocol = stack.use(openKithStream({ ...base, streams: downloader, shares: none, gate: new TestGate() }))
  const endpoint = {
    host: '',
    peerId: 'seeder',
    port: 0,
    extra: new Uint8Array(),
    fileId: share.fileId,
    grid: share.grid,
    seeder: undefined,
    ticket: undefined
  }
  const source = stack.use(await protocol.openSource(endpoint, signal))
  return { downloader, source, protocol, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
const honest =
  (gate = new TestGate(), of = share) =>
  (streams: Streams) =>
    openKithStream({ ...base, streams, shares: shareIndex([of]), gate })
/** A seeder that answers each request as it is told. */
const scripted = (answer: (stream: FramedStream, request: FileRequest, n: number) => Promise<void>) => (streams: Streams) => {
  let n = 0
  return streams.handle('file', { maxFrameBytes: MAX_FILE_FRAME_BYTES, maxStreamsPerPeer: MAX_STREAMS_PER_PEER }, async stream => {
    for (let size = await stream.next(); size !== undefined; size = await stream.next()) {
      const bytes = new Uint8Array(size)
      await stream.read(bytes)
      await answer(stream, decode(fileRequest, bytes), n++)
    }
  })
}
const respond = (stream: FramedStream, response: Partial<FileResponse>) => stream.send(encode(fileResponse, { ...empty, ...response }))
function fetch(
  source: Source,
  first: number,
  count: number,
  options: ConstructorParameters<typeof MemoryDelivery>[2] = {},
  stop: AbortSignal = signal
) {
  const delivery = new MemoryDelivery(share.grid, { first, count }, options)
  const done = source.fetch(delivery, stop)
  done.catch(() => {})
  return { delivery, done }
}

test('a seeder that breaks the protocol is SOURCE_LIED', async () => {
  const chunk = share.chunk(0)
  const lies: Readonly<Record<string, (stream: FramedStream) => Promise<void>>> = {
    'a piece that is too short': s => respond(s, { data: chunk.subarray(1), isLastChunk: true }),
    'a short frame with a short piece': s => respond(s, { data: chunk.subarray(0, 9), isLastChunk: true }),
    'an end in the middle': s => respond(s, { data: chunk, isLastChunk: true }),
    'no answer at all': s => respond(s, {}),
    'bytes that are no message': s => s.send(new Uint8Array(4).fill(0xff)),
    'a long frame of something else': s => s.send(new Uint8Array(2000).fill(0x12)),
    'a frame that ends before its data': s => s.send(Uint8Array.of(0x0a, 0x80, 0x80, 0x10), new Uint8Array(1000)),
    'another field after the data': s => s.send(Uint8Array.of(0x0a, 0x80, 0x80, 0x10), chunk, Uint8Array.of(0x30, 1)),
    'a refusal after the data': s => s.send(Uint8Array.of(0x0a, 0x80, 0x80, 0x10), chunk, Uint8Array.of(0x22, 1, 0x41))
  }
  for (const [name, lie] of Object.entries(lies)) {
    await using r = await rig(scripted(lie))
    const { delivery, done } = fetch(r.source, 0, 2)
    await assert.rejects(within(5000, name, done), (e: unknown) => hasCode(e, 'SOURCE_LIED') || assert.fail(`${name}: ${String(e)}`))
    delivery.assertUntouched()
  }
})

test('refusals have their meaning, cleaned for the screen, and the stream goes on', async () => {
  const cases = [
    ['CHUNK_MISSING', 'SOURCE_BUSY'],
    ['UNKNOWN_SHARE', 'SOURCE_LOST'],
    ['SOMETHING_NEW', 'SOURCE_LOST'],
    ['PAYMENT_REQUIRED', 'PAYMENT_REQUIRED']
  ] as const
  const streams = new Set<FramedStream>()
  await using r = await rig(
    scripted(async (stream, _, n) => {
      streams.add(stream)
      await respond(stream, { refusal: cases[n]![0], reason: 'why\u001b[2J', isLastChunk: true })
    })
  )
  for (const [refusal, expected] of cases) {
    await assert.rejects(fetch(r.source, 0, 1).done, (e: unknown) => {
      assert.equal((e as KithError).data['reason'], 'why�[2J', refusal)
      return code(expected)(e)
    })
  }
  assert.equal(streams.size, 1)
})

test('a paid download does not begin here: the next protocol is tried', async () => {
  await using r = await rig(honest())
  const endpoint = {
    host: '',
    peerId: 'seeder',
    port: 0,
    extra: new Uint8Array(),
    fileId: share.fileId,
    grid: share.grid,
    seeder: undefined
  }
  const ticket = new TestGate().issue(share, 1)
  await assert.rejects(r.protocol.openSource({ ...endpoint, ticket }, signal), code('PAYMENT_REQUIRED'))
  await assert.rejects(r.protocol.openSource({ ...endpoint, peerId: undefined, ticket: undefined }, signal), code('SOURCE_LOST'))
})

test('two runs share one stream: the second is asked for before the first is answered', async () => {
  const asked: number[] = []
  const streams = new Set<FramedStream>()
  const go = Promise.withResolvers<void>()
  await using r = await rig(
    scripted(async (stream, { offset, length }, n) => {
      streams.add(stream)
      asked.push(offset)
      if (n === 0) await go.promise
      for (let at = offset; at < offset + length; at += CHUNK_BYTES)
        await respond(stream, { data: share.chunk(at / CHUNK_BYTES), isLastChunk: at + CHUNK_BYTES >= offset + length })
    })
  )
  const runs = [fetch(r.source, 0, 3), fetch(r.source, 3, 3)]
  go.resolve()
  for (const { delivery, done } of runs) {
    await within(5000, 'a run', done)
    delivery.assertMatches(share)
  }
  assert.deepEqual(asked, [0, 3 * CHUNK_BYTES])
  assert.equal(streams.size, 1)
})

test('a run that is given up costs the stream; the one behind it asks again and gets everything', async () => {
  for (const which of [0, 1]) {
    await using r = await rig(honest())
    const stop = new AbortController()
    const never = Promise.withResolvers<void>()
    const stuck = fetch(r.source, 0, 4, { hold: c => (c < 1 ? undefined : never.promise) }, which === 0 ? stop.signal : signal)
    const behind = fetch(r.source, 4, 4, {}, which === 1 ? stop.signal : signal)
    await stuck.delivery.until(() => stuck.delivery.chunks.size === 1)
    stop.abort(new Error('given up'))
    const [gone, goes] = which === 0 ? [stuck, behind] : [behind, stuck]
    await assert.rejects(gone.done, /given up/)
    never.resolve()
    await within(5000, 'the other run', goes.done)
    goes.delivery.assertMatches(share)
    const next = fetch(r.source, 8, 1)
    await within(5000, 'a later run', next.done)
    next.delivery.assertMatches(share)
  }
})

test('a stream that went stale between runs is opened again, without an error', async () => {
  let open: FramedStream | undefined
  await using r = await rig(
    scripted(async (stream, { offset }) => {
      open = stream
      await respond(stream, { data: share.chunk(offset / CHUNK_BYTES), isLastChunk: true })
    })
  )
  for (let i = 0; i < 3; i++) {
    await within(5000, `run ${i}`, fetch(r.source, i, 1).done)
    await open![Symbol.asyncDispose]()
  }
})

test('a stream that breaks just after the request was sent is opened again with the same slot', async () => {
  await using r = await rig(
    scripted(async (stream, { offset }, n) => {
      if (n === 1) return stream[Symbol.asyncDispose]()
      await respond(stream, { data: share.chunk(offset / CHUNK_BYTES), isLastChunk: true })
    })
  )
  for (let i = 0; i < 2; i++) {
    const { delivery, done } = fetch(r.source, i, 1)
    await within(5000, `run ${i}`, done)
    delivery.assertMatches(share)
  }
})

test('CH1, CO2: a downloader that asks for nonsense is refused, and one that does not stop is cut off', async () => {
  await using r = await rig(honest())
  const opening = { maxFrameBytes: MAX_FILE_FRAME_BYTES, signal }
  const ask = async (stream: FramedStream, request: Partial<FileRequest>): Promise<string | undefined> => {
    await stream.send(encode(fileRequest, { fileHash: share.hex, offset: 0, length: 1, ...request }))
    const size = await stream.next()
    if (size === undefined) return undefined
    const bytes = new Uint8Array(size)
    await stream.read(bytes)
    return decode(fileResponse, bytes).refusal
  }
  const stream = await r.downloader.open({ peerId: 'seeder' }, 'file', opening)
  assert.equal(await ask(stream, { offset: share.grid.size }), 'BAD_REQUEST')
  assert.equal(await ask(stream, { offset: Number.MAX_SAFE_INTEGER, length: Number.MAX_SAFE_INTEGER }), 'BAD_REQUEST')
  assert.equal(await ask(stream, { length: MAX_RUN_BYTES + 1 }), 'BAD_REQUEST')
  assert.equal(await ask(stream, { fileHash: '00'.repeat(32) }), 'UNKNOWN_SHARE')
  assert.equal(await ask(stream, { offset: share.grid.size - 1 }), '', 'the last byte')
  await assert.rejects(async () => {
    for (let i = 0; i <= MAX_REFUSALS; i++) if ((await ask(stream, { fileHash: '00'.repeat(32) })) === undefined) throw new Error('ended')
  }, /ended|broke/)
  for (const bytes of [new Uint8Array(3).fill(0xff), new Uint8Array(600), new Uint8Array()]) {
    await using bad = await r.downloader.open({ peerId: 'seeder' }, 'file', opening)
    await bad.send(bytes)
    await assert.rejects(bad.next(), code('PEER_PROTOCOL'))
  }
  const good = fetch(r.source, 0, 2)
  await within(5000, 'an honest run', good.done)
})

test('a chunk that the seeder does not have ends the answer, and the gate hears of what left', async () => {
  const gate = new TestGate()
  const some = new MemoryShare(share.content, { chunks: [0, 1] })
  await using r = await rig(honest(gate, some))
  const { delivery, done } = fetch(r.source, 0, 4)
  await assert.rejects(done, code('SOURCE_BUSY'))
  assert.deepEqual([...delivery.chunks.keys()], [0, 1])
  await eventually('the gate heard', () => gate.sentBytes === 2 * CHUNK_BYTES)
})
