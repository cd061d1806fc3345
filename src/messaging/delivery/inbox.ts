/**
 * What others sent: stored once, acknowledged when that is durable, then acted on. Frames that arrive while a commit runs share the next
 * one.
 */
import { codeOf, hasCode } from '../../base/errors.ts'
import type { Emitter } from '../../base/events.ts'
import type { Logger } from '../../base/log.ts'
import type { Failpoint, PlantedBug } from '../failpoints.ts'
import { MAX_UNCOMMITTED_BYTES } from '../limits.ts'
import type { MessageStore } from '../store.ts'
import type { IncomingMessage, MessengerEvents } from '../types.ts'
import { newUuid } from '../uuid.ts'
import type { Handlers } from './handlers.ts'

export interface InboxDeps {
  readonly log: Logger
  readonly store: MessageStore
  readonly events: Emitter<MessengerEvents>
  readonly handlers: Handlers
  readonly failpoint: Failpoint
  readonly plantedBug: PlantedBug | undefined
}

/** What becomes of a message: undefined when it is durable (now or since before), else the error that kept it from being stored. */
export type Settle = (error: unknown) => void

interface Arrival {
  readonly message: IncomingMessage
  readonly bytes: number
  /** Done in the same transaction; when it throws the message is not stored. */
  readonly within: (() => void) | undefined
  readonly settle: Settle
}

/** The row of a message that is new, or why it was not stored; neither: it was received before. */
interface Stored {
  readonly seq?: number | undefined
  readonly error?: unknown
}

/** So many messages are acknowledged before the planted bug commits any: what a crash loses then is no matter of chance. */
const MISTAKEN_BATCH = 900

/** Ids remembered by the planted bug, which forgets them in a crash. */
const keyOf = (m: IncomingMessage): string => `${m.from} ${m.id}`

export class Inbox {
  readonly #deps: InboxDeps
  #arrivals: Arrival[] = []
  #uncommitted = 0
  #waiters: (() => void)[] = []
  readonly #planted = new Set<string>()

  constructor(deps: InboxDeps) {
    this.#deps = deps
  }

  /** Stores a message with the next commit. `settle` is called once, and must not throw. */
  add(message: IncomingMessage, bytes: number, settle: Settle, within?: () => void): void {
    this.#deps.failpoint('inbox:queued')
    this.#uncommitted += bytes
    this.#arrivals.push({ message, bytes, within, settle })
    const isMistaken = this.#deps.plantedBug === 'ack-before-commit'
    if (isMistaken) settle(undefined)
    if (this.#arrivals.length === (isMistaken ? MISTAKEN_BATCH : 1)) void this.#commitNext()
  }

  /** Whether more may be read now. */
  get hasRoom(): boolean {
    return this.#uncommitted < MAX_UNCOMMITTED_BYTES
  }
  /** Resolves when there is room again. */
  room(): Promise<void> {
    return this.hasRoom ? Promise.resolve() : new Promise(resolve => this.#waiters.push(resolve))
  }

  async #commitNext(): Promise<void> {
    let batch: readonly Arrival[] = []
    let error: unknown
    let rows: readonly Stored[] = []
    try {
      rows = await this.#deps.store.commit(() => {
        // Whatever has come until now; a second attempt of this transaction stores the same ones.
        if (batch.length === 0) {
          batch = this.#arrivals
          this.#arrivals = []
        }
        this.#deps.failpoint('inbox:in-transaction')
        return batch.map(a => this.#store(a))
      })
      this.#deps.failpoint('inbox:committed')
    } catch (cause) {
      error = cause
      // A disk that failed was told of when it did.
      const level = hasCode(cause, 'DISK_FAILED') ? 'debug' : 'warn'
      this.#deps.log[level]('received messages could not be stored: they are refused until they can be', { code: codeOf(cause), cause })
    }
    if (batch.length === 0) {
      batch = this.#arrivals
      this.#arrivals = []
    }
    this.#settle(batch, rows, error)
  }

  #store({ message, within }: Arrival): Stored {
    const { store, plantedBug } = this.#deps
    if (plantedBug === 'replay-in-memory') return { seq: this.#storeForgetfully(message) }
    try {
      within?.()
    } catch (error) {
      return { error }
    }
    return { seq: store.addReceived(message) }
  }
  #storeForgetfully(message: IncomingMessage): number | undefined {
    if (this.#planted.has(keyOf(message))) return undefined
    this.#planted.add(keyOf(message))
    // A new id stands for a store that does not look for the old one.
    const { store } = this.#deps
    return store.addReceived(message) ?? store.addReceived({ ...message, id: newUuid() })
  }

  #settle(batch: readonly Arrival[], rows: readonly Stored[], error: unknown): void {
    const { events, handlers, plantedBug } = this.#deps
    for (const { bytes } of batch) this.#uncommitted -= bytes
    if (plantedBug !== 'ack-before-commit') for (const [i, a] of batch.entries()) a.settle(error ?? rows[i]?.error)
    for (const [i, { message }] of batch.entries()) {
      const seq = rows[i]?.seq
      if (error !== undefined || seq === undefined) continue
      events.emit('message:received', { message })
      handlers.offer({ ...message, seq })
    }
    if (!this.hasRoom) return
    for (const wake of this.#waiters.splice(0)) wake()
  }
}
