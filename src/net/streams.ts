/**
 * Framed byte streams between authenticated peers, for what request/response (rpc.ts) is too small for: long-lived, both ways, with
 * back-pressure. Protocol `/kith/<name>/1`; each frame is its length as an unsigned varint, then so many bytes. libp2p-streams.ts and
 * memory-streams.ts implement it with one set of limits, so that what is built on it can be tested in memory.
 * Spec: docs/wire/stream.md §1
 */
import type { PeerTarget } from './rpc.ts'

/** One stream. One reader and any number of senders may use it at a time. Disposal lets go of it at once. */
export interface FramedStream extends AsyncDisposable {
  /** Authenticated libp2p PeerId text of the other end. */
  readonly peerId: string
  /** IP address of the other end; undefined when it is reached through a relay. */
  readonly address: string | undefined
  /** Aborts when the stream has ended, whoever ended it. */
  readonly closed: AbortSignal
  /**
   * Length of the next frame; what is left of the one before is skipped. undefined when the other side has ended the stream after a
   * whole frame. While nobody reads, at most READ_AHEAD_BYTES and the muxer's window are taken from the network.
   * @throws PEER_PROTOCOL (cut short, a frame above the limit), PEER_TIMEOUT (silence), STREAM_CLOSED (by this side)
   */
  next(): Promise<number | undefined>
  /** Fills `target` with the next bytes of the frame, copied once. @throws what `next` does, PEER_PROTOCOL when the frame has not so many */
  read(target: Uint8Array): Promise<void>
  /**
   * Sends one frame of these parts and resolves when the network takes more. The parts belong to the stream from then on.
   * @throws PEER_TIMEOUT (the other side does not read), PEER_PROTOCOL (it went away), STREAM_CLOSED
   */
  send(...parts: readonly Uint8Array[]): Promise<void>
  /** Ends the stream in order: what was sent still arrives. Never throws. */
  close(): Promise<void>
}

export interface StreamHandlerOptions {
  /** Larger frames end the stream, and are not sent. */
  readonly maxFrameBytes: number
  /** Streams of this protocol that one peer may have open. */
  readonly maxStreamsPerPeer: number
}

export interface StreamOpenOptions {
  /** Larger frames of the other side end the stream. */
  readonly maxFrameBytes: number
  readonly signal: AbortSignal
}

export interface Streams {
  /**
   * Registers a protocol. The stream ends in order when the handler's promise resolves; a handler that throws resets it, and cannot harm
   * the process. @throws METHOD_EXISTS, BAD_METHOD as programming errors
   */
  handle(protocol: string, options: StreamHandlerOptions, handler: (stream: FramedStream) => Promise<void>): Disposable
  /**
   * Opens a stream to a peer, over a relay too.
   * @throws PEER_UNREACHABLE, PEER_REFUSED (data.code UNKNOWN_METHOD: it does not know the protocol), PEER_PROTOCOL, HOST_CLOSED
   */
  open(target: PeerTarget, protocol: string, options: StreamOpenOptions): Promise<FramedStream>
}
