/** The plan for a plain http(s) URL: one mirror, parts by Range, no chunk hashes. What the server claims as SHA-256 is checked at the end. */

import { sha256 } from '#hash'
import { bytesToHex, hexToBytes, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { hasCode, KithError, textOf } from '../base/errors.ts'
import { CHUNK_BYTES, MAX_CHUNKS } from '../wire/limits.ts'
import { makeGrid } from './grid.ts'
import { endpointOf, type ProbeOptions, probeUrl } from './http/probe.node.ts'
import { RETRY_MS } from './limits.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import type { TransferProtocol } from './protocol.ts'

export interface UrlPlanDeps {
  readonly clock: Clock
  readonly http: TransferProtocol
  readonly probe?: ProbeOptions
}

/** @throws RANGE_UNSUPPORTED, HTTP_STATUS, URL_FORBIDDEN, SOURCE_LOST */
export async function planUrl(deps: UrlPlanDeps, url: URL, signal: AbortSignal): Promise<Plan> {
  const found = await probe(deps, url, signal)
  if (!found.acceptRanges || found.size === undefined) {
    throw new KithError(
      'RANGE_UNSUPPORTED',
      'this server does not serve parts of files',
      { url: url.origin },
      { hint: 'use curl for this one' }
    )
  }
  if (found.size > MAX_CHUNKS * CHUNK_BYTES) throw new KithError('FILE_TOO_LARGE', 'the file is larger than 1 TiB')
  if (found.size === 0) throw new KithError('FILE_EMPTY', 'the file is empty')
  const grid = makeGrid(found.size)
  const fileId = found.sha256 === undefined ? undefined : hexToBytes(found.sha256)
  const key = `${found.finalUrl} ${found.etag ?? ''}`
  const stem = bytesToHex(sha256(utf8(key))).slice(0, 16)
  return {
    stem,
    grid,
    fileId,
    root: undefined,
    chunkHashes: undefined,
    rootIsTrusted: false,
    files: undefined,
    header: { key, size: found.size, chunkBytes: CHUNK_BYTES, root: undefined },
    hashes: { algorithm: 'none' },
    name: found.name ?? stem,
    mime: '',
    feed: (context, feedSignal) => feedUrl(deps, endpointOf(found, fileId ?? new Uint8Array(32), grid), context, feedSignal)
  }
}

/** The one source there is: that it cannot be reached is said with its name. */
async function probe(deps: UrlPlanDeps, url: URL, signal: AbortSignal): ReturnType<typeof probeUrl> {
  try {
    return await probeUrl(url.href, { allowPrivate: true, ...deps.probe }, signal)
  } catch (cause) {
    if (!hasCode(cause, 'SOURCE_LOST')) throw cause
    throw new KithError(
      'SOURCE_LOST',
      `${url.host}: ${textOf(cause)}`,
      {},
      { cause, hint: 'is the address right, and the server running?' }
    )
  }
}

/** One source; opened again, more and more slowly, when it is lost. */
async function feedUrl(
  deps: UrlPlanDeps,
  endpoint: Parameters<TransferProtocol['openSource']>[0],
  context: FeedContext,
  signal: AbortSignal
): Promise<void> {
  for (let pauseMs = RETRY_MS; !signal.aborted; pauseMs = Math.min(2 * pauseMs, 30_000)) {
    const lost = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => lost.resolve(), { once: true })
    context.onDropped(() => lost.resolve())
    try {
      if (!context.add(await deps.http.openSource(endpoint, signal))) return
      await lost.promise
    } catch (error) {
      if (signal.aborted) return
      context.note(textOf(error))
    }
    await deps.clock.sleep(pauseMs, signal).catch(() => {})
  }
}
