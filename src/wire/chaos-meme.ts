/**
 * MemeContent of spec 003: a picture, a text or anything else that is passed around, inside the message or behind a link.
 *
 * | tag | type            | field | notes                                   |
 * | --: | --------------- | ----- | --------------------------------------- |
 * |   1 | string          | title | ≤ 256 bytes                             |
 * |   2 | string          | mime  | ≤ 128 bytes, "type/subtype" or empty    |
 * |   3 | bytes           | data  | ≤ 48 KiB                                |
 * |   4 | string          | link  | a `kith:` link, or empty                |
 * |   5 | string          | author | whoever made it, ≤ 256 bytes           |
 * |   6 | repeated string | tags  | ≤ 16 of ≤ 256 bytes                     |
 *
 * Spec: docs/wire/agent-message.md §4, proto/chaoschain.proto
 */
import type { Codec } from '../base/codec.ts'
import { MAX_AGENT_NAME_BYTES, MAX_LINK_CHARS, MAX_MEME_BYTES, MAX_MEME_TAGS, MAX_MIME_BYTES } from './limits.ts'
import { bytes, layout, list, text, textElement } from './protobuf-fields.ts'

export interface MemeContent {
  readonly title: string
  readonly mime: string
  readonly data: Uint8Array
  /** `kith:` link to what is too large to be inside; '' when there is none. */
  readonly link: string
  readonly author: string
  readonly tags: readonly string[]
}

export const memeContent: Codec<MemeContent> = layout<MemeContent>({
  title: text(1, MAX_AGENT_NAME_BYTES),
  mime: text(2, MAX_MIME_BYTES, /^(?:[\w!#$&^.+-]+\/[\w!#$&^.+-]+)?$/),
  data: bytes(3, MAX_MEME_BYTES),
  link: text(4, MAX_LINK_CHARS, /^(?:kith:[\x21-\x7e]+)?$/),
  author: text(5, MAX_AGENT_NAME_BYTES),
  tags: list(6, textElement, MAX_MEME_TAGS, MAX_AGENT_NAME_BYTES)
})
