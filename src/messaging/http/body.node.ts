/** Reads the body of a request: no more than a message may have, in one time for all of it, and with bounds for all requests together. */
import type { IncomingMessage } from 'node:http'
import { KithError } from '../../base/errors.ts'
import { MAX_MESSAGE_FRAME_BYTES } from '../../wire/limits.ts'
import { HTTP_BODY_MS, MAX_HTTP_BODY_BYTES, MAX_HTTP_BODY_BYTES_PER_ADDRESS } from '../limits.ts'

/** Body bytes that are in memory: of requests that are being read, and of messages until it is known what becomes of them. */
export class BodyBudget {
  #all = 0
  readonly #byAddress = new Map<string, number>()

  /** @param addressKey rateKeyOf its address @returns whether so many more may be */
  take(addressKey: string, bytes: number): boolean {
    this.#all += bytes
    const own = (this.#byAddress.get(addressKey) ?? 0) + bytes
    this.#byAddress.set(addressKey, own)
    return this.#all <= MAX_HTTP_BODY_BYTES && own <= MAX_HTTP_BODY_BYTES_PER_ADDRESS
  }
  /** Gives back what was taken, whether it might be or not. */
  giveBack(addressKey: string, bytes: number): void {
    this.#all -= bytes
    const own = this.#byAddress.get(addressKey)! - bytes
    if (own > 0) this.#byAddress.set(addressKey, own)
    else this.#byAddress.delete(addressKey)
  }
}

/** A body whose bytes count until it is disposed. */
export interface Body extends Disposable {
  readonly bytes: Uint8Array
}

/** Content-Length as far as it says that the body is too large already. @throws TOO_LARGE */
export function checkLength(request: IncomingMessage): void {
  const length = request.headers['content-length']
  if (length !== undefined && Number(length) > MAX_MESSAGE_FRAME_BYTES) throw tooLarge()
}

/** @throws TOO_LARGE, PEER_TIMEOUT, QUEUE_FULL (too many bodies at once), PEER_PROTOCOL (it broke off) */
export async function readBody(
  request: IncomingMessage,
  budget: BodyBudget,
  addressKey: string,
  timeoutMs: number = HTTP_BODY_MS
): Promise<Body> {
  let n = 0
  const count = (bytes: number): boolean => {
    n += bytes
    return budget.take(addressKey, bytes)
  }
  const over = (): void => {
    if (n > 0) budget.giveBack(addressKey, n)
    n = 0
  }
  try {
    return { bytes: await receive(request, count, timeoutMs), [Symbol.dispose]: over }
  } catch (error) {
    over()
    throw error
  }
}

function receive(request: IncomingMessage, count: (bytes: number) => boolean, timeoutMs: number): Promise<Uint8Array> {
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
      parts.push(data)
      if (!count(data.length)) reject(new KithError('QUEUE_FULL', 'too many requests at once'))
      else if (n > MAX_MESSAGE_FRAME_BYTES) reject(tooLarge())
    })
    request.once('end', () => {
      isOver = true
      clearTimeout(timer)
      resolve(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
    })
    request.once('error', over).once('close', over)
  }).finally(() => {
    request.removeAllListeners('data')
    request.pause()
  })
}

const tooLarge = (): KithError => new KithError('TOO_LARGE', `a message has at most ${MAX_MESSAGE_FRAME_BYTES} bytes`)
