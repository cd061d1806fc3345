/**
 * What every transfer protocol must show (src/transfer/protocol.ts). Call it from a test file:
 * `transferProtocolKit({ name, serve, protocol })`. Server and client are joined by real sockets on loopback.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import { KithError } from '../../src/base/errors.ts'
import type { Endpoint, Share, ShareIndex, Source, Ticket, TransferProtocol, UploadGate } from '../../src/transfer/protocol.ts'
import { CHUNK_BYTES } from '../../src/wire/limits.ts'
import {
  eventually,
  MemoryDelivery,
  type MemoryDeliveryOptions,
  MemoryShare,
  seededBytes,
  shareIndex,
  TestGate,
  within
} from './transfer-doubles.ts'

export interface Serving extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** What an offer would carry for this share. */
  extraOf(share: Share): Uint8Array
}

export interface ProtocolUnderTest {
  readonly name: string
  serve(shares: ShareIndex, gate: UploadGate): Promise<Serving>
  protocol(): TransferProtocol
  /** For protocols that look shares up by info-hash. */
  readonly infoHashOf?: (share: Share) => Uint8Array
  /** The protocol carries no tickets: paid shares are refused, and that is all. */
  readonly freeOnly?: boolean
}

const MIB = 2 ** 20
/** How long anything on loopback may take before a test says what it waited for. */
const LONG_MS = 10_000

/** Server, protocol and gate of one test; disposed in reverse order. */
class Rig implements AsyncDisposable {
  readonly gate: TestGate
  readonly #subject: ProtocolUnderTest
  readonly #serving: Serving
  readonly #protocol: TransferProtocol
  readonly #stack: AsyncDisposableStack

  constructor(subject: ProtocolUnderTest, gate: TestGate, serving: Serving, protocol: TransferProtocol, stack: AsyncDisposableStack) {
    this.#subject = subject
    this.gate = gate
    this.#serving = serving
    this.#protocol = protocol
    this.#stack = stack
  }
  static async open(subject: ProtocolUnderTest, ...shares: MemoryShare[]): Promise<Rig> {
    await using stack = new AsyncDisposableStack()
    const gate = new TestGate()
    const serving = stack.use(await subject.serve(shareIndex(shares, subject.infoHashOf), gate))
    const protocol = stack.use(subject.protocol())
    return new Rig(subject, gate, serving, protocol, stack.move())
  }
  async source(share: MemoryShare, ticket?: Ticket): Promise<Source> {
    const endpoint: Endpoint = {
      host: this.#serving.host,
      port: this.#serving.port,
      extra: this.#serving.extraOf(share),
      fileId: share.fileId,
      grid: share.grid,
      seeder: '22'.repeat(32),
      ticket
    }
    const source = await within(LONG_MS, 'openSource', this.#protocol.openSource(endpoint, new AbortController().signal))
    assert.equal(source.protocol, this.#subject.name)
    assert.equal(source.seeder, '22'.repeat(32))
    assert.ok(source.parallel >= 1 && source.maxRun >= 1)
    return source
  }
  stopServing(): Promise<void> {
    return Promise.resolve(this.#serving[Symbol.asyncDispose]())
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

interface FetchOptions extends MemoryDeliveryOptions {
  readonly first?: number
  readonly count?: number
  readonly signal?: AbortSignal
}

function begin(source: Source, share: MemoryShare, options: FetchOptions = {}): { delivery: MemoryDelivery; done: Promise<void> } {
  const first = options.first ?? 0
  const count = Math.min(options.count ?? share.grid.count - first, source.maxRun)
  const delivery = new MemoryDelivery(share.grid, { first, count }, options)
  const done = source.fetch(delivery, options.signal ?? new AbortController().signal)
  done.catch(() => {}) // a test may look at it later
  return { delivery, done }
}

async function fetchAll(source: Source, share: MemoryShare): Promise<void> {
  for (let first = 0; first < share.grid.count; first += source.maxRun) {
    const { delivery, done } = begin(source, share, { first })
    await within(LONG_MS, `chunks from ${first}`, done)
    assert.equal(delivery.chunks.size, delivery.run.count)
    assert.equal(
      delivery.receivedBytes,
      [...delivery.chunks.values()].reduce((n, b) => n + b.length, 0)
    )
    delivery.assertMatches(share)
  }
}

async function rejectsWith(work: Promise<unknown>, codes: readonly string[], what: string): Promise<KithError> {
  const error = await within(
    LONG_MS,
    what,
    work.then(
      () => undefined,
      e => e as unknown
    )
  )
  assert.ok(error instanceof KithError, `${what}: expected ${codes.join(' or ')}, got ${String(error)}`)
  assert.ok(codes.includes(error.code), `${what}: expected ${codes.join(' or ')}, got ${error.code}: ${error.message}`)
  return error
}

/** Opens a source, or runs `fetch` on it: some protocols learn at once what others learn at the first request. */
async function openAndFetch(rig: Rig, share: MemoryShare, ticket?: Ticket): Promise<void> {
  await using source = await rig.source(share, ticket)
  await begin(source, share, { count: 1 }).done
}

/** Registers the tests of the kit for one protocol. */
export function transferProtocolKit(subject: ProtocolUnderTest): void {
  contentTests(subject)
  flowTests(subject)
  refusalTests(subject)
  paymentTests(subject)
  endTests(subject)
}

function contentTests(subject: ProtocolUnderTest): void {
  for (const size of [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * MIB + 3]) {
    test(`${subject.name}: every chunk of a file of ${size} bytes arrives byte-exact in its slot`, async () => {
      const share = new MemoryShare(seededBytes(size, size))
      await using rig = await Rig.open(subject, share)
      await using source = await rig.source(share)
      await fetchAll(source, share)
      await eventually('the gate heard of the bytes that left', () => rig.gate.sentBytes >= size)
    })
  }
  test(`${subject.name}: single chunks can be fetched in any order, again and again`, async () => {
    const share = new MemoryShare(seededBytes(2 * MIB + 17))
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    for (const first of [8, 0, 3, 3, 7]) {
      const { delivery, done } = begin(source, share, { first, count: 1 })
      await within(LONG_MS, `chunk ${first}`, done)
      assert.deepEqual([...delivery.chunks.keys()], [first])
      delivery.assertMatches(share)
    }
  })
  test(`${subject.name}: two fetches at once deliver both runs`, async () => {
    const share = new MemoryShare(seededBytes(4 * MIB))
    await using rig = await Rig.open(subject, share)
    await using one = await rig.source(share)
    await using other = await rig.source(share)
    const runs = [begin(one, share, { first: 0, count: 8 }), begin(one.parallel > 1 ? one : other, share, { first: 8, count: 8 })]
    await within(LONG_MS, 'two runs', Promise.all(runs.map(r => r.done)))
    for (const { delivery } of runs) {
      assert.equal(delivery.chunks.size, delivery.run.count)
      delivery.assertMatches(share)
    }
  })
}

function flowTests(subject: ProtocolUnderTest): void {
  test(`${subject.name}: a run ends early when its next chunk is no longer wanted, and the source goes on`, async () => {
    const share = new MemoryShare(seededBytes(3 * MIB))
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    const { delivery, done } = begin(source, share, { wants: chunk => chunk < 4 })
    await within(LONG_MS, 'the shortened run', done)
    assert.deepEqual(
      [...delivery.chunks.keys()].sort((a, b) => a - b),
      [0, 1, 2, 3].slice(0, source.maxRun)
    )
    delivery.assertMatches(share)
    const next = begin(source, share, { first: 10, count: 1 })
    await within(LONG_MS, 'a later run', next.done)
    next.delivery.assertMatches(share)
    delivery.assertUntouched()
  })
  test(`${subject.name}: while slots are in use nothing more is read than fits the kernel's buffers`, async () => {
    const share = new MemoryShare(seededBytes(48 * MIB))
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    const free = Promise.withResolvers<void>()
    const { delivery, done } = begin(source, share, { hold: chunk => (chunk < 2 ? undefined : free.promise) })
    const wanted = Math.min(2, delivery.run.count)
    await within(
      LONG_MS,
      'the free slots fill',
      delivery.until(() => delivery.chunks.size === wanted)
    )
    let last = -1
    await eventually('the seeder stops reading', async () => {
      const before = share.bytesRead
      await new Promise(resolve => setTimeout(resolve, 100)) // a pause in which a source without back-pressure would read on
      const still = before === share.bytesRead && before === last
      last = before
      return still
    })
    assert.ok(delivery.receivedBytes <= wanted * CHUNK_BYTES + 64 * 1024, `${delivery.receivedBytes} bytes were taken without a slot`)
    if (delivery.run.count >= 64) assert.ok(share.bytesRead < delivery.run.count * CHUNK_BYTES, 'the whole run was pulled without slots')
    free.resolve()
    await within(LONG_MS, 'the run after slots came free', done)
    assert.equal(delivery.chunks.size, delivery.run.count)
    delivery.assertMatches(share)
  })
  test(`${subject.name}: an aborted fetch ends within a second and touches no slot afterwards`, async () => {
    const share = new MemoryShare(seededBytes(16 * MIB))
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    const stop = new AbortController()
    const never = Promise.withResolvers<void>()
    const { delivery, done } = begin(source, share, { signal: stop.signal, hold: chunk => (chunk < 3 ? undefined : never.promise) })
    await within(
      LONG_MS,
      'some bytes',
      delivery.until(() => delivery.receivedBytes > 0)
    )
    stop.abort(new Error('the test ended it'))
    await within(1000, 'the aborted fetch', assert.rejects(done))
    const then = delivery.receivedBytes
    never.resolve()
    await using other = await rig.source(share)
    const again = begin(other, share, { first: 1, count: 2 })
    await within(LONG_MS, 'another fetch', again.done)
    again.delivery.assertMatches(share)
    assert.equal(delivery.receivedBytes, then)
    delivery.assertUntouched()
  })
  test(`${subject.name}: a fetch whose signal is already aborted rejects and asks for no slot`, async () => {
    const share = new MemoryShare(seededBytes(MIB))
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    const { delivery, done } = begin(source, share, { signal: AbortSignal.abort(new Error('too late')) })
    await within(1000, 'the aborted fetch', assert.rejects(done))
    assert.equal(delivery.receivedBytes, 0)
  })
}

function refusalTests(subject: ProtocolUnderTest): void {
  test(`${subject.name}: a partial share gives what it has, refuses the rest, and gives that once it arrives`, async () => {
    const share = new MemoryShare(seededBytes(2 * MIB), { chunks: [0, 1, 5] })
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    for (const first of [5, 0]) {
      assert.ok(source.has(first), `has(${first})`)
      const { delivery, done } = begin(source, share, { first, count: 1 })
      await within(LONG_MS, `chunk ${first}`, done)
      delivery.assertMatches(share)
    }
    if (source.has(3)) await rejectsWith(begin(source, share, { first: 3, count: 1 }).done, ['SOURCE_BUSY'], 'a missing chunk')
    share.add(3)
    await eventually('the new chunk can be had', () => source.has(3), LONG_MS)
    const { delivery, done } = begin(source, share, { first: 3, count: 1 })
    await within(LONG_MS, 'the new chunk', done)
    delivery.assertMatches(share)
  })
  test(`${subject.name}: a share without any chunk gives nothing and harms nobody`, async () => {
    const share = new MemoryShare(seededBytes(MIB), { chunks: [] })
    const whole = new MemoryShare(seededBytes(MIB, 2))
    await using rig = await Rig.open(subject, share, whole)
    const empty = await rig.source(share).catch((error: unknown) => {
      assert.ok(error instanceof KithError, String(error))
      return undefined
    })
    await using _ = empty
    if (empty?.has(0)) await rejectsWith(begin(empty, share, { count: 1 }).done, ['SOURCE_BUSY'], 'a chunk of an empty share')
    await using source = await rig.source(whole)
    await fetchAll(source, whole)
  })
  test(`${subject.name}: a file that changed on disk ends its transfer, not the server`, async () => {
    const share = new MemoryShare(seededBytes(8 * MIB))
    const other = new MemoryShare(seededBytes(MIB, 2))
    await using rig = await Rig.open(subject, share, other)
    await using source = await rig.source(share)
    const first = begin(source, share, { count: 1 })
    await within(LONG_MS, 'the first chunk', first.done)
    share.changed = true
    await rejectsWith(begin(source, share, { first: 20, count: 8 }).done, ['SOURCE_LOST', 'SOURCE_BUSY'], 'a fetch of a changed file')
    await using good = await rig.source(other)
    await fetchAll(good, other)
  })
}

function paymentTests(subject: ProtocolUnderTest): void {
  test(`${subject.name}: a paid share without a ticket answers PAYMENT_REQUIRED and sends nothing`, async () => {
    const share = new MemoryShare(seededBytes(MIB), { pricePerMb: 1000n })
    await using rig = await Rig.open(subject, share)
    await rejectsWith(openAndFetch(rig, share), ['PAYMENT_REQUIRED'], 'a fetch without a ticket')
    assert.deepEqual(rig.gate.admitted, [])
    assert.equal(rig.gate.sentBytes, 0)
  })
  if (subject.freeOnly) return
  test(`${subject.name}: a ticket with credit fetches a paid share, charged exactly once per chunk`, async () => {
    const share = new MemoryShare(seededBytes(3 * MIB + 5), { pricePerMb: 1000n })
    await using rig = await Rig.open(subject, share)
    const ticket = rig.gate.issue(share, share.grid.size)
    await using source = await rig.source(share, ticket)
    await fetchAll(source, share)
    assert.equal(
      rig.gate.admitted.reduce((n, a) => n + a.bytes, 0),
      share.grid.size
    )
    assert.ok(rig.gate.admitted.every(a => a.peerId === 'peer-0'))
  })
  test(`${subject.name}: when credit ends in the middle the fetch says PAYMENT_REQUIRED, and goes on after it returns`, async () => {
    const share = new MemoryShare(seededBytes(3 * MIB), { pricePerMb: 1000n })
    await using rig = await Rig.open(subject, share)
    const ticket = rig.gate.issue(share, 5 * CHUNK_BYTES)
    await using source = await rig.source(share, ticket)
    const { delivery, done } = begin(source, share)
    const error = await rejectsWith(done, ['PAYMENT_REQUIRED'], 'a fetch beyond the credit')
    assert.equal(typeof error.data['reason'], 'string', 'data.reason says why')
    assert.equal(delivery.chunks.size, 5)
    delivery.assertMatches(share)
    rig.gate.addCredit(ticket, 7 * CHUNK_BYTES)
    const left = Array.from({ length: share.grid.count }, (_, i) => i).filter(i => !delivery.chunks.has(i))
    for (const first of left) {
      const next = begin(source, share, { first, count: 1 })
      await within(LONG_MS, `chunk ${first} after paying`, next.done)
      next.delivery.assertMatches(share)
    }
    assert.equal(
      rig.gate.admitted.reduce((n, a) => n + a.bytes, 0),
      share.grid.size
    )
  })
}

function endTests(subject: ProtocolUnderTest): void {
  test(`${subject.name}: a seeder that goes away in the middle of a run is SOURCE_LOST`, async () => {
    const share = new MemoryShare(seededBytes(16 * MIB))
    await using rig = await Rig.open(subject, share)
    await using source = await rig.source(share)
    const never = Promise.withResolvers<void>()
    rig.gate.onAdmit = chunk => (chunk < 2 ? undefined : never.promise)
    const { delivery, done } = begin(source, share)
    await within(
      LONG_MS,
      'the first chunk',
      delivery.until(() => delivery.chunks.size >= 1)
    )
    await within(LONG_MS, 'the server to stop', rig.stopServing())
    await rejectsWith(done, ['SOURCE_LOST'], 'a fetch from a dead seeder')
    delivery.assertMatches(share)
  })
  test(`${subject.name}: nobody listens: opening or fetching is SOURCE_LOST`, async () => {
    const share = new MemoryShare(seededBytes(MIB))
    await using rig = await Rig.open(subject, share)
    await rig.stopServing()
    await rejectsWith(openAndFetch(rig, share), ['SOURCE_LOST'], 'a closed port')
  })
  test(`${subject.name}: disposal is idempotent and leaves no socket behind`, async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter(r => /TCP|Socket|UDP|TLS/i.test(r)).length
    const before = sockets()
    {
      const share = new MemoryShare(seededBytes(MIB))
      await using rig = await Rig.open(subject, share)
      const source = await rig.source(share)
      await fetchAll(source, share)
      await source[Symbol.asyncDispose]()
      await source[Symbol.asyncDispose]()
      await rejectsWith(begin(source, share, { count: 1 }).done, ['SOURCE_LOST'], 'a fetch from a disposed source')
      await rig.stopServing()
    }
    await eventually('sockets are closed', () => sockets() <= before)
  })
}
