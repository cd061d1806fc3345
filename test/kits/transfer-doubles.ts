/**
 * Test doubles for both ends of a transfer protocol: a share, a share index and an upload gate that live in memory, and a delivery
 * that notices when a source breaks the slot rules. The sockets between them are the real thing.
 */
import assert from 'node:assert/strict'
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { bytesToHex } from '../../src/base/bytes.ts'
import { KithError } from '../../src/base/errors.ts'
import type { Ed2kDigest, V2Digest } from '../../src/transfer/digests.ts'
import { chunkLength, chunkOffset, type Grid, makeGrid } from '../../src/transfer/grid.ts'
import type { Customer, Delivery, Share, ShareIndex, Slot, Ticket, UploadGate } from '../../src/transfer/protocol.ts'
import type { Range } from '../../src/wire/ranges.ts'

/** Without a loop over millions of bytes. */
const isAll = (bytes: Uint8Array, value: number): boolean => Buffer.compare(bytes, Buffer.alloc(bytes.length, value)) === 0

/** `size` bytes that depend only on `seed`; fast enough for hundreds of MiB. */
export function seededBytes(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const key = createHash('sha256').update(`kith test bytes ${seed}`).digest().subarray(0, 16)
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  return new Uint8Array(cipher.update(Buffer.alloc(size)))
}

export interface MemoryShareOptions {
  readonly name?: string
  readonly mime?: string
  readonly pricePerMb?: bigint
  /** Chunks it has at first; all by default. */
  readonly chunks?: Iterable<number>
  readonly v2?: V2Digest
  readonly ed2k?: Ed2kDigest
}

/** A share whose file is in memory. `changed = true` makes reads fail as if the file on disk had been edited. */
export class MemoryShare implements Share {
  readonly content: Uint8Array<ArrayBuffer>
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly grid: Grid
  readonly name: string
  readonly mime: string
  readonly pricePerMb: bigint
  readonly pieces: Uint8Array
  readonly v2: V2Digest | undefined
  readonly ed2k: Ed2kDigest | undefined
  changed: boolean = false
  /** Bytes that a server asked for so far. */
  bytesRead: number = 0
  readonly #chunks: Set<number>
  readonly #listeners = new Set<(chunk: number) => void>()

  constructor(content: Uint8Array<ArrayBuffer>, options: MemoryShareOptions = {}) {
    this.content = content
    this.grid = makeGrid(content.length)
    this.fileId = createHash('sha256').update(content).digest()
    this.root = createHash('sha256').update('test root').update(this.fileId).digest()
    this.name = options.name ?? 'file.bin'
    this.mime = options.mime ?? 'application/octet-stream'
    this.pricePerMb = options.pricePerMb ?? 0n
    this.v2 = options.v2
    this.ed2k = options.ed2k
    this.#chunks = new Set(options.chunks ?? Array.from({ length: this.grid.count }, (_, i) => i))
    this.pieces = Buffer.concat(Array.from({ length: this.grid.count }, (_, i) => createHash('sha1').update(this.chunk(i)).digest()))
  }

  get hex(): string {
    return bytesToHex(this.fileId)
  }
  /** The bytes that chunk `i` must have. */
  chunk(i: number): Uint8Array {
    const at = chunkOffset(this.grid, i)
    return this.content.subarray(at, at + chunkLength(this.grid, i))
  }
  has(chunk: number): boolean {
    return this.#chunks.has(chunk)
  }
  async read(offset: number, length: number, target: Uint8Array): Promise<void> {
    await new Promise(resolve => setImmediate(resolve)) // a disk never answers in the same turn
    if (this.changed) throw new KithError('FILE_CHANGED', 'the file is no longer what was shared')
    assert.ok(offset >= 0 && length > 0 && offset + length <= this.grid.size, `read outside the file: ${offset}+${length}`)
    const end = Math.floor((offset + length - 1) / this.grid.chunkBytes)
    for (let c = Math.floor(offset / this.grid.chunkBytes); c <= end; c++) assert.ok(this.has(c), `read of chunk ${c}, which is not there`)
    target.set(this.content.subarray(offset, offset + length))
    this.bytesRead += length
  }
  onChunk(listener: (chunk: number) => void, signal: AbortSignal): void {
    this.#listeners.add(listener)
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true })
  }
  /** A running download got one more chunk. */
  add(chunk: number): void {
    this.#chunks.add(chunk)
    for (const listener of [...this.#listeners]) listener(chunk)
  }
}

/** Shares by file id, and by info-hash for protocols that name them so. */
export function shareIndex(shares: readonly Share[], infoHashOf?: (share: Share) => Uint8Array): ShareIndex {
  const byFileId = new Map(shares.map(s => [bytesToHex(s.fileId), s]))
  const byInfoHash = new Map(infoHashOf ? shares.map(s => [bytesToHex(infoHashOf(s)), s]) : [])
  const byEd2k = new Map(shares.flatMap(s => (s.ed2k ? [[bytesToHex(s.ed2k.hash), s] as const] : [])))
  return { byFileId: hex => byFileId.get(hex), byInfoHash: hex => byInfoHash.get(hex), byEd2k: hex => byEd2k.get(hex) }
}

/** Serves free shares always and paid ones up to `credit` bytes per ticket. */
export class TestGate implements UploadGate {
  /** Bytes of credit left, by ticket id in hex. */
  readonly credit: Map<string, number> = new Map()
  readonly #customers = new Map<string, { readonly customer: Customer; readonly share: Share }>()
  /** Every admitted piece of a chunk. */
  readonly admitted: { readonly chunk: number; readonly bytes: number; readonly peerId: string | undefined }[] = []
  sentBytes: number = 0
  /** Called before each decision: lets a test wait or count. */
  onAdmit: (chunk: number) => undefined | Promise<void> = () => undefined

  /** Issues a ticket for one share with some credit. */
  issue(share: Share, creditBytes: number, expiresAt: number = Date.now() + 3_600_000): Ticket {
    const ticket: Ticket = { id: randomBytes(16), key: randomBytes(32), expiresAt }
    const customer: Customer = {
      peerId: `peer-${this.#customers.size}`,
      instance: '11'.repeat(32),
      wallet: new Uint8Array(20).fill(1),
      address: '127.0.0.1',
      ticket
    }
    this.#customers.set(bytesToHex(ticket.id), { customer, share })
    this.credit.set(bytesToHex(ticket.id), creditBytes)
    return ticket
  }
  addCredit(ticket: Ticket, bytes: number): void {
    const id = bytesToHex(ticket.id)
    this.credit.set(id, (this.credit.get(id) ?? 0) + bytes)
  }
  async admit(
    share: Share,
    customer: Customer | undefined,
    chunk: number,
    bytes: number,
    signal: AbortSignal
  ): Promise<string | undefined> {
    await raceAbort(this.onAdmit(chunk), signal)
    if (share.pricePerMb > 0n) {
      if (!customer) return 'this file is paid and no ticket was shown'
      const id = bytesToHex(customer.ticket.id)
      const left = this.credit.get(id) ?? 0
      if (left < bytes) return 'the credit is used up'
      this.credit.set(id, left - bytes)
    }
    this.admitted.push({ chunk, bytes, peerId: customer?.peerId })
    return undefined
  }
  customerOf(ticketId: Uint8Array, share: Share): Customer | undefined {
    const found = this.#customers.get(bytesToHex(ticketId))
    return found && found.share === share && found.customer.ticket.expiresAt > Date.now() ? found.customer : undefined
  }
  sent(_protocol: string, bytes: number): void {
    this.sentBytes += bytes
  }
}

async function raceAbort(work: undefined | Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  if (!work) return
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

const FRESH = 0xaa
const TAKEN = 0xee

export interface MemoryDeliveryOptions {
  /** Answer of `wants`; true by default. */
  readonly wants?: (chunk: number) => boolean
  /** Awaited before a slot is handed out; undefined: the slot is there at once. */
  readonly hold?: (chunk: number) => Promise<void> | undefined
}

/** Collects a run and checks on the way that the source keeps to the rules of `Delivery`. */
export class MemoryDelivery implements Delivery {
  readonly grid: Grid
  readonly run: Range
  /** Copies of completed chunks, in the order of completion. */
  readonly chunks: Map<number, Uint8Array> = new Map()
  receivedBytes: number = 0
  readonly #options: MemoryDeliveryOptions
  readonly #open = new Map<number, Slot>()
  readonly #taken: { readonly chunk: number; readonly slot: Slot }[] = []
  readonly #waiting: { readonly ready: () => boolean; readonly resolve: () => void }[] = []

  constructor(grid: Grid, run: Range, options: MemoryDeliveryOptions = {}) {
    this.grid = grid
    this.run = run
    this.#options = options
  }
  wants(chunk: number): boolean {
    this.#inRun(chunk)
    return this.#options.wants?.(chunk) ?? true
  }
  slot(chunk: number): Slot | Promise<Slot> {
    this.#inRun(chunk)
    assert.ok(!this.#open.has(chunk) && !this.chunks.has(chunk), `chunk ${chunk}: the slot was asked for twice`)
    const give = (): Slot => {
      const slot: Slot = { bytes: new Uint8Array(new SharedArrayBuffer(this.grid.chunkBytes)).fill(FRESH) }
      this.#open.set(chunk, slot)
      return slot
    }
    const hold = this.#options.hold?.(chunk)
    return hold ? hold.then(give) : give()
  }
  received(n: number): void {
    assert.ok(Number.isInteger(n) && n > 0, `received(${n})`)
    this.receivedBytes += n
    this.#wake()
  }
  complete(chunk: number): void {
    const slot = this.#open.get(chunk)
    assert.ok(slot, `chunk ${chunk} completed without an open slot`)
    this.#open.delete(chunk)
    const length = chunkLength(this.grid, chunk)
    this.chunks.set(chunk, Uint8Array.from(slot.bytes.subarray(0, length)))
    assert.ok(isAll(slot.bytes.subarray(length), FRESH), `chunk ${chunk}: bytes after its end`)
    slot.bytes.fill(TAKEN)
    this.#taken.push({ chunk, slot })
    this.#wake()
  }
  /** Resolves as soon as `ready()` is true; it is asked again whenever something arrives. */
  until(ready: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push({ ready, resolve })
      this.#wake()
    })
  }
  /** Fails when a slot was written to after it had been handed over. */
  assertUntouched(): void {
    for (const { chunk, slot } of this.#taken) assert.ok(isAll(slot.bytes, TAKEN), `chunk ${chunk}: written to after complete()`)
  }
  /** Fails unless every completed chunk holds the share's bytes. */
  assertMatches(share: MemoryShare): void {
    for (const [chunk, bytes] of this.chunks) assert.ok(Buffer.compare(bytes, share.chunk(chunk)) === 0, `chunk ${chunk} has wrong bytes`)
    this.assertUntouched()
  }

  #inRun(chunk: number): void {
    assert.ok(chunk >= this.run.first && chunk < this.run.first + this.run.count, `chunk ${chunk} is not in the run`)
  }
  #wake(): void {
    for (const w of [...this.#waiting]) {
      if (!w.ready()) continue
      this.#waiting.splice(this.#waiting.indexOf(w), 1)
      w.resolve()
    }
  }
}

/** Asks until `ready` is true; fails with `what` after `deadlineMs`. */
export async function eventually(what: string, ready: () => boolean | Promise<boolean>, deadlineMs = 5000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!(await ready())) {
    if (performance.now() > end) assert.fail(`not within ${deadlineMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** Fails when `work` takes longer than `ms`; the timer does not keep the process alive afterwards. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new assert.AssertionError({ message: `not within ${ms} ms: ${what}` })), ms)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
