/**
 * The serving half of a connection: a queue of requests, answered in order. Neighbouring blocks are read from the share in one go
 * and leave in one write; two buffers alternate, so that the disk works while the socket does. Each chunk passes the gate once,
 * before its first byte.
 */
import { KithError } from '../../base/errors.ts'
import { chunkLength, chunkOffset } from '../grid.ts'
import type { Customer, Share, UploadGate } from '../protocol.ts'
import { MAX_OPEN_CHUNKS, MAX_QUEUED_REQUESTS, SEND_BYTES } from './limits.ts'
import { type Block, PIECE_HEADER_BYTES, protocolError, writePieceHeader } from './messages.ts'
import type { PeerWire } from './peer.node.ts'

const MAX_GROUP = 64
const BUFFER_BYTES = SEND_BYTES + MAX_GROUP * PIECE_HEADER_BYTES
const KEPT_BUFFERS = 16
/** Buffers that no connection uses at the moment. */
const spare: Uint8Array<ArrayBuffer>[] = []

export interface UploaderDeps {
  readonly wire: PeerWire
  readonly share: Share
  readonly gate: UploadGate
  /** Name for the gate's figures. */
  readonly protocol: string
  /** The peer knows `reject`. */
  readonly fast: boolean
  /** Says in words why no more is served. */
  tellNeed(reason: string): void
}

export class Uploader implements AsyncDisposable {
  readonly share: Share
  customer: Customer | undefined
  readonly #deps: UploaderDeps
  readonly #stop = new AbortController()
  #queue: Block[] = []
  #choking = true
  #running: Promise<void> | undefined
  /** Bytes of admitted chunks that have not left yet. */
  readonly #open = new Map<number, number>()
  #buffersOut = 0
  #onBuffer: (() => void) | undefined

  constructor(deps: UploaderDeps) {
    this.#deps = deps
    this.share = deps.share
  }

  get choking(): boolean {
    return this.#choking
  }
  unchoke(): void {
    if (!this.#choking) return
    this.#choking = false
    this.#deps.wire.send({ kind: 'unchoke' })
  }

  /** @throws PEER_WIRE beyond 2,000 waiting requests */
  request(block: Block): void {
    if (this.#choking || this.#stop.signal.aborted) {
      this.#refuse(block)
      return
    }
    if (this.#queue.length >= MAX_QUEUED_REQUESTS) throw protocolError('too many requests are waiting')
    this.#queue.push({ piece: block.piece, begin: block.begin, length: block.length })
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  cancel({ piece, begin, length }: Block): void {
    const at = this.#queue.findIndex(q => q.piece === piece && q.begin === begin && q.length === length)
    if (at >= 0) this.#refuse(this.#queue.splice(at, 1)[0]!)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new KithError('SOURCE_LOST', 'the connection ended'))
    this.#queue = []
    this.#onBuffer?.()
    await this.#running
  }

  #refuse({ piece, begin, length }: Block): void {
    if (this.#deps.fast) this.#deps.wire.send({ kind: 'reject', piece, begin, length })
  }

  async #run(): Promise<void> {
    try {
      await Promise.resolve() // the rest of this read may bring neighbours of the first request
      while (this.#queue.length > 0 && !this.#stop.signal.aborted) await this.#serveNext()
    } catch (error) {
      if (!this.#stop.signal.aborted)
        this.#deps.wire.close(new KithError('SOURCE_LOST', 'the file cannot be served any more', {}, { cause: error }))
    }
  }

  async #serveNext(): Promise<void> {
    const { share } = this.#deps
    const { piece } = this.#queue[0]!
    if (!share.has(piece)) return this.#refuse(this.#queue.shift()!)
    if (!this.#open.has(piece) && !(await this.#admit(piece))) return
    const group = this.#takeGroup(piece)
    if (group.length === 0) return
    const buffer = await this.#takeBuffer()
    if (this.#stop.signal.aborted) return this.#giveBack(buffer)
    const head = group.length * PIECE_HEADER_BYTES
    const bytes = group.reduce((n, b) => n + b.length, 0)
    try {
      await share.read(chunkOffset(share.grid, piece) + group[0]!.begin, bytes, buffer.subarray(head, head + bytes))
    } catch (error) {
      this.#giveBack(buffer)
      throw error
    }
    this.#pack(group, buffer, head)
    this.#spend(piece, bytes)
    this.#deps.wire.write(buffer.subarray(0, head + bytes), () => this.#giveBack(buffer))
    this.#deps.gate.sent(this.#deps.protocol, bytes)
  }

  /** Asks the gate for a whole chunk: it is charged once however it is cut into blocks. */
  async #admit(piece: number): Promise<boolean> {
    const { share, gate, tellNeed } = this.#deps
    const bytes = chunkLength(share.grid, piece)
    const reason = await gate.admit(share, this.customer, piece, bytes, this.#stop.signal)
    if (this.#stop.signal.aborted) return false
    if (reason === undefined) {
      if (this.#open.size >= MAX_OPEN_CHUNKS) this.#open.delete(this.#open.keys().next().value!) // oldest first
      this.#open.set(piece, bytes)
      return true
    }
    tellNeed(reason)
    const refused = this.#queue
    this.#queue = []
    for (const block of refused) this.#refuse(block)
    return false
  }

  #spend(piece: number, bytes: number): void {
    const left = this.#open.get(piece)! - bytes
    if (left > 0) this.#open.set(piece, left)
    else this.#open.delete(piece)
  }

  /** Requests from the head of the queue that are one stretch of one piece. */
  #takeGroup(piece: number): Block[] {
    const queue = this.#queue
    let n = 0
    let bytes = 0
    while (n < queue.length && n < MAX_GROUP) {
      const b = queue[n]!
      if (b.piece !== piece || bytes + b.length > SEND_BYTES) break
      if (n > 0 && b.begin !== queue[n - 1]!.begin + queue[n - 1]!.length) break
      bytes += b.length
      n++
    }
    return queue.splice(0, n)
  }

  /** The blocks were read behind room for all headers: each moves forward to its place, never over one that has not moved yet. */
  #pack(group: readonly Block[], buffer: Uint8Array, head: number): void {
    let from = head
    let to = 0
    for (const b of group) {
      writePieceHeader(buffer, to, b)
      to += PIECE_HEADER_BYTES
      if (to !== from) buffer.copyWithin(to, from, from + b.length)
      to += b.length
      from += b.length
    }
  }

  async #takeBuffer(): Promise<Uint8Array<ArrayBuffer>> {
    while (this.#buffersOut >= 2 && !this.#stop.signal.aborted) {
      const free = Promise.withResolvers<void>()
      this.#onBuffer = free.resolve
      await free.promise
    }
    this.#buffersOut++
    return spare.pop() ?? new Uint8Array(BUFFER_BYTES)
  }

  #giveBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#buffersOut--
    if (spare.length < KEPT_BUFFERS) spare.push(buffer)
    this.#onBuffer?.()
  }
}
