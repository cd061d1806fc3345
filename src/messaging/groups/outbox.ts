/** Gives the messenger what groups have to send, from disk: each copy under an id of its own that stays the same when it is given again. */
import { sha256 } from '#hash'
import { bytesToHex, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { Alarm } from '../alarm.ts'
import { GROUP_RETRY_MS } from '../limits.ts'
import type { EntityId, Messenger } from '../types.ts'
import type { GroupStore, OutgoingCopy, StoredDelivery } from './store.ts'

const BATCH = 64
/** It will never be taken. */
const HOPELESS = new Set(['BAD_ENTITY', 'TOO_LARGE', 'BAD_PAYLOAD'])

/** The id of one member's copy: the same each time, and another for each attempt. */
export const copyId = async (groupId: string, postId: string, to: EntityId, attempt: number): Promise<string> =>
  uuidOf(await sha256(utf8(`kith/group-copy/1 ${groupId} ${postId} ${to} ${attempt}`)))

/** A UUID v4 of 16 bytes (RFC 9562 §5.4). */
export function uuidOf(random: Uint8Array): string {
  const bytes = random.slice(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytesToHex(bytes)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

export interface GroupOutboxDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly messenger: Pick<Messenger, 'send'>
  readonly store: GroupStore
  readonly onDelivery: (delivery: StoredDelivery) => void
}

export class GroupOutbox implements AsyncDisposable {
  readonly #deps: GroupOutboxDeps
  readonly #alarm: Alarm
  #running: Promise<void> = Promise.resolve()
  #isRunning = false
  #again = false
  #closed = false

  constructor(deps: GroupOutboxDeps) {
    this.#deps = deps
    this.#alarm = new Alarm(deps.clock, () => void this.flush())
  }

  /** Gives everything that is there now, and what comes meanwhile. Never throws. */
  flush(): Promise<void> {
    this.#again = true
    if (!this.#isRunning) {
      this.#isRunning = true
      this.#running = this.#flush()
    }
    return this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#alarm[Symbol.dispose]()
    await this.#running
  }

  async #flush(): Promise<void> {
    const { store, log, clock } = this.#deps
    try {
      while (this.#again && !this.#closed) {
        this.#again = false
        const copies = store.outgoing(BATCH)
        const given = (await Promise.all(copies.map(c => this.#give(c)))).filter(c => c !== undefined)
        if (given.length > 0) {
          await store.commit(() => {
            for (const c of given) store.removeOutgoing(c.outId)
          })
        }
        if (given.length === BATCH) this.#again = true
        if (given.length < copies.length) this.#alarm.at(clock.monotonic() + GROUP_RETRY_MS)
      }
    } catch (cause) {
      log.warn('messages of groups wait', { cause })
      this.#alarm.at(clock.monotonic() + GROUP_RETRY_MS)
    } finally {
      // In the same breath as the last look at #again: a call in between would be lost.
      this.#isRunning = false
    }
  }

  /** @returns the copy when it needs no further attempt */
  async #give({ outId, to, type, body }: OutgoingCopy): Promise<OutgoingCopy | undefined> {
    const { messenger, store, clock, log, onDelivery } = this.#deps
    const copy = { outId, to, type, body }
    try {
      await messenger.send({ id: outId, to, type, body })
      return copy
    } catch (cause) {
      const code = codeOf(cause)
      log.debug('the messenger does not take a message of a group', { to, code, cause })
      const isLost = HOPELESS.has(code)
      const changed = await store.commit(() => store.setDelivery(outId, isLost ? 'failed' : 'waiting', code, clock.now()))
      if (changed) onDelivery(changed)
      return isLost ? copy : undefined
    }
  }
}
