/** One run of a task: fetches its files, calls the skill, reports progress, and makes an outcome of what comes back. */
import { utf8 } from '../base/bytes.ts'
import { KithError, textOf } from '../base/errors.ts'
import type { EntityId } from '../messaging/types.ts'
import { canonicalJson, type Json, parseJsonObject } from '../wire/strict-json.ts'
import type { Board } from './board.ts'
import type { Courier } from './courier.ts'
import type { TasksDeps } from './deps.ts'
import { MAX_INLINE_BYTES, MAX_NOTE_CHARS, PROGRESS_INTERVAL_MS, RUNNING_NOTICE_MS } from './limits.ts'
import { progressBody, readRequest, valueBytes } from './payloads.ts'
import { isFinal } from './states.ts'
import type { Outcome, TaskRow } from './store.ts'
import { type FileContent, type Skill, type TaskFile, TaskOutputFile } from './types.ts'

/** Progress is shown here at most so often, however often a program tells it. */
const SHOWN_INTERVAL_MS = PROGRESS_INTERVAL_MS / 10

export class Worker {
  readonly #deps: TasksDeps
  readonly #board: Board
  readonly #courier: Courier

  constructor(deps: TasksDeps, board: Board, courier: Courier) {
    this.#deps = deps
    this.#board = board
    this.#courier = courier
  }

  /** @throws FILE_UNAVAILABLE, TOO_LARGE, TASK_FAILED, or what the skill throws */
  async run(skill: Skill, row: TaskRow, signal: AbortSignal): Promise<Outcome> {
    const over = new AbortController()
    const report = this.#reporter(row, over.signal)
    const fetched: string[] = []
    try {
      const request = readRequest(parseJsonObject(utf8(this.#deps.store.request(row.key))))
      // When one cannot be had the others are not fetched on.
      const fetching = AbortSignal.any([signal, over.signal])
      const fetch = async (f: TaskFile): Promise<string> => {
        const path = await this.#fetch(f, row.peer, fetching)
        if (over.signal.aborted) this.#deps.files?.dropFile?.(path)
        else fetched.push(path)
        return path
      }
      const inputFile = request.inputFile && (await fetch(request.inputFile))
      const files = await Promise.all(request.files.map(async f => ({ ...f, path: await fetch(f) })))
      const { id, peer: from, description, idempotencyKey, attempts: attempt, deadline } = row
      const work = { id, skill: skill.name, from, description, input: request.input ?? null, inputFile, files, idempotencyKey }
      const made = await skill.run({ ...work, attempt, deadline }, { signal, progress: report })
      return await this.#outcome(made, row, signal)
    } finally {
      over.abort()
      for (const path of fetched) this.#deps.files?.dropFile?.(path)
    }
  }

  async #outcome(made: Json | TaskOutputFile, row: TaskRow, signal: AbortSignal): Promise<Outcome> {
    if (made instanceof TaskOutputFile) return { outputFile: await this.#put(made.content, row, signal) }
    let json: string
    try {
      // A number like 1e400, a date, a hole in a list: what JSON cannot carry is the skill's mistake.
      json = canonicalJson(made ?? null)
      valueBytes(made ?? null, Number.POSITIVE_INFINITY)
    } catch (cause) {
      throw new KithError('TASK_FAILED', 'the skill gave something that is not JSON', {}, { cause })
    }
    const bytes = utf8(json)
    if (bytes.length <= MAX_INLINE_BYTES) return { output: made ?? null }
    return { outputFile: await this.#put({ bytes, name: 'output.json' }, row, signal) }
  }

  async #put(content: FileContent, row: TaskRow, signal: AbortSignal): Promise<TaskFile> {
    if (!this.#deps.files) throw new KithError('TOO_LARGE', 'the output is too large for a message')
    const file = await this.#deps.files.putFile(content, signal)
    this.#deps.files.belongs?.(file, `received:${row.id}`)
    return file
  }
  async #fetch(file: TaskFile, from: EntityId, signal: AbortSignal): Promise<string> {
    try {
      if (this.#deps.files) return await this.#deps.files.getFile(file, signal, from)
    } catch (cause) {
      throw new KithError('FILE_UNAVAILABLE', 'a file of the task could not be fetched', {}, { cause })
    }
    throw new KithError('FILE_UNAVAILABLE', 'this node cannot fetch files')
  }

  /** Tells the giver that it runs, unless it is over at once, and how far it is, a few times a second at most. */
  #reporter(row: TaskRow, over: AbortSignal): (part: number, note?: string) => void {
    const { clock } = this.#deps
    let last: { readonly progress: number; readonly note: string } = { progress: 0, note: '' }
    let isWaiting = true
    let isShown = true
    let toldAt = Number.NEGATIVE_INFINITY
    let shownAt = Number.NEGATIVE_INFINITY
    const show = (): void => {
      shownAt = clock.monotonic()
      isShown = true
      const fresh = this.#deps.store.get(row.key)
      if (!fresh || isFinal(fresh.state)) return
      this.#board.setLive(row.key, last)
      this.#board.changed(fresh)
    }
    const tell = (): void => {
      isWaiting = false
      toldAt = clock.monotonic()
      if (!isShown) show()
      this.#courier.tell(row.peer, 'task_progress', progressBody({ taskId: row.id, state: 'IN_PROGRESS', ...last }))
    }
    const after = (ms: number): void => void clock.sleep(ms, over).then(tell, () => {})
    after(RUNNING_NOTICE_MS)
    return (part, note = '') => {
      if (over.aborted) return
      last = { progress: Math.min(1, Math.max(0, Number(part) || 0)), note: textOf(note).slice(0, MAX_NOTE_CHARS) }
      isShown = false
      if (clock.monotonic() - shownAt >= SHOWN_INTERVAL_MS) show()
      if (isWaiting) return
      isWaiting = true
      after(Math.max(0, toldAt + PROGRESS_INTERVAL_MS - clock.monotonic()))
    }
  }
}
