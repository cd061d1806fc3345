/** Decides whether a range is worth compressing, and does it on libuv's threads. Files that do not shrink are soon left alone. */
import { promisify } from 'node:util'
import { deflate } from 'node:zlib'

const deflateAsync = promisify(deflate)
/** What is compressed already: trying costs time and brings nothing. */
const DENSE = /\.(?:7z|ace|arj|avi|bz2|cab|flac|gz|jpe?g|lzh|mkv|mov|mp[34]|mpe?g|ogg|png|rar|web[mp]|xz|zip|zst|iso)$/i
/** Only a tenth less is worth the other side's time. */
const WORTH = 0.9
const SAMPLE_BYTES = 8 * 1024
/** Ranges that are sent as they are after a try in vain; doubles up to the last. */
const FIRST_PAUSE = 4
const LONGEST_PAUSE = 256

export class Compressor {
  #pause = FIRST_PAUSE
  #skip: number

  constructor(name: string) {
    this.#skip = DENSE.test(name) ? Number.POSITIVE_INFINITY : 0
  }

  /** Whether the next range should be tried. */
  get wanted(): boolean {
    if (this.#skip === 0) return true
    this.#skip--
    return false
  }

  /** The zlib stream of these bytes; undefined when it is not much shorter. */
  async compress(bytes: Uint8Array): Promise<Uint8Array | undefined> {
    const sample = bytes.subarray(0, SAMPLE_BYTES)
    const isWorth = (await deflateAsync(sample, { level: 1 })).length < sample.length * WORTH
    const all = isWorth ? await deflateAsync(bytes, { level: 1 }) : undefined
    if (all && all.length < bytes.length * WORTH) {
      this.#pause = FIRST_PAUSE
      return all
    }
    this.#skip = this.#pause
    this.#pause = Math.min(LONGEST_PAUSE, 2 * this.#pause)
    return undefined
  }
}
