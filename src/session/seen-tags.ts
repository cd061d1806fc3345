/** The GCM tags of the last messages, by number, in 6 KiB: to tell the same message again from another one under the same nonce. */
import { AEAD_TAG_BYTES } from '../platform/crypto-types.ts'
import { REMEMBERED_TAGS } from './limits.ts'

export class SeenTags {
  /** Made with the first message: most sessions of a node are idle. */
  #tags: Uint8Array | undefined
  #numbers: Float64Array | undefined

  remember(sequenceNum: number, tag: Uint8Array): void {
    this.#tags ??= new Uint8Array(REMEMBERED_TAGS * AEAD_TAG_BYTES)
    this.#numbers ??= new Float64Array(REMEMBERED_TAGS)
    const slot = sequenceNum % REMEMBERED_TAGS
    this.#numbers[slot] = sequenceNum
    this.#tags.set(tag, slot * AEAD_TAG_BYTES)
  }

  /** undefined when it is too long ago. */
  of(sequenceNum: number): Uint8Array | undefined {
    const slot = sequenceNum % REMEMBERED_TAGS
    if (this.#numbers?.[slot] !== sequenceNum) return undefined
    return this.#tags?.subarray(slot * AEAD_TAG_BYTES, (slot + 1) * AEAD_TAG_BYTES)
  }
}
