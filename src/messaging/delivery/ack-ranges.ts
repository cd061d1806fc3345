/** Sequence numbers that are acknowledged, as ranges: [1, 2, 3, 7] is [[1, 3], [7, 7]]. */
import { KithError } from '../../base/errors.ts'
import { isUuidV4 } from '../../wire/secure-message.ts'
import { isJsonObject, type Json, type JsonObject } from '../../wire/strict-json.ts'
import { MAX_ACK_RANGES, MAX_ACK_REFUSALS, MAX_CODE_CHARS } from '../limits.ts'

export interface Refusal {
  readonly sequence: number
  readonly code: string
}
export interface Ack {
  readonly ranges: readonly (readonly [number, number])[]
  readonly refused: readonly Refusal[]
  /** message_ids of what came without a session and is durable. */
  readonly receipts: readonly string[]
}

/** What is to be acknowledged next. Bounded by what the other side may have unacknowledged. */
export class AckBook {
  #sequences: number[] = []
  #refused: Refusal[] = []

  add(sequence: number): void {
    this.#sequences.push(sequence)
  }
  refuse(sequence: number, code: string): void {
    this.#refused.push({ sequence, code })
  }
  /** What waits to be acknowledged or refused. */
  get size(): number {
    return this.#sequences.length + this.#refused.length
  }
  get isEmpty(): boolean {
    return this.#sequences.length === 0 && this.#refused.length === 0
  }

  /** As much as one acknowledgement holds. */
  take(): Ack {
    const sequences = this.#sequences.sort((a, b) => a - b)
    const ranges: [number, number][] = []
    let at = 0
    for (; at < sequences.length; at++) {
      const s = sequences[at]!
      const last = ranges.at(-1)
      if (last && s <= last[1] + 1) last[1] = s
      else if (ranges.length === MAX_ACK_RANGES) break
      else ranges.push([s, s])
    }
    this.#sequences = sequences.slice(at)
    return { ranges, refused: this.#refused.splice(0, MAX_ACK_REFUSALS), receipts: [] }
  }
}

export function ackBody(ack: Ack): JsonObject {
  return {
    ranges: ack.ranges.map(([first, last]) => [first, last]),
    refused: ack.refused.map(r => ({ sequence_num: r.sequence, error_code: r.code })),
    ...(ack.receipts.length > 0 && { message_ids: ack.receipts })
  }
}

const isSequence = (n: Json | undefined): n is number => Number.isSafeInteger(n) && (n as number) >= 1

/** @throws BAD_PAYLOAD */
export function readAck(body: JsonObject): Ack {
  const { ranges, refused = [], message_ids: receipts = [] } = body
  if (!Array.isArray(receipts) || receipts.length > MAX_ACK_RANGES || !receipts.every(isUuidV4)) return bad()
  if (!Array.isArray(ranges) || ranges.length > MAX_ACK_RANGES || !Array.isArray(refused) || refused.length > MAX_ACK_REFUSALS) return bad()
  return {
    receipts: receipts as readonly string[],
    ranges: ranges.map((r: Json) => {
      if (!Array.isArray(r) || r.length !== 2 || !isSequence(r[0]) || !isSequence(r[1]) || r[0] > r[1]) return bad()
      return [r[0], r[1]] as const
    }),
    refused: refused.map((r: Json) => {
      if (!isJsonObject(r)) return bad()
      const { sequence_num: sequence, error_code: code } = r
      if (!isSequence(sequence) || typeof code !== 'string' || code.length > MAX_CODE_CHARS || !/^[A-Z0-9_]+$/.test(code)) return bad()
      return { sequence, code }
    })
  }
}

function bad(): never {
  throw new KithError('BAD_PAYLOAD', 'not an acknowledgement')
}
