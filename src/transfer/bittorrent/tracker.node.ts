/** Asks one tracker once, over HTTP(S) or UDP, at an address that was checked and is then kept to (no redirect, no second look-up). */
import { createSocket } from 'node:dgram'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIPv6 } from 'node:net'
import { randomBytes } from '#crypto'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { MAX_TRACKER_BYTES, TRACKER_MS, UDP_TRIES } from './limits.ts'
import { readU32 } from './messages.ts'
import {
  type Announcement,
  announceUrl,
  readHttpAnswer,
  readUdpAnnounce,
  readUdpConnect,
  type TrackerAnswer,
  trackerError,
  udpAnnounce,
  udpConnect
} from './tracker.ts'

/** Who named an address: the user (or a private network the user pointed us to), or a stranger. */
export type AddressTrust = 'given' | 'found'

/** Resolves a name once and applies the rules for addresses (threats HT8-HT10). @returns the literal IP to connect to @throws FORBIDDEN_ADDRESS */
export type CheckAddress = (host: string, port: number, trust: AddressTrust) => Promise<string>

export interface TrackerDeps {
  readonly clock: Clock
  readonly checkAddress: CheckAddress
}

/** @throws TRACKER_FAILED, FORBIDDEN_ADDRESS */
export async function announce(
  deps: TrackerDeps,
  tracker: string,
  trust: AddressTrust,
  announcement: Announcement,
  signal: AbortSignal
): Promise<TrackerAnswer> {
  const url = URL.parse(tracker)
  if (!url) throw trackerError('not an address')
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  const ip = await deps.checkAddress(url.hostname.replace(/^\[|\]$/g, ''), port, trust)
  try {
    if (url.protocol === 'udp:') return await announceUdp(deps.clock, ip, port, announcement, signal)
    if (url.protocol === 'http:' || url.protocol === 'https:')
      return await announceHttp(announceUrl(tracker, announcement), ip, port, signal)
  } catch (cause) {
    throw cause instanceof KithError ? cause : trackerError('it cannot be reached', { cause })
  }
  throw trackerError(`${url.protocol} is not supported`)
}

async function announceHttp(url: URL, ip: string, port: number, signal: AbortSignal): Promise<TrackerAnswer> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(TRACKER_MS)])
  const answer = Promise.withResolvers<IncomingMessage>()
  const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)({
    host: ip,
    port,
    servername: url.hostname,
    path: url.pathname + url.search,
    headers: { host: url.host, 'user-agent': 'Kith', 'accept-encoding': 'identity', connection: 'close' },
    maxHeaderSize: 16 * 1024,
    agent: false,
    signal: limited
  })
  request.on('response', answer.resolve)
  request.on('error', answer.reject)
  request.end()
  const response = await answer.promise
  if (response.statusCode !== 200 || response.headers['content-encoding'] !== undefined) {
    response.destroy()
    throw trackerError(`it answered ${response.statusCode}${response.headers['content-encoding'] ? ' with an encoding' : ''}`)
  }
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response as AsyncIterable<Uint8Array>) {
    if ((bytes += part.length) > MAX_TRACKER_BYTES) {
      response.destroy()
      throw trackerError('the answer is too long')
    }
    parts.push(part)
  }
  return readHttpAnswer(Buffer.concat(parts))
}

async function announceUdp(clock: Clock, ip: string, port: number, a: Announcement, signal: AbortSignal): Promise<TrackerAnswer> {
  const v6 = isIPv6(ip)
  const socket = createSocket(v6 ? 'udp6' : 'udp4')
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  socket.on('error', failed.reject)
  /** Sends until `read` takes an answer: a datagram from elsewhere never arrives, because the socket is connected. */
  const ask = async <T>(
    make: (transaction: number) => Uint8Array,
    read: (bytes: Uint8Array, transaction: number) => T | undefined
  ): Promise<T> => {
    const transaction = readU32(randomBytes(4), 0)
    const got = Promise.withResolvers<T>()
    const onMessage = (bytes: Uint8Array): void => {
      try {
        const value = read(bytes, transaction)
        if (value !== undefined) got.resolve(value)
      } catch (error) {
        got.reject(error)
      }
    }
    socket.on('message', onMessage)
    const stop = new AbortController()
    try {
      for (let i = 0; i < UDP_TRIES; i++) {
        socket.send(make(transaction))
        const pause = clock.sleep(TRACKER_MS / UDP_TRIES, AbortSignal.any([signal, stop.signal]))
        pause.catch(() => {})
        const value = await Promise.race([got.promise, failed.promise, pause])
        if (value !== undefined) return value as T
      }
      throw trackerError('no answer over UDP')
    } finally {
      stop.abort()
      socket.off('message', onMessage)
    }
  }
  try {
    await Promise.race([new Promise<void>(resolve => socket.connect(port, ip, resolve)), failed.promise])
    const connection = await ask(udpConnect, readUdpConnect)
    const key = readU32(randomBytes(4), 0)
    return await ask(
      t => udpAnnounce(connection, t, key, a),
      (bytes, t) => readUdpAnnounce(bytes, t, v6 ? 16 : 4)
    )
  } finally {
    socket.close()
  }
}
