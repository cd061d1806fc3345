/**
 * Texts that were too long for a message came as a link. Those of peers whom the user knows are fetched and kept as what they are: texts.
 * Those of others stay a link, as do files. The sender is told when one was fetched, so that it need not give it any longer.
 */
import type { TaskFile, TaskFiles } from '../../agents/types.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { OpenMessenger } from '../../messaging/messenger.ts'
import type { EntityId, IncomingMessage } from '../../messaging/types.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import {
  LONG_TEXT_RETRY_MS,
  LONG_TEXT_TRIED_MS,
  LONG_TEXTS_AT_ONCE,
  LONG_TEXTS_LOOKED_AT,
  MAX_LINK_MESSAGE_BYTES,
  MAX_LONG_TEXT_BYTES
} from '../limits.ts'

export interface LongTextsDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly messenger: Pick<OpenMessenger, 'self' | 'inbox' | 'send' | 'events'>
  readonly files: TaskFiles
  readonly texts: { has(from: string, id: string): boolean; put(from: string, id: string, text: Uint8Array): void }
  readonly read: (path: string) => Promise<Uint8Array>
  /** Verified, named or granted something by the user. */
  readonly isKnown: (from: EntityId) => boolean
  /** A text is there, or cannot be had now: it may be shown. */
  readonly show: (message: IncomingMessage) => void
}

interface Wanted {
  readonly message: IncomingMessage
  isShown: boolean
}

export class LongTexts implements AsyncDisposable {
  readonly #deps: LongTextsDeps
  readonly #wanted = new Map<string, Wanted>()
  readonly #running = new Map<string, Promise<boolean>>()
  /** A download that is done is told of more than once. */
  readonly #told = new Set<string>()
  readonly #closing = new AbortController()
  #tending: Promise<void> | undefined

  constructor(deps: LongTextsDeps) {
    this.#deps = deps
  }

  /** Goes on with what an earlier run did not get. */
  start(): void {
    const { messenger } = this.#deps
    for (const m of this.#recent()) if (this.#wants(m)) this.#want(m, true)
    messenger.events.on('peer:connected', ({ entityId }) => this.#fetchAll(entityId), this.#closing.signal)
    this.#tending = this.#tend()
  }

  /** A message has come. @returns whether it is shown later, when its text is there */
  take(message: IncomingMessage): boolean {
    if (!this.#wants(message)) return false
    this.#want(message, false)
    return true
  }

  /** The user has fetched a file: whoever sent it need not give it any longer. */
  fetched(link: string): void {
    if ([...this.#wanted.values()].some(w => linkOf(w.message.body) === link)) return
    const found = this.#recent().find(m => linkOf(m.body) === link)
    if (found && !this.#told.has(found.id)) this.#tellFetched(found)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#tending
    await Promise.all(this.#running.values())
  }

  /** Messages that may name a file. */
  #recent(): IncomingMessage[] {
    return this.#deps.messenger.inbox({ limit: LONG_TEXTS_LOOKED_AT, type: 'agent_message', maxBytes: MAX_LINK_MESSAGE_BYTES })
  }
  #wants(m: IncomingMessage): boolean {
    const { clock, texts, isKnown } = this.#deps
    const file = longTextOf(m.body)
    if (m.type !== 'agent_message' || !file || file.size > MAX_LONG_TEXT_BYTES) return false
    return clock.now() - m.receivedAt < LONG_TEXT_TRIED_MS && isKnown(m.from) && !texts.has(m.from, m.id)
  }
  #want(message: IncomingMessage, isShown: boolean): void {
    this.#wanted.set(keyOf(message), { message, isShown })
    this.#fetchAll()
  }

  #fetchAll(from?: EntityId): void {
    for (const [key, wanted] of this.#wanted) {
      if (this.#running.size >= LONG_TEXTS_AT_ONCE || this.#closing.signal.aborted) return
      if (this.#running.has(key) || (from !== undefined && wanted.message.from !== from)) continue
      const running = this.#fetch(key, wanted).finally(() => this.#running.delete(key))
      this.#running.set(key, running)
      // Others wait for the place, but the same one is not tried again at once.
      void running.then(isDone => isDone && this.#fetchAll())
    }
  }

  async #fetch(key: string, wanted: Wanted): Promise<boolean> {
    const { files, texts, read, log, show } = this.#deps
    const { message } = wanted
    try {
      const path = await files.getFile(longTextOf(message.body)!, this.#closing.signal, message.from)
      try {
        texts.put(message.from, message.id, await read(path))
      } finally {
        files.dropFile?.(path)
      }
      this.#wanted.delete(key)
      this.#tellFetched(message)
      show(message)
      return true
    } catch (cause) {
      log.debug('a long text was not fetched', { from: message.from, code: codeOf(cause), cause })
      if (!wanted.isShown && !this.#closing.signal.aborted) show(message)
      wanted.isShown = true
      return false
    }
  }

  #tellFetched({ from, id }: IncomingMessage): void {
    this.#told.add(id)
    for (const oldest of this.#told) if (this.#told.size > LONG_TEXTS_LOOKED_AT) this.#told.delete(oldest)
    const { messenger, log } = this.#deps
    const body = fetchedBody(messenger.self, from, { message_id: id })
    messenger
      .send({ to: from, type: 'agent_message', body })
      .catch((cause: unknown) => log.debug('not told that a file was fetched', { cause }))
  }

  async #tend(): Promise<void> {
    const { clock } = this.#deps
    for (;;) {
      await clock.sleep(LONG_TEXT_RETRY_MS, this.#closing.signal).catch(() => {})
      if (this.#closing.signal.aborted) return
      for (const [key, { message }] of this.#wanted) if (!this.#wants(message)) this.#wanted.delete(key)
      this.#fetchAll()
    }
  }
}

const FETCHED = 'file_fetched'
const keyOf = (m: IncomingMessage): string => `${m.from} ${m.id}`

interface Content {
  readonly type?: unknown
  readonly data?: { readonly text?: unknown; readonly message_id?: unknown; readonly task_id?: unknown; readonly file?: Partial<TaskFile> }
}
const contentOf = (body: JsonObject): Content => (body['content'] ?? {}) as Content

function fileOf(body: JsonObject): TaskFile | undefined {
  const { link, name, size } = contentOf(body).data?.file ?? {}
  return typeof link === 'string' && typeof name === 'string' && typeof size === 'number' && size >= 0 ? { link, name, size } : undefined
}
const linkOf = (body: JsonObject): string | undefined => fileOf(body)?.link

/** The file that is the text of a message; undefined: its text is in it, or it is something else. */
export function longTextOf(body: JsonObject): TaskFile | undefined {
  const { type, data } = contentOf(body)
  return type === 'text' && data?.text === undefined ? fileOf(body) : undefined
}

/** What the other side has fetched the file of, as LentFiles calls owners; undefined: the message says something else. */
export function fetchedOwnerOf({ type, body }: Pick<IncomingMessage, 'type' | 'body'>): string | undefined {
  const { type: kind, data } = contentOf(body)
  if (type !== 'agent_message' || kind !== FETCHED) return undefined
  return typeof data?.task_id === 'string' ? `received:${data.task_id}` : `message:${String(data?.message_id)}`
}

/** The body that says so. @param of the message or task of the other side whose file was fetched */
export const fetchedBody = (
  from: EntityId,
  to: EntityId,
  of: { readonly message_id: string } | { readonly task_id: string }
): JsonObject => ({
  from,
  to,
  content: { type: FETCHED, data: { ...of } }
})
