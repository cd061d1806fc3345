/** What the asking side of request/response shares: turning answered codes into errors, and a line in front of each peer. */
import { KithError } from '../base/errors.ts'
import { MAX_CALLS_PER_PEER, MAX_WAITING_CALLS } from './limits.ts'

/** The error for a code that a peer answered. RATE_LIMITED keeps its name: callers wait and ask again. */
export function callerError(code: string, peerId: string, method: string): KithError {
  if (code === 'RATE_LIMITED') return new KithError('RATE_LIMITED', 'the peer wants fewer requests', { peer: peerId, method })
  return new KithError('PEER_REFUSED', 'the peer refused the request', { peer: peerId, method, code })
}

/** At most 16 calls to one peer at a time; further ones wait in order, so that a peer's own limit is not met by accident. */
export class CallQueue {
  readonly #peers = new Map<string, { running: number; readonly waiting: (() => void)[] }>()
  #waiting = 0

  /** Runs `call` when it is its turn. @throws RATE_LIMITED when too many wait, or the signal's reason */
  async run<T>(peerId: string, call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const line = this.#peers.get(peerId) ?? { running: 0, waiting: [] }
    this.#peers.set(peerId, line)
    if (line.running >= MAX_CALLS_PER_PEER) await this.#wait(line.waiting, signal)
    else line.running++
    try {
      return await call()
    } finally {
      const next = line.waiting.shift()
      if (next) next()
      else if (--line.running === 0) this.#peers.delete(peerId)
    }
  }

  /** Resolves holding the place of the call that ended. */
  #wait(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
    if (this.#waiting >= MAX_WAITING_CALLS) throw new KithError('RATE_LIMITED', 'too many requests wait for peers')
    this.#waiting++
    return new Promise<void>((resolve, reject) => {
      const turn = (): void => {
        this.#waiting--
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = (): void => {
        this.#waiting--
        waiting.splice(waiting.indexOf(turn), 1)
        reject(signal.reason)
      }
      if (signal.aborted) {
        this.#waiting--
        reject(signal.reason)
        return
      }
      waiting.push(turn)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }
}
