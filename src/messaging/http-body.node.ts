/** Reads the body of a request: no more than a message may have, in one time for all of it, and with a bound for all requests together. */
import type { IncomingMessage } from 'node:http'
import { KithError } from '../base/errors.ts'
import { MAX_MESSAGE_FRAME_BYTES } from '../wire/limits.ts'
import { HTTP_BODY_MS, MAX_HTTP_BODY_BYTES } from './limits.ts'

/** Body bytes of all requests that are being read. */
export interface BodyBudget {
  bytes: number
}

/** Content-Length as far as it says that the body is too large already. @throws TOO_LARGE */
export function checkLength(request: IncomingMessage): void {
  const length = request.headers['content-length']
  if (length !== undefined && Number(length) > MAX_MESSAGE_FRAME_BYTES) throw tooLarge()
}

/** @throws TOO_LARGE, PEER_TIMEOUT, QUEUE_FULL (too many bodies at once), PEER_PROTOCOL (it broke off) */
export function readBody(request: IncomingMessage, budget: BodyBudget, timeoutMs: number = HTTP_BODY_MS): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let n = 0
  return new Promise<Uint8Array>((resolve, reject) => {
    const timer = setTimeout(() => reject(new KithError('PEER_TIMEOUT', 'the body took too long')), timeoutMs)
    let isOver = false
    const over = (): void => {
      clearTimeout(timer)
      if (!isOver) reject(new KithError('PEER_PROTOCOL', 'the request broke off'))
    }
    request.on('data', (data: Uint8Array) => {
      n += data.length
      budget.bytes += data.length
      parts.push(data)
      if (n > MAX_MESSAGE_FRAME_BYTES) reject(tooLarge())
      else if (budget.bytes > MAX_HTTP_BODY_BYTES) reject(new KithError('QUEUE_FULL', 'too many requests at once'))
    })
    request.once('end', () => {
      isOver = true
      clearTimeout(timer)
      resolve(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
    })
    request.once('error', over).once('close', over)
  }).finally(() => {
    budget.bytes -= n
    n = 0
    request.removeAllListeners('data')
    request.pause()
  })
}

const tooLarge = (): KithError => new KithError('TOO_LARGE', `a message has at most ${MAX_MESSAGE_FRAME_BYTES} bytes`)
