/** Events waiting for one reader. Progress replaces older progress of the same thing, so a slow reader sees the newest. */
import { KithError } from '../base/errors.ts'
import type { NodeEvent } from '../node/types.ts'
import { MAX_QUEUED_EVENTS } from './limits.ts'

export class EventQueue implements AsyncIterable<NodeEvent> {
  /** In order of the first event of each key that still waits. */
  readonly #waiting = new Map<string, NodeEvent>()
  readonly #max: number
  #serial = 0
  #closed = false
  #overflow = false
  #wake: (() => void) | undefined

  constructor(max: number = MAX_QUEUED_EVENTS) {
    this.#max = max
  }

  /** Never throws and never blocks the sender. When full, the reader gets what waits and then API_BUSY. */
  push(event: NodeEvent): void {
    if (this.#closed) return
    const key = keyOf(event) ?? `#${this.#serial++}`
    if (!this.#waiting.has(key) && this.#waiting.size >= this.#max) {
      this.#overflow = true
      this.close()
      return
    }
    this.#waiting.set(key, event)
    this.#wake?.()
  }

  /** The reader gets what waits, then the end. */
  close(): void {
    this.#closed = true
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NodeEvent> {
    for (;;) {
      for (const [key, event] of this.#waiting) {
        this.#waiting.delete(key)
        yield event
      }
      if (this.#waiting.size > 0) continue
      if (this.#overflow) throw new KithError('API_BUSY', 'the reader of the event stream is too slow')
      if (this.#closed) return
      await new Promise<void>(resolve => (this.#wake = resolve))
      this.#wake = undefined
    }
  }
}

/** What a newer event makes out of date; undefined for events of which each one counts. */
function keyOf(event: NodeEvent): string | undefined {
  if (event.type === 'download:changed') return `d:${event.download.id}`
  if (event.type === 'share:progress') return `p:${event.path}`
  if (event.type === 'upload:progress') return `u:${event.fileId}`
  return undefined
}
