/** The `chunk` messages of one link, in both directions: what comes in is handed on whole, what goes out follows the other side's wishes. */
import { KithError } from '../../base/errors.ts'
import { type ChunkPayload, chunkBody, readChunk } from '../../wire/chunk-payloads.ts'
import { type MessageType, messageTypeOf } from '../../wire/message-types.ts'
import { checkBody } from '../../wire/payloads.ts'
import { type JsonObject, parseJsonObject } from '../../wire/strict-json.ts'
import type { Failpoint } from '../failpoints.ts'
import { MAX_MESSAGE_PAYLOAD_BYTES } from '../limits.ts'
import type { WaitingMessage } from '../store.ts'
import type { EntityId } from '../types.ts'
import type { ChunkReceiver } from './chunk-receiver.ts'
import type { ChunkSender } from './chunk-sender.ts'
import { INTERNAL_TYPES } from './outbox.ts'

export interface ChunkExchangeDeps {
  readonly from: EntityId
  readonly sender: ChunkSender
  readonly receiver: ChunkReceiver
  readonly failpoint: Failpoint
  readonly hasReceived: (id: string) => boolean
  /** Resolves when all that was received until now is on disk. */
  readonly durable: () => Promise<void>
  readonly say: (body: JsonObject) => void
  /** A message of our own that is over: durable there, or to be sent again. */
  readonly onOver: (message: WaitingMessage, isDelivered: boolean) => void
}

export interface WholeMessage {
  readonly id: string
  readonly type: MessageType
  readonly body: JsonObject
  /** Of the whole payload. */
  readonly bytes: number
}

export class ChunkExchange {
  readonly #deps: ChunkExchangeDeps

  constructor(deps: ChunkExchangeDeps) {
    this.#deps = deps
  }

  /** @returns a message that is whole by it: `stored` is to be called when it is durable @throws BAD_PAYLOAD, TRANSFER_BROKEN, UNSUPPORTED, any code of wire */
  take(body: JsonObject, now: number): WholeMessage | undefined {
    this.#deps.failpoint('chunk:received')
    const chunk = readChunk(body)
    if (chunk.kind === 'init') this.#announced(chunk)
    else if (chunk.kind === 'part') return this.#part(chunk)
    else {
      const over = this.#deps.sender.onAnswer(chunk, now)
      if (over) this.#deps.onOver(over.message, over.isDelivered)
    }
    return undefined
  }

  /** A message that came in chunks is durable: its sender may forget it. */
  stored(id: string): void {
    this.#deps.say(chunkBody({ kind: 'complete', transferId: id }))
  }

  #announced(init: ChunkPayload & { readonly kind: 'init' }): void {
    const { from, receiver, hasReceived, durable, say } = this.#deps
    // It may be on its way to the disk still; when it does not get there its sender is not answered, and asks again.
    if (hasReceived(init.transferId))
      void durable().then(
        () => this.stored(init.transferId),
        () => {}
      )
    else say(chunkBody({ kind: 'resend', transferId: init.transferId, missing: receiver.init(from, init) }))
  }

  #part(part: ChunkPayload & { readonly kind: 'part' }): WholeMessage | undefined {
    const { from, receiver, say, failpoint } = this.#deps
    const result = receiver.part(from, part)
    if (!result) return undefined
    if ('missing' in result) {
      say(chunkBody({ kind: 'resend', transferId: part.transferId, missing: result.missing }))
      return undefined
    }
    failpoint('chunk:whole')
    return readWhole(part.transferId, result.type, result.whole)
  }
}

function readWhole(id: string, name: string, payload: Uint8Array): WholeMessage {
  const type = messageTypeOf(name)
  if (!type || INTERNAL_TYPES.has(type)) throw new KithError('UNSUPPORTED', 'not a type that comes in chunks')
  const { message_id: inside, ...body } = parseJsonObject(payload, { maxBytes: MAX_MESSAGE_PAYLOAD_BYTES })
  if (inside !== id) throw new KithError('BAD_PAYLOAD', 'the whole message has another id than its transfer')
  checkBody(type, body, payload.length)
  return { id, type, body, bytes: payload.length }
}
