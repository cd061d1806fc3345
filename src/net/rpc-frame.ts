/**
 * Frames of request and response, one message each way on a stream of its own.
 *
 * Request:
 *
 * | bytes | field  | notes                              |
 * | ----: | ------ | ---------------------------------- |
 * |     4 | length | big endian, ≤ the method's limit   |
 * |     n | body   |                                    |
 *
 * Response:
 *
 * | bytes | field  | notes                                                              |
 * | ----: | ------ | ------------------------------------------------------------------ |
 * |     1 | status | 0: answer; 1: refused, the body is an error code                   |
 * |     4 | length | big endian, ≤ what the caller allows; ≤ 64 when refused            |
 * |     n | body   | refused: upper-case ASCII letters, digits and _, first a letter    |
 *
 * Spec: docs/wire/rpc.md
 */
import { concatBytes, utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { MAX_CODE_BYTES } from './limits.ts'

export type Answer = { readonly body: Uint8Array } | { readonly code: string }

const length = (n: number): Uint8Array => Uint8Array.of(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)

/** Bytes of a request. */
export const requestFrame = (body: Uint8Array): Uint8Array<ArrayBuffer> => concatBytes(length(body.length), body)

/** Bytes of a response. */
export function responseFrame(answer: Answer): Uint8Array<ArrayBuffer> {
  const body = 'code' in answer ? utf8(answer.code) : answer.body
  return concatBytes(Uint8Array.of('code' in answer ? 1 : 0), length(body.length), body)
}

const CODE = /^[A-Z][A-Z0-9_]*$/
/** Whether an error code may go over the wire. */
export const isWireCode = (code: string): boolean => code.length <= MAX_CODE_BYTES && CODE.test(code)

/**
 * Collects one frame from pieces of any size. The buffer grows with what arrived, by doubling, never with what was announced, and many
 * tiny pieces cost no more than one large one (threats CO9, CO11).
 */
export class FrameReader {
  readonly #headBytes: number
  readonly #maxBytes: number
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(256)
  #held = 0
  #head: { readonly status: number; readonly total: number } | undefined

  constructor(kind: 'request' | 'response', maxBytes: number) {
    this.#headBytes = kind === 'response' ? 5 : 4
    this.#maxBytes = maxBytes
  }

  /**
   * Takes a piece. @returns the answer (for requests always `body`) when the frame is whole, else undefined
   * @throws REQUEST_TOO_LARGE (requests), PEER_PROTOCOL
   */
  push(piece: Uint8Array): Answer | undefined {
    this.#append(piece)
    if (!this.#head && this.#held >= this.#headBytes) this.#head = this.#readHead()
    if (!this.#head || this.#held < this.#head.total) return undefined
    if (this.#held > this.#head.total) throw new KithError('PEER_PROTOCOL', 'bytes after the message')
    const body = this.#buffer.slice(this.#headBytes, this.#held)
    if (this.#head.status === 0) return { body }
    const code = String.fromCharCode(...body)
    if (!isWireCode(code)) throw new KithError('PEER_PROTOCOL', 'an error answer without a code')
    return { code }
  }

  #append(piece: Uint8Array): void {
    // A piece comes from a bounded stream buffer; what lies beyond the frame is refused in push, so only the limit is worth keeping.
    const wanted = this.#held + piece.length
    if (wanted > this.#headBytes + Math.max(this.#maxBytes, MAX_CODE_BYTES)) {
      if (!this.#head && this.#held < this.#headBytes) {
        this.#append(piece.subarray(0, this.#headBytes - this.#held))
        this.#readHead()
      }
      throw new KithError('PEER_PROTOCOL', 'bytes after the message')
    }
    if (wanted > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(wanted, this.#buffer.length * 2))
      larger.set(this.#buffer.subarray(0, this.#held))
      this.#buffer = larger
    }
    this.#buffer.set(piece, this.#held)
    this.#held = wanted
  }

  #readHead(): { status: number; total: number } {
    const isResponse = this.#headBytes === 5
    const status = isResponse ? this.#buffer[0]! : 0
    if (status > 1) throw new KithError('PEER_PROTOCOL', 'unknown status', { status })
    const size = new DataView(this.#buffer.buffer).getUint32(this.#headBytes - 4)
    const max = status === 1 ? MAX_CODE_BYTES : this.#maxBytes
    if (size > max) throw new KithError(isResponse ? 'PEER_PROTOCOL' : 'REQUEST_TOO_LARGE', 'message is too large', { size, max })
    return { status, total: this.#headBytes + size }
  }
}
