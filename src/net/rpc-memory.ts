/** Request/response between services in one process, with the limits of the real one: for tests of what is built on `Rpc`. */
import { type Clock, systemClock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { silentLogger } from '../base/log.ts'
import { REQUEST_TIMEOUT_MS } from './limits.ts'
import { memoryStreamPair } from './memory-streams.ts'
import type { PeerTarget, Rpc, RpcHandlerOptions, RpcRequestOptions } from './rpc.ts'
import { callerError } from './rpc-caller.ts'
import { RpcMethods, withSignal } from './rpc-methods.ts'
import { StreamBook } from './stream-book.ts'
import type { FramedStream, StreamOpenOptions, Streams } from './streams.ts'

interface Member {
  readonly address: string | undefined
  readonly methods: RpcMethods
  readonly book: StreamBook
}

/** A peer on the network of memory: what a host has as `rpc` and `streams`. */
export interface MemoryPeer extends Rpc {
  readonly streams: Streams
}

/** A network of memory. Peers that joined can call each other by PeerId at once. */
export class MemoryNetwork {
  readonly #clock: Clock
  readonly #members = new Map<string, Member>()

  constructor(clock: Clock = systemClock) {
    this.#clock = clock
  }

  /** Joins with a PeerId and the IP address at which others see this peer (undefined: as through a relay). */
  join(peerId: string, address?: string): MemoryPeer {
    const methods = new RpcMethods({ clock: this.#clock, log: silentLogger })
    const book = new StreamBook(silentLogger)
    this.#members.set(peerId, { address, methods, book })
    return {
      streams: {
        handle: (protocol, options, handler) => book.add(protocol, options, handler),
        open: (target, protocol, options) => this.#open(peerId, target, protocol, options)
      },
      handle: (method, options: RpcHandlerOptions, handler) => methods.add(method, options, handler),
      request: (target, method, body, options) => this.#request(peerId, target, method, body, options),
      addressOf: id => this.#members.get(id)?.address
    }
  }

  /** Takes a peer off the network, as if its process died. */
  leave(peerId: string): void {
    this.#members.delete(peerId)
  }

  async #open(from: string, target: PeerTarget, protocol: string, options: StreamOpenOptions): Promise<FramedStream> {
    options.signal.throwIfAborted()
    const peer = target.peerId
    const callee = this.#members.get(peer)
    if (!callee) throw new KithError('PEER_UNREACHABLE', 'no such peer', { peer })
    const served = callee.book.optionsOf(protocol)
    if (!served) throw new KithError('PEER_REFUSED', 'the peer does not know this protocol', { peer, protocol, code: 'UNKNOWN_METHOD' })
    const [near, far] = memoryStreamPair(
      this.#clock,
      { peerId: peer, address: callee.address, maxFrameBytes: options.maxFrameBytes },
      { peerId: from, address: this.#members.get(from)?.address, maxFrameBytes: served.maxFrameBytes }
    )
    void callee.book.serve(protocol, far)
    return near
  }

  async #request(from: string, target: PeerTarget, method: string, body: Uint8Array, options: RpcRequestOptions): Promise<Uint8Array> {
    const callee = this.#members.get(target.peerId)
    if (!callee) throw new KithError('PEER_UNREACHABLE', 'no such peer', { peer: target.peerId })
    const deadline = AbortSignal.timeout(options.timeoutMs ?? REQUEST_TIMEOUT_MS)
    const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline
    try {
      const context = { peerId: from, address: this.#members.get(from)?.address, signal }
      const answering = callee.methods.answer(method, context, async max => {
        if (body.length > max) throw new KithError('REQUEST_TOO_LARGE', 'message is too large', { size: body.length, max })
        return Uint8Array.from(body)
      })
      const answer = await withSignal(answering, signal)
      if ('code' in answer) throw callerError(answer.code, target.peerId, method)
      if (answer.body.length > options.maxResponseBytes) throw new KithError('PEER_PROTOCOL', 'message is too large', { method })
      return Uint8Array.from(answer.body)
    } catch (error) {
      if (deadline.aborted && error === deadline.reason) throw new KithError('PEER_TIMEOUT', 'the peer did not answer in time', { method })
      throw error
    }
  }
}

/** Two peers that can call each other, on 127.0.0.1 as far as limits by address go. */
export function memoryRpcPair(a: string, b: string, clock: Clock = systemClock): { readonly a: MemoryPeer; readonly b: MemoryPeer } {
  const network = new MemoryNetwork(clock)
  return { a: network.join(a, '127.0.0.1'), b: network.join(b, '127.0.0.1') }
}
