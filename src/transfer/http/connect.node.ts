/**
 * Opens the connection of a source: TCP, or TLS that checks either a certificate (a URL of the user) or the pinned key of a seeder;
 * directly or through a proxy (RFC 9110 §9.3.6). No byte of HTTP is sent before the other side is known to be the right one.
 */
import { connect, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls'
import { equalBytes } from '../../base/bytes.ts'
import { codeOf, KithError } from '../../base/errors.ts'
import { pinOf } from '../../platform/x509.node.ts'
import { HttpConnection } from './connection.node.ts'
import { CONNECT_TIMEOUT_MS, MAX_HEAD_BYTES } from './limits.ts'
import { bracketed, type ProxyServer } from './proxy.ts'
import { headEnd, parseHead } from './response-head.ts'
import { TLS_CIPHERS } from './tls-ciphers.ts'

/** Whom TLS must prove: a name, by the system's or other authorities (PEM); or the key with this SHA-256. */
export type TlsTrust = { readonly name: string; readonly ca?: string | undefined } | { readonly pin: Uint8Array }

export interface ConnectTarget {
  /**
   * IP literal: names are resolved and checked before (../address-filter.node.ts), so that they cannot change in between. With a proxy
   * it may be a name, which the proxy resolves.
   */
  readonly address: string
  readonly port: number
  /** undefined: plain TCP. */
  readonly tls: TlsTrust | undefined
  /** undefined: directly. */
  readonly proxy?: ProxyServer | undefined
}

/** Connects to one address. @throws SOURCE_LOST, SOURCE_LIED (another key than the pinned one), PROXY_REFUSED, or the signal's reason */
export async function openConnection(target: ConnectTarget, signal: AbortSignal): Promise<HttpConnection> {
  signal.throwIfAborted()
  const connection = new HttpConnection()
  const onread = { buffer: () => connection.nextBuffer(), callback: (n: number) => connection.onBytes(n) }
  const { proxy, tls } = target
  let socket: Socket | undefined
  try {
    if (!proxy) {
      const where = { host: target.address, port: target.port, noDelay: true, onread }
      socket = tls ? connectTls({ ...where, ...trusting(tls) }) : connect(where)
    } else {
      socket = connect({ host: proxy.host, port: proxy.port, noDelay: true, ...(tls ? {} : { onread }) })
      await connected(socket, 'connect', signal)
      if (tls) {
        await askForTunnel(socket, proxy, `${bracketed(target.address)}:${target.port}`, signal)
        socket = connectTls({ socket, ...trusting(tls) })
        socket.on('data', data => connection.feed(data)) // Node ignores `onread` on top of another socket
      }
    }
    if (tls || !proxy) await connected(socket, tls ? 'secureConnect' : 'connect', signal)
    if (tls && 'pin' in tls) checkPin(socket as TLSSocket, tls.pin)
  } catch (cause) {
    socket?.destroy()
    if (signal.aborted) throw signal.reason
    if (cause instanceof KithError) throw cause
    const { host: address, port } = proxy ?? { host: target.address, port: target.port }
    throw new KithError('SOURCE_LOST', 'cannot connect', { address, port, cause: codeOf(cause) }, { cause })
  }
  connection.attach(socket)
  return connection
}

/**
 * A pinned key needs no authority, no name and no date, so OpenSSL's verdict about those is not asked for; that the other side holds
 * the key is proven by the handshake itself (CertificateVerify). No session is ever resumed: resumption shows no certificate.
 */
function trusting(tls: TlsTrust): ConnectionOptions {
  if ('pin' in tls) return { ALPNProtocols: ['http/1.1'], minVersion: 'TLSv1.3', ciphers: TLS_CIPHERS, rejectUnauthorized: false }
  return {
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    ...(isIP(tls.name)
      ? { checkServerIdentity: (_, certificate) => checkServerIdentity(tls.name, certificate) }
      : { servername: tls.name }),
    ...(tls.ca === undefined ? {} : { ca: tls.ca })
  }
}

function checkPin(socket: TLSSocket, pin: Uint8Array): void {
  const shown = socket.isSessionReused() ? undefined : pinOf(socket.getPeerX509Certificate())
  if (!shown || !equalBytes(shown, pin)) throw new KithError('SOURCE_LIED', 'the TLS key is not the one in the offer')
}

function connected(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  return settled(socket, signal, done => {
    socket.once(event, done)
    return () => socket.off(event, done)
  })
}

/** CONNECT, and its answer; nothing may follow that. */
function askForTunnel(socket: Socket, proxy: ProxyServer, authority: string, signal: AbortSignal): Promise<void> {
  const bytes = new Uint8Array(MAX_HEAD_BYTES)
  let n = 0
  return settled(socket, signal, done => {
    const onData = (data: Uint8Array): void => {
      const from = n
      if (n + data.length > bytes.length) {
        done(new KithError('SOURCE_LIED', "the head of the proxy's answer is too large"))
        return
      }
      bytes.set(data, n)
      n += data.length
      const end = headEnd(bytes, from, n)
      if (end >= 0) done(tunnelError(bytes.subarray(0, end), n - end))
    }
    socket.on('data', onData)
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${proxy.header}\r\n`, 'latin1')
    return () => socket.off('data', onData).pause()
  })
}

function tunnelError(head: Uint8Array, more: number): KithError | undefined {
  try {
    const { status } = parseHead(head)
    if (status === 407) return proxyRefused()
    if (status < 200 || status > 299) return new KithError('SOURCE_LOST', 'the proxy did not connect', { status })
  } catch (cause) {
    return new KithError('SOURCE_LIED', 'the proxy does not speak HTTP', {}, { cause })
  }
  return more > 0 ? new KithError('SOURCE_LIED', 'bytes before they were asked for') : undefined
}

/** The answer 407. */
export const proxyRefused = (): KithError =>
  new KithError('PROXY_REFUSED', 'the proxy wants other credentials', {}, { hint: 'put user and password into the proxy setting' })

/** Waits until `begin`'s callback is called; rejects when the socket breaks, the time is over, or the signal is aborted. */
function settled(socket: Socket, signal: AbortSignal, begin: (done: (error?: unknown) => void) => () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: unknown): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      end()
      socket.off('error', settle).off('close', onClose)
      socket.on('error', () => {}) // 'close' follows and is handled; an unheard error would end the process
      if (error === undefined) resolve()
      else reject(error)
    }
    const onAbort = (): void => settle(signal.reason ?? new Error('aborted'))
    const onClose = (): void => settle(new Error('closed while connecting'))
    const timer = setTimeout(() => settle(new Error('no connection in time')), CONNECT_TIMEOUT_MS)
    socket.once('error', settle).once('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
    const end = begin(settle)
  })
}
