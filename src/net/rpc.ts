/**
 * Request and response between authenticated peers: one libp2p stream per request, protocol `/kith/<method>/1`, one length-prefixed
 * message each way. The implementation is host.node.ts; everything above speaks this interface, so that tests can join two
 * services in memory with the same limits.
 */
export interface RpcContext {
  /** Authenticated libp2p PeerId text of the caller. */
  readonly peerId: string
  /** IP address of the caller's connection; undefined when it came through a relay. */
  readonly address: string | undefined
  readonly signal: AbortSignal
}

export interface RpcHandlerOptions {
  /** Larger requests close the stream. */
  readonly maxRequestBytes: number
  /** Requests a peer may make in a second, with a burst of five times as many. */
  readonly perSecond: number
}

export interface RpcRequestOptions {
  readonly maxResponseBytes: number
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface PeerTarget {
  readonly peerId: string
  /** multiaddr texts to try when there is no connection yet. */
  readonly addresses?: readonly string[]
}

export interface Rpc {
  /** Registers a method. A handler that throws answers the error's code (never its message); it cannot harm the process. */
  handle(method: string, options: RpcHandlerOptions, handler: (request: Uint8Array, context: RpcContext) => Promise<Uint8Array>): Disposable
  /**
   * Calls a method of a peer.
   * @throws PEER_UNREACHABLE, PEER_TIMEOUT, PEER_PROTOCOL (bad framing), RATE_LIMITED, or the code the handler answered as
   *   PEER_REFUSED with data.code
   */
  request(target: PeerTarget, method: string, body: Uint8Array, options: RpcRequestOptions): Promise<Uint8Array>
  /** IP address at which this peer was authenticated on a live direct connection; undefined when there is none. */
  addressOf(peerId: string): string | undefined
}
