/** What every HTTP listener of this program does alike: listening with a hint when it cannot, and answers to what Node's parser refuses. */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { codeOf, KithError } from '../base/errors.ts'

export interface MalformedOptions {
  /** How long a refused connection is still read from, so that the client sees the refusal. */
  readonly lingerMs: number
  /** Whether an answer is on its way already: then none is put behind it. */
  readonly isAnswering?: (socket: Socket) => boolean
}

/**
 * Threats HT3, CO1-CO3: what Node's strict parser refuses, and heads that take too long, are answered once and closed; upgrades and tunnels
 * are closed. The rest of what such a client sends is read and dropped for a moment: closing at once would reset the connection before it has
 * read the answer.
 */
export function refuseMalformed(server: Server, options: MalformedOptions): void {
  const refused = new WeakSet<Socket>()
  server.on('upgrade', (_request, socket) => socket.destroy())
  server.on('connect', (_request, socket) => socket.destroy())
  server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
    const socket = stream as Socket
    if (refused.has(socket)) return // what still comes in while it lingers
    refused.add(socket)
    refuse(socket, error, options)
  })
}

function refuse(socket: Socket, error: NodeJS.ErrnoException, { lingerMs, isAnswering }: MalformedOptions): void {
  const spoken = error.code?.startsWith('HPE_') || error.code === 'ERR_HTTP_REQUEST_TIMEOUT' // else the connection or its TLS broke
  if (!socket.writable || !spoken) return void socket.destroy()
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? '431 Request Header Fields Too Large'
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? '408 Request Timeout'
        : '400 Bad Request'
  if (!isAnswering?.(socket)) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  const timer = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(timer))
}

const BUSY = 'too many connections at once or in a second; come back in a few seconds, or keep one open\n'

/** Tells a connection for which there is no place to come later, and closes it; over TLS there is nobody to tell yet. */
export function refuseBusy(socket: Socket, isTls: boolean): void {
  if (isTls) return void socket.destroy()
  const head = `HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${BUSY.length}`
  socket.end(`${head}\r\n\r\n${BUSY}`)
  socket.destroySoon()
}

/** Resolves when the server listens. @param port 0: any free one @throws HTTP_LISTEN */
export async function listenHttp(server: Server, host: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (cause) {
    const hint =
      codeOf(cause) === 'EADDRINUSE' ? 'another program uses this port; choose another one, or 0' : 'choose another address or port'
    throw new KithError('HTTP_LISTEN', `cannot listen on ${host} port ${port}`, { host, port, cause: codeOf(cause) }, { cause, hint })
  }
}
