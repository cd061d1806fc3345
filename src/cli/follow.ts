/** Waiting for a message or a task to come to an end, with events rather than by asking again. */
import type { NodeClient } from '../api/node-client.ts'
import type { NodeEvent } from '../node/types.ts'

export interface Followed<T> {
  /** How it is now. */
  readonly read: () => Promise<T>
  /** What an event says of it; undefined when it is about something else. */
  readonly pick: (event: NodeEvent) => T | undefined
  readonly isOver: (value: T) => boolean
  readonly onChange?: (value: T) => void
}

/** Resolves with the last state: when it is over, or when `signal` has aborted or `timeoutMs` have passed. */
export async function follow<T>(client: NodeClient, what: Followed<T>, signal: AbortSignal, timeoutMs?: number): Promise<T> {
  const stop = new AbortController()
  const ended = AbortSignal.any([signal, stop.signal, ...(timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)])])
  try {
    const events = await client.events({}, ended)
    // Listening first: what happens between the two is not missed.
    let value: T = await what.read()
    what.onChange?.(value)
    if (what.isOver(value)) return value
    try {
      for await (const event of events) {
        const next = what.pick(event)
        if (next === undefined) continue
        value = next
        what.onChange?.(value)
        if (what.isOver(value)) return value
      }
    } catch (error) {
      if (!ended.aborted) throw error
    }
    return value
  } finally {
    stop.abort()
  }
}
