/**
 * Manifest: what a publisher says about a file. Metadata only; it decides nothing (DESIGN §6). Signed with MANIFEST_DOMAIN.
 *
 * | bytes | field     | notes                                    |
 * | ----: | --------- | ---------------------------------------- |
 * |     1 | version   | 1                                        |
 * |    32 | fileId    |                                          |
 * |    32 | root      |                                          |
 * |     8 | size      |                                          |
 * |     4 | chunkSize | 262,144                                  |
 * |   2+n | name      | display text, 1..1024 bytes of UTF-8     |
 * |   2+n | mime      | ≤ 128 bytes, may be empty                |
 * |     8 | created   | ms since 1970                            |
 *
 * Spec: docs/wire/transfer.md §4
 */
import { type Codec, expectVersion } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { CHUNK_BYTES, MAX_CHUNKS, MAX_MIME_BYTES, MAX_NAME_BYTES } from './limits.ts'

export const MANIFEST_DOMAIN = 'kith/manifest/1'

export interface Manifest {
  readonly fileId: Uint8Array
  readonly root: Uint8Array
  readonly size: number
  readonly name: string
  readonly mime: string
  readonly created: number
}

export const manifestCodec: Codec<Manifest> = {
  write(w, m) {
    w.u8(1)
    w.bytes(m.fileId)
    w.bytes(m.root)
    w.u64(m.size)
    w.u32(CHUNK_BYTES)
    w.text16(m.name)
    w.text16(m.mime)
    w.u64(m.created)
  },
  read(r) {
    expectVersion(r, 1)
    const head = { fileId: r.bytes(32), root: r.bytes(32), size: r.u64() }
    const chunkSize = r.u32()
    if (chunkSize !== CHUNK_BYTES || head.size > MAX_CHUNKS * CHUNK_BYTES)
      throw new KithError('WIRE_RANGE', 'manifest with an impossible size')
    const manifest = { ...head, name: r.text16(MAX_NAME_BYTES), mime: r.text16(MAX_MIME_BYTES), created: r.u64() }
    if (manifest.name === '') throw new KithError('WIRE_RANGE', 'manifest without a name')
    return manifest
  }
}
