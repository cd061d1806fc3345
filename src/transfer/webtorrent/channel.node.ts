/**
 * One data channel as a stream of bytes for the peer wire. Where messages begin means nothing: they are pieces of the stream. The native
 * library copies what it is given, so a write is done when it was handed over; how much it holds is bounded here, in both directions.
 */
import type { DataChannel } from 'node-datachannel'
import { KithError, textOf } from '../../base/errors.ts'
import type { ByteStream, ByteStreamEvents } from '../bittorrent/peer.node.ts'
import { CHANNEL_HIGH_BYTES, CHANNEL_LOW_BYTES, MAX_UNREAD_BYTES } from './limits.ts'

export interface ChannelDeps {
  readonly channel: DataChannel
  /** Longest message to send. */
  readonly messageBytes: number
  readonly events: ByteStreamEvents
  /** Payload bytes that the library has received so far. */
  bytesReceived(): number
  /** Ends the connection below; it tells `events.gone` itself. */
  close(): void
}

interface Waiting {
  readonly bytes: Uint8Array
  readonly done: () => void
  at: number
}

export class ChannelStream implements ByteStream {
  readonly #deps: ChannelDeps
  #queue: Waiting[] = []
  #waitingBytes = 0
  #readBytes = 0
  #ended = false

  constructor(deps: ChannelDeps) {
    this.#deps = deps
    const { channel } = deps
    channel.setBufferedAmountLowThreshold(CHANNEL_LOW_BYTES)
    channel.onBufferedAmountLow(() => this.#pump())
    channel.onMessage(message => this.#onMessage(message))
  }

  /** What the library was not given yet. */
  get writableLength(): number {
    return this.#waitingBytes
  }

  write(bytes: Uint8Array, done: () => void): void {
    if (this.#ended) {
      done()
      return
    }
    this.#queue.push({ bytes, done, at: 0 })
    this.#waitingBytes += bytes.length
    if (this.#queue.length === 1) this.#pump()
  }

  destroy(): void {
    if (this.#ended) return
    this.#ended = true
    this.#waitingBytes = 0
    for (const { done } of this.#queue.splice(0)) done()
    this.#deps.close()
  }

  /** Called by the library: nothing may be thrown into it. */
  #pump(): void {
    try {
      while (!this.#ended && this.#queue.length > 0 && this.#deps.channel.bufferedAmount() < CHANNEL_HIGH_BYTES) this.#sendNext()
    } catch (error) {
      this.#fail(new KithError('SOURCE_LOST', `the channel failed: ${textOf(error)}`, {}, { cause: error }))
    }
  }

  #sendNext(): void {
    const head = this.#queue[0]!
    const piece = head.bytes.subarray(head.at, head.at + this.#deps.messageBytes)
    this.#deps.channel.sendMessageBinary(piece)
    head.at += piece.length
    this.#waitingBytes -= piece.length
    if (head.at < head.bytes.length) return
    this.#queue.shift()
    head.done()
  }

  #onMessage(message: string | Uint8Array | ArrayBuffer): void {
    if (this.#ended) return
    try {
      if (typeof message === 'string') throw new KithError('PEER_WIRE', 'text on a channel for bytes')
      const bytes = message instanceof Uint8Array ? message : new Uint8Array(message)
      this.#readBytes += bytes.length
      if (this.#deps.bytesReceived() - this.#readBytes > MAX_UNREAD_BYTES)
        throw new KithError('PEER_WIRE', 'the peer sends more than was asked for')
      this.#deps.events.data(bytes)
    } catch (error) {
      this.#fail(error instanceof KithError ? error : new KithError('INTERNAL', textOf(error), {}, { cause: error }))
    }
  }

  #fail(error: KithError): void {
    this.#deps.events.failed(error)
    this.destroy()
  }
}
