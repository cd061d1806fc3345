/**
 * The worker that hashes the whole file in order, behind the download: it reads (from the page cache) what has become contiguous. So
 * the file's SHA-256 is known a moment after the last chunk, on another core than the chunk hashes. Messages: FollowData first; then a
 * byte offset to hash up to; `-1` asks for the digest.
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { type MessagePort, parentPort } from 'node:worker_threads'

export interface FollowData {
  /** The part file. */
  readonly path: string
}

const BLOCK = 1024 * 1024

if (parentPort) {
  const port = parentPort
  port.once('message', (data: FollowData) => follow(port, data))
}

function follow(port: MessagePort, { path }: FollowData): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  const hash = createHash('sha256')
  const block = Buffer.alloc(BLOCK)
  let at = 0
  port.on('message', (upTo: number) => {
    if (upTo === -1) {
      port.postMessage(new Uint8Array(hash.digest()))
      closeSync(fd)
      port.close()
      return
    }
    while (at < upTo) {
      const n = readSync(fd, block, 0, Math.min(BLOCK, upTo - at), at)
      if (n === 0) break // shorter than recorded: the digest will not match
      hash.update(n === BLOCK ? block : block.subarray(0, n))
      at += n
    }
  })
}
