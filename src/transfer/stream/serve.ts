/**
 * The seeder's half: answers FileRequests of one stream in the order they came. A chunk is read while the one before it is sent, into a
 * buffer that already has the room for what follows the data, so that nothing is copied on this side.
 */

import { decode, encode } from '../../base/codec.ts'
import { codeOf, hasCode, KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { FramedStream } from '../../net/streams.ts'
import { dataHead, type FileRequest, fileRequest, fileResponse, MAX_FILE_MESSAGE_BYTES, MAX_REASON_BYTES } from '../../wire/file-stream.ts'
import type { Share, ShareIndex, UploadGate } from '../protocol.ts'
import type { refusalCodes } from './errors.ts'
import { MAX_REFUSALS, MAX_RUN_BYTES } from './limits.ts'

export interface ServeDeps {
  readonly log: Logger
  readonly shares: ShareIndex
  readonly gate: UploadGate
}

interface Refusal {
  readonly code: keyof typeof refusalCodes
  readonly reason: string
}
const refused = (code: Refusal['code'], reason: string): Refusal => ({ code, reason })

/** `is_last_chunk = true`, which follows the data of the last answer. */
const LAST = Uint8Array.of(0x10, 1)

/** Serves until the other side ends the stream. @throws WIRE_* (not a request), PEER_* (the stream), which end it */
export async function serveFiles(deps: ServeDeps, stream: FramedStream): Promise<void> {
  for (let refusals = 0; refusals < MAX_REFUSALS; ) {
    const size = await stream.next()
    if (size === undefined) return
    if (size > MAX_FILE_MESSAGE_BYTES) throw new KithError('PEER_PROTOCOL', 'a request that is too long', { size })
    const bytes = new Uint8Array(size)
    await stream.read(bytes)
    const refusal = await answer(deps, stream, decode(fileRequest, bytes))
    refusals = refusal ? refusals + 1 : 0
    if (refusal) await stream.send(encodeRefusal(refusal))
  }
}

function encodeRefusal({ code, reason }: Refusal): Uint8Array {
  return encode(fileResponse, { data: new Uint8Array(), isLastChunk: true, nextChunkHash: '', refusal: code, reason: cut(reason) })
}

/** Sends what was asked for. @returns why not, or why not further */
async function answer({ shares, gate, log }: ServeDeps, stream: FramedStream, request: FileRequest): Promise<Refusal | undefined> {
  const share = shares.byFileId(request.fileHash)
  if (!share) return refused('UNKNOWN_SHARE', 'no such file here')
  if (share.pricePerMb !== 0n) return refused('PAYMENT_REQUIRED', 'this file costs money: fetch it by another protocol, with a ticket')
  const { offset, length } = request
  const end = offset + length
  if (end > share.grid.size || length > MAX_RUN_BYTES) return refused('BAD_REQUEST', 'outside the file, or too long')
  let piece: Piece | undefined
  try {
    piece = await readPiece(share, offset, end)
    while (piece) {
      const refusal = await gate.admit(share, undefined, piece.chunk, piece.length, stream.closed)
      if (refusal !== undefined) return refused('PAYMENT_REQUIRED', refusal)
      const at: number = piece.end
      const reading: Promise<Piece> | undefined = at < end ? readPiece(share, at, end) : undefined
      reading?.catch(() => {}) // looked at below
      await stream.send(dataHead(piece.length), piece.bytes)
      gate.sent('kith', piece.length)
      piece = await reading
    }
    return undefined
  } catch (error) {
    stream.closed.throwIfAborted()
    if (hasCode(error, 'CHUNK_MISSING')) return refused('CHUNK_MISSING', 'this seeder does not have that part of the file (yet)')
    log.debug('a share could not be read', { error, code: codeOf(error) })
    if (hasCode(error, 'FILE_CHANGED')) return refused('FILE_CHANGED', 'the file is no longer what was shared')
    return refused('INTERNAL', 'the file could not be read')
  }
}

interface Piece {
  readonly chunk: number
  readonly length: number
  /** Offset in the file of what follows. */
  readonly end: number
  /** The data, and the fields after it. */
  readonly bytes: Uint8Array
}

/** Reads up to the next chunk boundary. @throws CHUNK_MISSING, FILE_CHANGED */
async function readPiece(share: Share, offset: number, end: number): Promise<Piece> {
  const { chunkBytes } = share.grid
  const chunk = Math.floor(offset / chunkBytes)
  if (!share.has(chunk)) throw new KithError('CHUNK_MISSING', 'a chunk is not there', { chunk })
  const pieceEnd = Math.min((chunk + 1) * chunkBytes, end)
  const length = pieceEnd - offset
  const tail = pieceEnd === end ? LAST : new Uint8Array()
  const bytes = new Uint8Array(length + tail.length)
  await share.read(offset, length, tail.length === 0 ? bytes : bytes.subarray(0, length))
  bytes.set(tail, length)
  return { chunk, length, end: pieceEnd, bytes }
}

/** Cut to what a refusal may carry; refusals are ASCII but for what a payment gate says. */
function cut(reason: string): string {
  return Array.from(reason)
    .slice(0, MAX_REASON_BYTES / 4)
    .join('')
}
