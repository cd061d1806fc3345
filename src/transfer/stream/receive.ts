/** One answer of a seeder, from the stream into a slot; and what its refusals mean to the scheduler. */
import { decode } from '../../base/codec.ts'
import { KithError, textOf } from '../../base/errors.ts'
import type { FramedStream } from '../../net/streams.ts'
import { DATA_HEAD_BYTES, type FileResponse, fileResponse, MAX_FILE_MESSAGE_BYTES, readDataHead } from '../../wire/file-stream.ts'
import type { Slot } from '../protocol.ts'

/** Bytes that are read at once: rates and the stall timer see a slow sender move. */
const RECEIVE_BYTES = 64 * 1024

/** The fields of an answer beside its data. */
export type Answer = Pick<FileResponse, 'isLastChunk' | 'refusal' | 'reason'>

/**
 * Reads the answer that must be `length` bytes of a file, or a refusal. `received` hears of bytes as they arrive in the slot.
 * @throws SOURCE_LIED, SOURCE_LOST (the stream was ended), WIRE_*, PEER_PROTOCOL, PEER_TIMEOUT, STREAM_CLOSED
 */
export async function readAnswer(stream: FramedStream, length: number, slot: Slot, received: (n: number) => void): Promise<Answer> {
  const size = await stream.next()
  if (size === undefined) throw new KithError('SOURCE_LOST', 'the seeder ended the stream')
  if (size > MAX_FILE_MESSAGE_BYTES) return readData(stream, size, length, slot, received)
  const response = decode(fileResponse, await readBytes(stream, size))
  if (response.refusal !== '') return response
  if (response.data.length !== length) throw lied('a piece of another length')
  slot.bytes.set(response.data)
  received(length)
  return response
}

/** A response that begins with data; the data is copied once, into the slot. */
async function readData(stream: FramedStream, size: number, length: number, slot: Slot, received: (n: number) => void): Promise<Answer> {
  const head = await readBytes(stream, DATA_HEAD_BYTES)
  const data = readDataHead(head)
  const rest = size - data.start - length
  if (data.length !== length || rest < 0 || rest > MAX_FILE_MESSAGE_BYTES) throw lied('a piece of another length')
  slot.bytes.set(head.subarray(data.start))
  let at = DATA_HEAD_BYTES - data.start
  if (at > 0) received(at)
  while (at < length) {
    const n = Math.min(length - at, RECEIVE_BYTES)
    await stream.read(slot.bytes.subarray(at, at + n))
    received(n)
    at += n
  }
  const response = decode(fileResponse, await readBytes(stream, rest))
  if (response.data.length > 0 || response.refusal !== '') throw lied('more than one answer in a frame')
  return response
}

async function readBytes(stream: FramedStream, size: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(size)
  await stream.read(bytes)
  return bytes
}

export const lied = (what: string): KithError => new KithError('SOURCE_LIED', `the seeder broke the protocol: ${what}`)

/** The error for a refusal. Text in it comes from the other side, cleaned. */
export function refusalError({ refusal, reason }: Answer): KithError {
  const data = { reason: reason === '' ? 'no reason given' : textOf(reason) }
  if (refusal === 'PAYMENT_REQUIRED') return new KithError('PAYMENT_REQUIRED', 'the seeder wants to be paid first', data)
  if (refusal === 'CHUNK_MISSING') return new KithError('SOURCE_BUSY', 'the seeder does not have this part yet', data)
  return new KithError('SOURCE_LOST', 'the seeder does not serve this file', { ...data, refusal })
}

/** What an error of the stream means to the scheduler. */
export function lost(cause: unknown): KithError {
  if (cause instanceof KithError) {
    if (cause.code === 'SOURCE_LOST' || cause.code === 'SOURCE_LIED') return cause
    if (cause.code.startsWith('WIRE_')) return new KithError('SOURCE_LIED', 'the seeder sent what is no answer', {}, { cause })
  }
  return new KithError('SOURCE_LOST', 'the stream to the seeder broke', {}, { cause })
}
