/**
 * Large messages on their way out on one link: announced, then sent in the parts that the other side says are missing, until it says that
 * the whole is durable. What is whole is decided by the receiver alone, so a link that broke in between costs only what was under way.
 * Spec: docs/wire/message.md §4 (chunk)
 */
import { sha256 } from '#hash'
import { type ChunkPayload, chunkBody } from '../../wire/chunk-payloads.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import { MAX_TRANSFERS_PER_LINK, MESSAGE_CHUNK_BYTES, PARTIAL_IDLE_MS } from '../limits.ts'
import type { WaitingMessage } from '../store.ts'

interface Transfer {
  readonly message: WaitingMessage
  readonly payload: Uint8Array
  readonly parts: number
  readonly partBytes: number
  /** Parts that are to be sent, in order. */
  missing: number[]
  touchedAt: number
}

export class ChunkSender {
  readonly #transfers = new Map<string, Transfer>()

  get hasRoom(): boolean {
    return this.#transfers.size < MAX_TRANSFERS_PER_LINK
  }
  /** Bytes of the next part; undefined when none is to be sent. */
  get nextBytes(): number | undefined {
    return this.#next()?.partBytes
  }
  /** What is not known to be durable. */
  messages(): WaitingMessage[] {
    return [...this.#transfers.values()].map(t => t.message)
  }

  /** Begins with a message. @returns the body of the `chunk` that announces it */
  begin(message: WaitingMessage, payload: Uint8Array, now: number): JsonObject {
    // As the layout wants it: equal parts.
    const parts = Math.ceil(payload.length / MESSAGE_CHUNK_BYTES)
    this.#transfers.set(message.id, { message, payload, parts, partBytes: Math.ceil(payload.length / parts), missing: [], touchedAt: now })
    return chunkBody({
      ...{ kind: 'init', transferId: message.id, originalMsgType: message.type, totalBytes: payload.length },
      ...{ totalChunks: parts, sha256: sha256(payload) }
    })
  }

  /** The body of the next part's `chunk`. Transfers take turns. */
  takePart(now: number): { readonly id: string; readonly body: JsonObject } | undefined {
    const transfer = this.#next()
    const index = transfer?.missing.shift()
    if (!transfer || index === undefined) return undefined
    transfer.touchedAt = now
    const { id } = transfer.message
    this.#transfers.delete(id)
    this.#transfers.set(id, transfer)
    const { partBytes, parts: totalChunks } = transfer
    const data = transfer.payload.subarray(index * partBytes, (index + 1) * partBytes)
    const checksum = sha256(data).slice(0, 16)
    return { id, body: chunkBody({ kind: 'part', transferId: id, chunkIndex: index, totalChunks, data, checksum }) }
  }

  /** The receiver's word. @returns the message that is over by it: durable there, or to be begun again because its parts were forgotten */
  onAnswer(answer: ChunkPayload, now: number): { readonly message: WaitingMessage; readonly isDelivered: boolean } | undefined {
    const transfer = this.#transfers.get(answer.transferId)
    if (!transfer) return undefined
    transfer.touchedAt = now
    if (answer.kind === 'resend') transfer.missing = missingOf(answer.missing, transfer.parts)
    const isDelivered = answer.kind === 'complete'
    if (!isDelivered && transfer.missing.length > 0) return undefined
    this.drop(answer.transferId)
    return { message: transfer.message, isDelivered }
  }

  /** Gives a message up. */
  drop(id: string): WaitingMessage | undefined {
    const transfer = this.#transfers.get(id)
    this.#transfers.delete(id)
    return transfer?.message
  }

  /** When the receiver of one will have said nothing for too long. */
  due(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { touchedAt } of this.#transfers.values()) due = Math.min(due, touchedAt + PARTIAL_IDLE_MS)
    return due
  }

  #next(): Transfer | undefined {
    for (const transfer of this.#transfers.values()) if (transfer.missing.length > 0) return transfer
    return undefined
  }
}

function missingOf(ranges: readonly (readonly [number, number])[], parts: number): number[] {
  const out: number[] = []
  for (const [first, last] of ranges) for (let i = first; i <= Math.min(last, parts - 1); i++) out.push(i)
  return out
}
