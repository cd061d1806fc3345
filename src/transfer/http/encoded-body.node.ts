/**
 * The body of an answer that is compressed on the way, for ordinary clients of text: bounded in how many run at once, and only where a
 * sample of the file says that it helps. What flows is what the upload limit counts. The file is free (coding.ts).
 */
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { constants, createBrotliCompress, createGzip, deflateRaw } from 'node:zlib'
import { KithError } from '../../base/errors.ts'
import type { Share } from '../protocol.ts'
import type { Coding } from './coding.ts'
import { MAX_ENCODERS } from './limits.ts'
import type { Gate } from './send-body.node.ts'

const PIECE_BYTES = 128 * 1024
const SAMPLE_BYTES = 16 * 1024
/** A sample must shrink at least to this. */
const WORTH = 0.85
const GZIP_LEVEL = 4
const BROTLI_QUALITY = 4

const deflate = promisify(deflateRaw)

/** The encoders of a node, and what it knows of its files. */
export class Encoders {
  #running = 0
  readonly #worth = new WeakMap<Share, Promise<boolean>>()

  /** A place for one more answer; undefined when all are taken. */
  tryTake(): Disposable | undefined {
    if (this.#running >= MAX_ENCODERS) return undefined
    this.#running++
    return { [Symbol.dispose]: () => void this.#running-- }
  }

  /** Whether compressing makes this file smaller, by samples from its beginning, middle and end. Looked at once. @throws FILE_CHANGED */
  isWorth(share: Share): Promise<boolean> {
    let worth = this.#worth.get(share)
    if (!worth) {
      this.#worth.set(share, (worth = sample(share)))
      worth.catch(() => this.#worth.delete(share))
    }
    return worth
  }
}

async function sample(share: Share): Promise<boolean> {
  const { size } = share.grid
  const length = Math.min(SAMPLE_BYTES, size)
  const bytes = new Uint8Array(3 * length)
  for (const [i, at] of [0, Math.floor((size - length) / 2), size - length].entries())
    await share.read(at, length, bytes.subarray(i * length, (i + 1) * length))
  return (await deflate(bytes, { level: 1 })).length < WORTH * bytes.length
}

interface EncodedDeps {
  readonly protocol: string
  readonly gate: Gate
  readonly writeStallMs: number
}

/** Sends the whole of `share` as the body of `res`. Rejects, and cuts the connection, when it cannot be finished. */
export async function sendEncoded(deps: EncodedDeps, share: Share, coding: Coding, res: ServerResponse): Promise<void> {
  const gone = new AbortController()
  res.once('close', () => gone.abort(new KithError('SOURCE_LOST', 'the client closed the connection')))
  if (res.destroyed) return
  let waiting = false
  res.setTimeout(deps.writeStallMs, () => {
    if (waiting) res.destroy()
  })
  const send = async (encoded: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const bytes of encoded) {
      await deps.gate.admit(share, undefined, 0, bytes.length, gone.signal)
      deps.gate.sent(deps.protocol, bytes.length)
      waiting = true
      await new Promise<void>((resolve, reject) => {
        const onClose = (): void => reject(gone.signal.reason)
        res.once('close', onClose)
        res.write(bytes, error => {
          res.off('close', onClose)
          if (error) reject(error)
          else resolve()
        })
      })
      waiting = false
    }
  }
  await pipeline(Readable.from(piecesOf(share), { objectMode: false }), encoderFor(coding, share.grid.size), send, { signal: gone.signal })
  res.end()
}

const encoderFor = (coding: Coding, size: number): ReturnType<typeof createGzip> | ReturnType<typeof createBrotliCompress> =>
  coding === 'gzip'
    ? createGzip({ level: GZIP_LEVEL })
    : createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: size } })

async function* piecesOf(share: Share): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < share.grid.size; at += PIECE_BYTES) {
    const bytes = new Uint8Array(Math.min(PIECE_BYTES, share.grid.size - at))
    await share.read(at, bytes.length, bytes)
    yield bytes
  }
}
