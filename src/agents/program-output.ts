/** What a program writes: its result on stdout, progress and complaints on stderr. All of it is bounded, and none of it moves a cursor. */
import { KithError, textOf } from '../base/errors.ts'
import { type Json, type JsonOf, parseJsonWith } from '../wire/strict-json.ts'
import { MAX_NOTE_CHARS, MAX_PROGRAM_OUTPUT_BYTES, MAX_STDERR_BYTES, MAX_STDERR_LINE_BYTES, MAX_VALUE_DEPTH } from './limits.ts'

/** JSON, if the whole output is; numbers may be spelled as they like (1.0) as long as nothing is lost. Else its text, without the last line break. */
export function outputOf(bytes: Uint8Array): Json {
  try {
    const options = { maxBytes: Math.max(bytes.length, MAX_PROGRAM_OUTPUT_BYTES), maxDepth: MAX_VALUE_DEPTH }
    return parseJsonWith<number>(bytes, exactNumber, options) as JsonOf<number> as Json
  } catch (error) {
    if (!(error instanceof KithError)) throw error
    // The decoder replaces what is not UTF-8, so that the text can be sent on.
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, '')
  }
}

function exactNumber(text: string): number | undefined {
  const n = Number(text)
  if (!Number.isFinite(n) || Object.is(n, -0)) return Object.is(n, -0) ? 0 : undefined
  return Number.isInteger(n) && !Number.isSafeInteger(n) ? undefined : n
}

const PROGRESS = /^progress:\s*(0|1|0?\.\d+|0\.\d*|1\.0*)(?:\s+(.*))?$/i

/** Takes stderr as it comes: remembers its end, and hears lines of progress. */
export class StderrReader {
  readonly #progress: (part: number, note: string) => void
  readonly #decoder = new TextDecoder()
  #tail: Uint8Array = new Uint8Array()
  #line = ''

  constructor(progress: (part: number, note: string) => void) {
    this.#progress = progress
  }

  push(part: Uint8Array): void {
    const kept = part.subarray(-MAX_STDERR_BYTES)
    const before = this.#tail.subarray(Math.max(0, this.#tail.length + kept.length - MAX_STDERR_BYTES))
    const tail = new Uint8Array(before.length + kept.length)
    tail.set(before)
    tail.set(kept, before.length)
    this.#tail = tail
    const lines = (this.#line + this.#decoder.decode(part, { stream: true })).split('\n')
    this.#line = (lines.pop() ?? '').slice(0, MAX_STDERR_LINE_BYTES)
    for (const line of lines) this.#hear(line)
  }

  /** The last 2 KiB, without lines of progress. */
  tail(): string {
    const text = new TextDecoder().decode(this.#tail)
    const lines = text.split('\n').filter(line => !PROGRESS.test(line.trim()))
    return lines.join('\n').trim()
  }

  #hear(line: string): void {
    const [, part, note = ''] = PROGRESS.exec(line.trim().slice(0, MAX_STDERR_LINE_BYTES)) ?? []
    if (part !== undefined) this.#progress(Number(part), textOf(note).slice(0, MAX_NOTE_CHARS))
  }
}
