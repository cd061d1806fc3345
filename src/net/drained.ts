/**
 * Back-pressure of a libp2p stream. Its own `onDrain` answers at once after the first time, because it keeps the promise that was resolved
 * then: a sender that trusts it piles up everything in memory. libp2p-streams.test.ts fails when an update changes what is used here.
 */
import type { Stream } from '@libp2p/interface'

/** A reason that costs nothing, unlike the exception with a stack that `abort()` makes. */
const SETTLED = 'settled'

/** Resolves when more may be sent. Rejects when the stream ends before that, or with the signal's reason. */
export function drained(stream: Stream, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const listening = new AbortController()
    const once = { signal: listening.signal }
    const settle = (act: () => void): void => {
      listening.abort(SETTLED)
      act()
    }
    const look = (): void => {
      if (!stream.writableNeedsDrain) settle(resolve)
    }
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', () => settle(() => reject(signal.reason)), once)
    stream.addEventListener('close', () => settle(() => reject(new Error('the stream ended'))), once)
    // What waits in the stream is sent in a microtask after the event, and may fill it again.
    stream.addEventListener('drain', () => queueMicrotask(() => queueMicrotask(look)), once)
    if (stream.status !== 'open') settle(() => reject(new Error('the stream ended')))
    else look()
  })
}
