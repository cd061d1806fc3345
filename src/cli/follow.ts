/** Waiting for a message or a task to come to an end, with events rather than by asking again. */
import type { NodeClient } from '../api/node-client.ts'
import type { MessageView } from '../node/ask-types.ts'
import type { NodeEvent } from '../node/types.ts'
import type { Context } from './context.ts'
import { clean, parseDuration } from './format.ts'
import type { Session } from './session.ts'

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

const settled = (m: MessageView): boolean => m.state === 'delivered' || m.state === 'failed' || m.state === 'relayed'

/** Watches what becomes of a message for a while, and says on stderr why that takes so long. @param wait how long, as text @throws BAD_DURATION */
export async function followMessage(context: Context, session: Session, sent: MessageView, wait: string): Promise<MessageView> {
  const { ask } = session.client
  const { signal } = context.lifetime
  const seen = { code: '' }
  const last = await follow(
    session.client,
    {
      read: () => ask.message(sent.id),
      pick: e => (e.type === 'message:changed' && e.message.id === sent.id ? e.message : undefined),
      isOver: settled,
      onChange: m => {
        // A message to a group reaches some first: that is no reason to wait.
        const code = m.reason && m.reason.code !== 'PARTLY_DELIVERED' ? m.reason.code : ''
        if (!settled(m) && code !== '' && seen.code === '')
          context.output.note(
            `Waiting up to ${clean(wait, 20)}: ${clean(m.reason!.message, 200)} … Ctrl-C ends the waiting, the message stays.`
          )
        seen.code = code
      }
    },
    signal,
    parseDuration(wait)
  )
  // Events do not hold the text, nor when the next try is by now.
  return await ask.message(last.id)
}
