/** What a status that is not content means to the scheduler (../protocol.ts: Source.fetch). */
import { fromUtf8 } from '../../base/bytes.ts'
import { KithError, textOf } from '../../base/errors.ts'
import { MAX_PROBLEM_BYTES, MAX_REASON_CHARS } from './limits.ts'
import type { ResponseHead } from './response-head.ts'

/** Collects a short problem+json body. A longer one, or one of unknown length, is not read: the connection is given up instead. */
export class ProblemSink {
  readonly head: ResponseHead
  readonly ready = true
  readonly #bytes: Uint8Array
  #filled = 0

  /** @throws what `refusalOf` makes of the status alone, when the body is not worth reading */
  constructor(head: ResponseHead) {
    this.head = head
    const length = head.headers.has('transfer-encoding') ? undefined : head.length
    this.#bytes = new Uint8Array(Math.min(length ?? 0, MAX_PROBLEM_BYTES))
    if (length === undefined || length > MAX_PROBLEM_BYTES) throw refusalOf(this, true)
  }
  target(): Uint8Array {
    return this.#bytes.subarray(this.#filled)
  }
  filled(n: number): void {
    this.#filled += n
  }
  /** A string member of the problem, cut and cleaned for display; undefined when it is not there. */
  text(member: 'code' | 'detail'): string | undefined {
    try {
      const value = (JSON.parse(fromUtf8(this.#bytes.subarray(0, this.#filled))) as Record<string, unknown> | null)?.[member]
      return typeof value === 'string' ? textOf(value).slice(0, MAX_REASON_CHARS) : undefined
    } catch {
      return undefined
    }
  }
}

/** The error for an answer without content. Text in it comes from the other side, cleaned. */
export function refusalOf(problem: ProblemSink, kith: boolean): KithError {
  const { status, headers } = problem.head
  if (status === 402)
    return new KithError('PAYMENT_REQUIRED', 'the seeder wants to be paid first', { reason: problem.text('detail') ?? 'no reason given' })
  if (status >= 300 && status < 400) return new KithError('REDIRECT_FORBIDDEN', 'a source must not redirect', { status })
  if (status === 429 || status === 503) {
    const after = headers.get('retry-after') ?? ''
    return new KithError('SOURCE_BUSY', 'the server is busy', {
      status,
      ...(/^[0-9]{1,5}$/.test(after) ? { retryAfterSeconds: Number(after) } : {})
    })
  }
  if (status === 416 || status === 404) {
    if (problem.text('code') === 'CHUNK_MISSING') return new KithError('SOURCE_BUSY', 'the seeder does not have this part yet', { status })
    if (status === 416) return new KithError('SOURCE_LIED', 'the file on the server is shorter than it said', { status })
  }
  if (kith && status === 403)
    return new KithError('TICKET_REFUSED', 'the seeder refused the ticket', { reason: problem.text('code') ?? 'unknown' })
  return new KithError('SOURCE_LOST', 'the server does not serve this file', { status })
}
