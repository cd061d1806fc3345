/** A TCP port where strangers reach us, with caps: so many connections in all, and so many from one address (an IPv6 /64 counts as one). */
import { createServer, type Socket } from 'node:net'
import { KithError } from '../../base/errors.ts'
import { rateKeyOf } from '../../net/address-scope.ts'

export interface ListenerOptions {
  /** Address to listen at. */
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  readonly maxConnections: number
  readonly maxPerAddress: number
  /** Programs on this machine share one address: do not count them. */
  readonly exemptLoopback: boolean
}

export interface Listener extends AsyncDisposable {
  readonly port: number
}

/**
 * Starts to listen. Disposing closes the port and every connection that came by it.
 * @param accept takes a connection that is within the caps; `ip` is IPv4 also where the socket is for both
 * @throws PORT_UNAVAILABLE
 */
export async function openCappedListener(
  options: ListenerOptions,
  accept: (socket: Socket, from: { readonly host: string; readonly port: number }) => void
): Promise<Listener> {
  const { host, port: wanted, maxConnections, maxPerAddress, exemptLoopback } = options
  const countsByAddress = new Map<string, number>()
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true })
  server.on('connection', socket => {
    socket.on('error', () => socket.destroy())
    const { remoteAddress = '', remotePort = 0 } = socket
    const ip = remoteAddress.replace(/^::ffff:/, '')
    const key = rateKeyOf(ip)
    const count = countsByAddress.get(key) ?? 0
    const exempt = exemptLoopback && (ip.startsWith('127.') || ip === '::1')
    if (sockets.size >= maxConnections || (count >= maxPerAddress && !exempt)) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    countsByAddress.set(key, count + 1)
    socket.on('close', () => {
      sockets.delete(socket)
      const left = countsByAddress.get(key)! - 1
      if (left > 0) countsByAddress.set(key, left)
      else countsByAddress.delete(key)
    })
    accept(socket, { host: ip, port: remotePort })
  })
  await new Promise<void>((resolve, reject) => {
    const hint = 'choose another port, or 0'
    server.once('error', cause =>
      reject(new KithError('PORT_UNAVAILABLE', `cannot listen on port ${wanted}`, { port: wanted }, { cause, hint }))
    )
    server.listen(wanted, host, resolve)
  })
  server.on('error', () => {}) // accepting failed (out of file descriptors): the next connection may work
  const address = server.address()
  let closing: Promise<void> | undefined
  return {
    port: address !== null && typeof address === 'object' ? address.port : wanted,
    [Symbol.asyncDispose]: () => {
      closing ??= new Promise(resolve => {
        server.close(() => resolve())
        for (const s of sockets) s.destroy()
      })
      return closing
    }
  }
}
