import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { eventually, within } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode, type KithError } from '../base/errors.ts'
import { type BytePipe, FrameStream } from './frame-stream.ts'
import { READ_AHEAD_BYTES, STREAM_IDLE_MS, STREAM_STALL_MS } from './limits.ts'
import { memoryStreamPair } from './memory-streams.ts'

const code = (name: string) => (e: unknown) => hasCode(e, name) || assert.fail(`${(e as KithError).code}: ${String(e)}`)
const end = (peerId: string, maxFrameBytes = 2 ** 20) => ({ peerId, address: '127.0.0.1', maxFrameBytes })
const pair = (max?: number) => memoryStreamPair(systemClock, end('B', max), end('A', max))

/** A stream whose pipe the test holds. */
function alone(max = 1000, clock: ConstructorParameters<typeof FrameStream>[0]['clock'] = systemClock) {
  const log: string[] = []
  const sent: Uint8Array[] = []
  const pipe: BytePipe = {
    write: bytes => sent.push(bytes) > 0,
    drained: signal => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    pause: () => log.push('pause'),
    resume: () => log.push('resume'),
    close: async () => void log.push('close'),
    abort: () => log.push('abort')
  }
  return { stream: new FrameStream({ clock, ...end('P', max) }, pipe), log, sent, pipe }
}
async function readFrame(stream: FrameStream): Promise<Uint8Array | undefined> {
  const n = await stream.next()
  if (n === undefined) return undefined
  const bytes = new Uint8Array(n)
  await stream.read(bytes)
  return bytes
}

test('frames arrive whole and in order, whatever pieces the network makes of them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 90 })),
      async (frames, cuts) => {
        const writer = alone()
        for (const f of frames) await writer.stream.send(f.subarray(0, 2), f.subarray(2))
        const bytes = Buffer.concat(writer.sent)
        const reader = alone()
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const n = cuts.length > 0 ? cuts[i % cuts.length]! : bytes.length
          reader.stream.onBytes(Uint8Array.from(bytes.subarray(at, at + n)))
          at += n
        }
        reader.stream.onEnd()
        for (const f of frames) assert.deepEqual(await readFrame(reader.stream), Uint8Array.from(f))
        assert.equal(await reader.stream.next(), undefined)
        await writer.stream[Symbol.asyncDispose]()
        await reader.stream[Symbol.asyncDispose]()
      }
    )
  )
})

test('any bytes are frames or a broken stream, never anything else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async bytes => {
      const { stream } = alone(40)
      stream.onBytes(bytes)
      stream.onEnd()
      try {
        while (await readFrame(stream)) {}
      } catch (e) {
        assert.ok(hasCode(e, 'PEER_PROTOCOL'), String(e))
      }
      await stream[Symbol.asyncDispose]()
    })
  )
})

test('CO8: a length above the limit, too long or with a needless byte ends the stream before memory is taken', async () => {
  for (const bytes of [
    [0xe9, 0x07],
    [0xff, 0xff, 0xff, 0xff, 0x0f],
    [0x81, 0x00],
    [0x80, 0x80, 0x80, 0x80]
  ]) {
    const { stream, log } = alone()
    stream.onBytes(Uint8Array.from(bytes))
    await assert.rejects(stream.next(), code('PEER_PROTOCOL'))
    assert.ok(stream.closed.aborted)
    assert.deepEqual(log, ['abort'])
  }
})

test('a reader may skip the rest of a frame, and never reads beyond it', async () => {
  await using a = pair()[0]
  const { stream } = alone()
  await using _ = stream
  stream.onBytes(Uint8Array.of(3, 1, 2, 3, 2, 4, 5))
  assert.equal(await stream.next(), 3)
  await stream.read(new Uint8Array(1))
  assert.equal(await stream.next(), 2)
  await assert.rejects(stream.read(new Uint8Array(3)), code('PEER_PROTOCOL'))
  await assert.rejects(a.send(new Uint8Array(2 ** 20 + 1)), code('BAD_METHOD'))
})

test('while nobody reads, the pipe is paused and the sender waits', async () => {
  const [a, b] = pair()
  await using _a = a
  await using _b = b
  let sent = 0
  const sending = (async () => {
    for (let i = 0; i < 40; i++, sent++) await a.send(new Uint8Array(64 * 1024))
  })()
  let last = -1
  await eventually('the sender waits', () => {
    const still = sent === last
    last = sent
    return still
  })
  assert.ok(sent * 64 * 1024 <= 3 * READ_AHEAD_BYTES, `${sent} frames were taken`)
  for (let i = 0; i < 40; i++) assert.equal((await readFrame(b))!.length, 64 * 1024)
  await within(5000, 'the rest', sending)
})

test('the other end closing, breaking off or vanishing each has its meaning', async () => {
  const [a, b] = pair()
  await a.send(Uint8Array.of(1))
  await a.close()
  assert.deepEqual(await readFrame(b), Uint8Array.of(1))
  assert.equal(await b.next(), undefined)
  await b[Symbol.asyncDispose]()

  const [c, d] = pair()
  const waiting = assert.rejects(d.next(), code('PEER_PROTOCOL'))
  await c[Symbol.asyncDispose]()
  await waiting
  await assert.rejects(c.send(Uint8Array.of(1)), code('STREAM_CLOSED'))
  await assert.rejects(c.next(), code('STREAM_CLOSED'))

  const { stream } = alone()
  stream.onBytes(Uint8Array.of(5, 1))
  stream.onEnd()
  assert.equal(await stream.next(), 5)
  await assert.rejects(stream.read(new Uint8Array(5)), code('PEER_PROTOCOL'))
})

test('a read that is cut off leaves its target alone afterwards', async () => {
  const { stream } = alone()
  stream.onBytes(Uint8Array.of(4, 1))
  await stream.next()
  const target = new Uint8Array(4)
  const reading = assert.rejects(stream.read(target), code('STREAM_CLOSED'))
  await eventually('the first byte', () => target[0] === 1)
  await stream[Symbol.asyncDispose]()
  target.fill(9)
  stream.onBytes(Uint8Array.of(2, 3, 4))
  await reading
  assert.deepEqual(target, Uint8Array.of(9, 9, 9, 9))
})

test('CO1, CO2, CO15: silence between frames, in a frame, and a peer that does not read end the stream in time', async () => {
  const cases: readonly (readonly [string, number, (s: ReturnType<typeof alone>) => Promise<unknown>])[] = [
    ['nothing', STREAM_IDLE_MS, s => s.stream.next()],
    [
      'half a frame',
      STREAM_STALL_MS,
      async s => {
        s.stream.onBytes(Uint8Array.of(9, 1))
        await s.stream.next()
        await s.stream.read(new Uint8Array(9))
      }
    ],
    [
      'a reader that sleeps',
      STREAM_STALL_MS,
      s => {
        s.pipe.write = () => false
        return s.stream.send(new Uint8Array(10))
      }
    ]
  ]
  for (const [name, ms, work] of cases) {
    const clock = new FakeClock()
    const s = alone(1000, clock)
    let failed: unknown
    work(s).catch(e => (failed = e))
    await clock.advance(0)
    await clock.advance(ms - 6000)
    assert.equal(failed, undefined, name)
    await clock.advance(12_000)
    await eventually(name, () => failed !== undefined)
    assert.ok(hasCode(failed, 'PEER_TIMEOUT'), `${name}: ${String(failed)}`)
  }
})

test('a stream on which nobody waits for the other side is not ended for silence', async () => {
  const clock = new FakeClock()
  const { stream } = alone(1000, clock)
  await clock.advance(10 * STREAM_IDLE_MS)
  assert.equal(stream.closed.aborted, false)
  await stream[Symbol.asyncDispose]()
})
