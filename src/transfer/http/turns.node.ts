/** Pipelined requests of a connection take turns: each costs buffers and credit, and one packet can hold hundreds. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { codeOf } from '../../base/errors.ts'
import { MAX_PIPELINED } from './limits.ts'
import { answer, type ServeContext } from './respond.node.ts'

export class Turns {
  readonly #context: ServeContext
  readonly #running = new Set<Promise<void>>()
  /** The last request of each connection, and how many are not answered. */
  readonly #bySocket = new WeakMap<Socket, { readonly work: Promise<void>; depth: number }>()

  constructor(context: ServeContext) {
    this.#context = context
  }
  /** Whether a request of this connection is being answered, or waits. */
  has(socket: Socket): boolean {
    return this.#bySocket.has(socket)
  }
  /** Answers when those before it are answered; a connection with too many is closed. */
  take(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req
    const before = this.#bySocket.get(socket)
    const depth = (before?.depth ?? 0) + 1
    if (depth > MAX_PIPELINED) return void socket.destroy()
    const work = (before?.work ?? Promise.resolve())
      .then(() => answer(this.#context, req, res))
      .catch((error: unknown) => {
        this.#context.log.debug('request failed', { code: codeOf(error) })
        res.destroy()
      })
      .finally(() => {
        this.#running.delete(work)
        const last = this.#bySocket.get(socket)
        if (last && --last.depth === 0) this.#bySocket.delete(socket)
      })
    this.#bySocket.set(socket, { work, depth })
    this.#running.add(work)
  }
  /** Resolves when every request that was taken has ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running)
  }
}
