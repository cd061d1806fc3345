/**
 * The body of an answer: read from the share into two pooled buffers, one being written while the next is read. Each chunk of a
 * piece is admitted just before the piece is written, so that what is charged is what was offered; when credit ends in the middle, what
 * was admitted is written and the connection is cut, and the client meets the 402 with its next request.
 */
import type { ServerResponse } from 'node:http'
import { KithError } from '../../base/errors.ts'
import type { Customer, Share, UploadGate } from '../protocol.ts'
import type { PacedGate } from '../upload-gate.ts'
import type { BufferPool } from './buffer-pool.ts'
import { READ_BYTES } from './limits.ts'
import type { ByteRange } from './range.ts'

/** A gate that may say how much to ask for at a time (../upload-gate.ts). */
export type Gate = UploadGate & Partial<Pick<PacedGate, 'pieceBytes'>>

interface BodyDeps {
  readonly protocol: string
  readonly gate: Gate
  readonly pool: BufferPool
  readonly writeStallMs: number
}

/** A part of one chunk or of several, read into a buffer. */
interface Piece {
  readonly at: number
  /** Shortened to what was admitted. */
  length: number
  readonly buffer: Uint8Array<ArrayBuffer>
}

/** Prepares to send `range` of `share` as the body of `res`. Disposal ends every wait and gives buffers back. */
export function openBody(deps: BodyDeps, share: Share, customer: Customer | undefined, range: ByteRange, res: ServerResponse): Body {
  return new Body(deps, share, customer, range, res)
}

export class Body implements AsyncDisposable {
  readonly #deps: BodyDeps
  readonly #share: Share
  readonly #customer: Customer | undefined
  readonly #res: ServerResponse
  readonly #gone = new AbortController()
  readonly #end: number
  #at: number
  #first: Piece | undefined
  /** Why the rest of the piece at hand, and all that follows, is not served. */
  #refusal: string | undefined
  #reading: Promise<Piece> | undefined

  constructor(deps: BodyDeps, share: Share, customer: Customer | undefined, range: ByteRange, res: ServerResponse) {
    this.#deps = deps
    this.#share = share
    this.#customer = customer
    this.#res = res
    this.#at = range.first
    this.#end = range.last + 1
    const onGone = (): void => this.#gone.abort(new KithError('SOURCE_LOST', 'the client closed the connection'))
    if (res.destroyed) onGone()
    else res.once('close', onGone)
  }

  /** Reads and admits the first piece, before anything is promised. @returns why it is refused @throws FILE_CHANGED */
  async prepare(): Promise<string | undefined> {
    this.#first = await this.#read()
    return (await this.#admit(this.#first)) ? undefined : this.#refusal
  }

  /** Writes everything; returns when the last byte is with the kernel, or cuts the connection when a later piece is refused. */
  async send(): Promise<void> {
    const { protocol, gate, pool, writeStallMs } = this.#deps
    let waiting = false
    this.#res.setTimeout(writeStallMs, () => {
      if (waiting) this.#res.destroy() // CO15: a reader that does not read
    })
    let piece = this.#first
    this.#first = undefined
    while (piece) {
      this.#reading = this.#at < this.#end ? this.#read() : undefined
      this.#reading?.catch(() => {}) // looked at below
      waiting = true
      gate.sent(protocol, piece.length) // before it can be heard of from the other side
      const written = await this.#write(piece)
      waiting = false
      if (!written) return
      pool.give(piece.buffer)
      if (this.#refusal !== undefined) return void this.#res.destroy()
      piece = await this.#reading
      this.#reading = undefined
      if (piece && !(await this.#admit(piece))) {
        pool.give(piece.buffer)
        return void this.#res.destroy()
      }
    }
    this.#res.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gone.abort()
    const rest = [this.#first, await this.#reading?.catch(() => undefined)]
    for (const piece of rest) if (piece) this.#deps.pool.give(piece.buffer)
    this.#first = undefined
  }

  async #read(): Promise<Piece> {
    const at = this.#at
    const chunk = Math.floor(at / this.#share.grid.chunkBytes)
    if (!this.#share.has(chunk)) throw new KithError('CHUNK_MISSING', 'a chunk of a long range is not there', { chunk })
    const most = this.#deps.gate.pieceBytes?.(this.#share, READ_BYTES) ?? READ_BYTES
    const length = Math.min(most, this.#end - at, this.#endOfPiece(chunk) - at)
    this.#at += length
    const buffer = this.#deps.pool.take()
    await this.#share.read(at, length, buffer.length === length ? buffer : buffer.subarray(0, length))
    return { at, length, buffer }
  }

  /** A piece goes on through the chunks that are here. */
  #endOfPiece(chunk: number): number {
    const { grid } = this.#share
    let next = chunk + 1
    while (next * grid.chunkBytes < this.#at + READ_BYTES && next < grid.count && this.#share.has(next)) next++
    return next * grid.chunkBytes
  }

  /** Asks for a piece: chunk by chunk when it is paid for, so that credit is used to its last whole chunk. @returns whether any of it may be written */
  async #admit(piece: Piece): Promise<boolean> {
    const { grid, pricePerMb } = this.#share
    for (let done = 0; done < piece.length; ) {
      const at = piece.at + done
      const chunk = Math.floor(at / grid.chunkBytes)
      const n = pricePerMb === 0n ? piece.length : Math.min(piece.length - done, (chunk + 1) * grid.chunkBytes - at)
      this.#refusal = await this.#deps.gate.admit(this.#share, this.#customer, chunk, n, this.#gone.signal)
      if (this.#refusal !== undefined) {
        piece.length = done
        return done > 0
      }
      done += n
    }
    return true
  }

  /** Resolves when the kernel has the bytes (true) or the connection is gone (false; the buffer is then left to the collector). */
  #write(piece: Piece): Promise<boolean> {
    return new Promise(resolve => {
      const onClose = (): void => resolve(false)
      this.#res.once('close', onClose)
      this.#res.write(piece.length === piece.buffer.length ? piece.buffer : piece.buffer.subarray(0, piece.length), error => {
        this.#res.off('close', onClose)
        resolve(!error)
      })
      if (this.#res.destroyed) resolve(false)
    })
  }
}
