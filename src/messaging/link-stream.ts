/**
 * Links over libp2p streams, protocol `/kith/message/1`. A frame of the stream holds one or more messages, each but the last followed by a
 * line feed: canonical JSON has none. So messages that are ready at the same time cost one encryption and one system call together.
 * Spec: docs/wire/message.md §7
 */
import { concatBytes } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { FramedStream, Streams } from '../net/streams.ts'
import { MAX_MESSAGE_FRAME_BYTES } from '../wire/limits.ts'
import { MAX_MESSAGE_STREAMS_PER_PEER, STREAM_FRAME_BYTES } from './limits.ts'
import type { MessageLink } from './link.ts'

export const MESSAGE_PROTOCOL = 'message'

const LINE_FEED = 0x0a
const SEPARATOR = Uint8Array.of(LINE_FEED)

/** Registers the protocol; `accept` gets every link that others open and serves it until it ends. */
export function handleMessageStreams(streams: Streams, accept: (link: MessageLink) => Promise<void>): Disposable {
  const options = { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, maxStreamsPerPeer: MAX_MESSAGE_STREAMS_PER_PEER }
  return streams.handle(MESSAGE_PROTOCOL, options, stream => accept(new StreamLink(stream)))
}

/** Opens a link to a PeerId. @throws PEER_UNREACHABLE, PEER_REFUSED (it takes no messages), PEER_PROTOCOL, HOST_CLOSED */
export async function openMessageStream(
  streams: Streams,
  peerId: string,
  addresses: readonly string[],
  signal: AbortSignal
): Promise<MessageLink> {
  return new StreamLink(await streams.open({ peerId, addresses }, MESSAGE_PROTOCOL, { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, signal }))
}

class StreamLink implements MessageLink {
  readonly via = 'stream' as const
  readonly peerId: string
  readonly address: string | undefined
  readonly closed: AbortSignal
  readonly #stream: FramedStream
  /** Messages of the last frame that were not handed out, in order, and where the next begins. */
  #frame = new Uint8Array()
  #at = 0
  /** Messages that are sent together next. */
  #batch: Uint8Array[] = []
  #batchBytes = 0
  #flushed: Promise<void> | undefined
  #sending: Promise<void> = Promise.resolve()

  constructor(stream: FramedStream) {
    this.#stream = stream
    this.peerId = stream.peerId
    this.address = stream.address
    this.closed = stream.closed
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.#at >= this.#frame.length) {
      const length = await this.#stream.next()
      if (length === undefined) return undefined
      if (length === 0) throw new KithError('PEER_PROTOCOL', 'an empty frame')
      this.#frame = new Uint8Array(length)
      this.#at = 0
      await this.#stream.read(this.#frame)
    }
    const end = this.#frame.indexOf(LINE_FEED, this.#at)
    const message = this.#frame.subarray(this.#at, end === -1 ? this.#frame.length : end)
    this.#at = end === -1 ? this.#frame.length : end + 1
    return message
  }

  send(message: Uint8Array): Promise<void> {
    if (this.#batchBytes > 0 && this.#batchBytes + message.length + 1 > STREAM_FRAME_BYTES) this.#flush()
    if (this.#batch.length > 0) this.#batch.push(SEPARATOR)
    this.#batch.push(message)
    this.#batchBytes += message.length + 1
    // What is sent until those before it are gone goes together.
    this.#flushed ??= this.#sending.then(() => this.#flush())
    return this.#flushed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream[Symbol.asyncDispose]()
  }

  #flush(): Promise<void> {
    const batch = this.#batch
    if (batch.length === 0) return this.#sending
    this.#batch = []
    this.#batchBytes = 0
    this.#flushed = undefined
    this.#sending = this.#stream.send(batch.length === 1 ? batch[0]! : concatBytes(...batch))
    this.#sending.catch(() => {}) // whoever sends hears of it
    return this.#sending
  }
}
