/** The open connections of a server, so that it can close without waiting for those that carry no answer. */
import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

export class Connections {
  readonly #server: Server
  /** Answers under way by connection. At most `server.maxConnections`. */
  readonly #answers = new Map<Socket, number>()

  constructor(server: Server) {
    this.#server = server
    server.on('connection', socket => {
      this.#answers.set(socket, 0)
      socket.once('close', () => this.#answers.delete(socket))
    })
    server.on('request', (request, response) => this.#count(request.socket, response))
    server.on('checkContinue', (request, response) => this.#count(request.socket, response))
  }

  /** Lets answers under way finish for `graceMs`, then cuts them off. Resolves when every connection is closed. */
  async close(clock: Pick<Clock, 'sleep'>, graceMs: number): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    // Node counts a connection that never sent anything as busy, and clients open such in advance.
    for (const [socket, answers] of this.#answers) if (answers === 0) socket.destroy()
    const done = new AbortController()
    const grace = clock.sleep(graceMs, done.signal).then(
      () => this.#server.closeAllConnections(),
      () => {}
    )
    await closed
    done.abort()
    await grace
  }

  #count(socket: Socket, response: ServerResponse): void {
    this.#answers.set(socket, (this.#answers.get(socket) ?? 0) + 1)
    response.once('close', () => {
      const left = (this.#answers.get(socket) ?? 1) - 1
      if (this.#answers.has(socket)) this.#answers.set(socket, left)
      if (left === 0 && !this.#server.listening) socket.destroySoon()
    })
  }
}
