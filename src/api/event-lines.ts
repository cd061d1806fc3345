/** Events as NDJSON: one JSON value per line, and an empty line at the start and after silence. */
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { NodeEvent } from '../node/types.ts'
import { HEARTBEAT_MS } from './limits.ts'

/**
 * The body of an event stream. `end` runs once, when the reader goes, `signal` aborts, or the events end: a stream that the node
 * breaks off (a reader too slow) simply ends, and the client asks again.
 */
export function eventLines(
  deps: { readonly clock: Pick<Clock, 'sleep'> },
  events: AsyncIterable<NodeEvent>,
  stop: AbortController,
  end: () => void
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = events[Symbol.asyncIterator]()
  let next: Promise<IteratorResult<NodeEvent>> | undefined
  let over = false
  const finish = (): void => {
    if (over) return
    over = true
    stop.abort()
    end()
  }
  return new ReadableStream({
    // The first line goes out at once, so that the client knows that it is listening.
    start: controller => controller.enqueue(NEWLINE),
    async pull(controller) {
      next ??= reader.next()
      const quiet = new AbortController()
      const silence = deps.clock.sleep(HEARTBEAT_MS, quiet.signal).then(
        () => undefined,
        () => undefined
      )
      try {
        const got = await Promise.race([next, silence])
        if (got === undefined) return controller.enqueue(NEWLINE)
        next = undefined
        if (!got.done) return controller.enqueue(utf8(`${JSON.stringify(got.value, wellFormed)}\n`))
      } catch {
        // too slow a reader: the stream ends
      } finally {
        quiet.abort()
      }
      finish()
      controller.close()
    },
    cancel: finish
  })
}

const NEWLINE = utf8('\n')
/** Names come from peers: a lone surrogate has no UTF-8 form. */
const wellFormed = (_: string, v: unknown): unknown => (typeof v === 'string' ? v.toWellFormed() : v)
