/** The TCP port where peers reach us, with its caps: 200 connections, 8 from one address (an IPv6 /64 counts as one). */
import { createServer, type Socket } from 'node:net'
import { KithError } from '../../base/errors.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import type { PeerHub } from './hub.node.ts'
import { MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS } from './limits.ts'
import { formatPeerAddress } from './urls.ts'

export interface ListenerOptions {
  /** Address to listen at. */
  readonly host?: string
  /** 0 takes a free one. */
  readonly port?: number
  readonly maxConnections?: number
  readonly maxPerAddress?: number
  /** Programs on this machine share one address: do not count them. */
  readonly exemptLoopback?: boolean
}

export const listenerDefaults: Required<ListenerOptions> = {
  host: '0.0.0.0',
  port: 6881,
  maxConnections: MAX_CONNECTIONS,
  maxPerAddress: MAX_CONNECTIONS_PER_ADDRESS,
  exemptLoopback: true
}

export interface Listener extends AsyncDisposable {
  readonly port: number
}

/** Starts to listen. @throws PORT_UNAVAILABLE */
export async function openListener(hub: PeerHub, options: ListenerOptions = {}): Promise<Listener> {
  const o = { ...listenerDefaults, ...options }
  const countsByAddress = new Map<string, number>()
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true })
  server.on('connection', socket => {
    socket.on('error', () => socket.destroy())
    const { remoteAddress = '', remotePort = 0 } = socket
    const ip = remoteAddress.replace(/^::ffff:/, '')
    const key = rateKeyOf(ip)
    const count = countsByAddress.get(key) ?? 0
    const exempt = o.exemptLoopback && (ip.startsWith('127.') || ip === '::1')
    if (sockets.size >= o.maxConnections || (count >= o.maxPerAddress && !exempt)) {
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
    hub.accept(socket, formatPeerAddress({ host: ip, port: remotePort }))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause =>
      reject(
        new KithError('PORT_UNAVAILABLE', `cannot listen on port ${o.port}`, { port: o.port }, { cause, hint: 'choose another port, or 0' })
      )
    )
    server.listen(o.port, o.host, resolve)
  })
  server.on('error', () => {}) // accepting failed (out of file descriptors): the next connection may work
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : o.port
  hub.listenPort = port
  let closing: Promise<void> | undefined
  return {
    port,
    [Symbol.asyncDispose]: () => {
      closing ??= new Promise(resolve => {
        server.close(() => resolve())
        for (const s of sockets) s.destroy()
      })
      return closing
    }
  }
}
