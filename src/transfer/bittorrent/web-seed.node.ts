/**
 * Web seeds (BEP 19): ordinary HTTP servers that have the file of a torrent, or the folder of one with several. Each becomes a source of the
 * download, after the same probe, redirect rules and address filter as any URL that a stranger names (threats HT7-HT11).
 */
import type { Clock } from '../../base/clock.ts'
import { codeOf, KithError, textOf } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { type Grid, makeGrid } from '../grid.ts'
import { endpointOf, type ProbeOptions, probeUrl } from '../http/probe.node.ts'
import type { HttpProtocol, RangeSource } from '../http/source.node.ts'
import type { Delivery, Source } from '../protocol.ts'
import { MAX_WEB_SEED_SOURCES, MAX_WEB_SEED_TRIES, WEB_SEED_RETRY_MS } from './limits.ts'
import type { Metainfo } from './metainfo.ts'
import type { AddressTrust } from './tracker.node.ts'
import { webSeedFileUrl, webSeedUrl } from './web-seed.ts'
import { type OpenSeedFile, openFolderSeed } from './web-seed-folder.node.ts'

export interface WebSeedDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly http: HttpProtocol
  readonly probe?: ProbeOptions | undefined
  /** Takes ownership. */
  onSource(source: Source): void
  /** One line for the user. */
  note?(text: string): void
}

export interface WebSeedRequest {
  readonly urls: readonly { readonly url: string; readonly trust: AddressTrust }[]
  readonly torrent: Pick<Metainfo, 'name' | 'size' | 'multiFile' | 'files'>
  readonly grid: Grid
}

/** Codes that will not change by waiting. */
const FINAL = new Set([
  'URL_FORBIDDEN',
  'FORBIDDEN_ADDRESS',
  'REDIRECT_FORBIDDEN',
  'RANGE_UNSUPPORTED',
  'ENCODING_FORBIDDEN',
  'SOURCE_CHANGED',
  'SOURCE_LIED'
])

/** Opens a source for each usable web seed, and again when it is lost; disposal ends the attempts, not the sources. */
export function openWebSeeds(deps: WebSeedDeps, request: WebSeedRequest): AsyncDisposable {
  const stop = new AbortController()
  const used = request.urls.slice(0, MAX_WEB_SEED_SOURCES)
  const tasks = used.map(({ url, trust }) => keepOpen(deps, request, url, trust, stop.signal))
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await Promise.all(tasks)
    }
  }
}

async function keepOpen(deps: WebSeedDeps, request: WebSeedRequest, url: string, trust: AddressTrust, signal: AbortSignal): Promise<void> {
  for (let failures = 0; failures < MAX_WEB_SEED_TRIES && !signal.aborted; ) {
    try {
      const source = await open(deps, request, url, trust, signal)
      deps.onSource(source)
      await Promise.race([source.dropped, aborted(signal)])
      failures = source.isUseful ? 1 : failures + 1
    } catch (error) {
      if (signal.aborted) return
      failures = FINAL.has(codeOf(error)) ? MAX_WEB_SEED_TRIES : failures + 1
      deps.log.debug('a web seed cannot be used', { url, error })
      if (failures >= MAX_WEB_SEED_TRIES) deps.note?.(`a web seed is not used: ${textOf(error)}`)
    }
    if (failures < MAX_WEB_SEED_TRIES) await deps.clock.sleep(WEB_SEED_RETRY_MS * 2 ** failures, signal).catch(() => {})
  }
}

/** @throws what `probeUrl` and `openSource` throw; SOURCE_CHANGED when a file there has another size */
async function open(
  deps: WebSeedDeps,
  { torrent, grid }: WebSeedRequest,
  url: string,
  trust: AddressTrust,
  signal: AbortSignal
): Promise<WebSeedSource> {
  const at = async (place: string, file: Grid, s: AbortSignal): Promise<RangeSource> => {
    const found = await probeUrl(place, { ...deps.probe, allowPrivate: trust === 'given' }, s)
    if (!found.acceptRanges) throw new KithError('RANGE_UNSUPPORTED', 'it does not serve parts of files')
    if (found.size !== file.size) throw new KithError('SOURCE_CHANGED', 'the file there has another size than the torrent says')
    return deps.http.openSource(endpointOf(found, new Uint8Array(32), file), s)
  }
  if (!torrent.multiFile) return new WebSeedSource(await at(webSeedUrl(url, torrent.name), grid, signal))
  const openFile: OpenSeedFile = ({ path, length }, s) => at(webSeedFileUrl(url, torrent.name, path), makeGrid(length, grid.chunkBytes), s)
  return new WebSeedSource(await openFolderSeed(`${webSeedFileUrl(url, torrent.name, [])}/`, grid, torrent.files, openFile, signal))
}

/** An HTTP source that says when it is dropped, so that it can be opened again. */
class WebSeedSource implements Source {
  readonly key: string
  readonly protocol: string
  readonly seeder = undefined
  readonly parallel: number
  readonly maxRun: number
  readonly #inner: Source
  readonly #dropped = Promise.withResolvers<void>()
  #useful = false

  constructor(inner: Source) {
    this.#inner = inner
    this.key = inner.key
    this.protocol = inner.protocol
    this.parallel = inner.parallel
    this.maxRun = inner.maxRun
  }
  get dropped(): Promise<void> {
    return this.#dropped.promise
  }
  /** It has brought at least one run. */
  get isUseful(): boolean {
    return this.#useful
  }
  has(chunk: number): boolean {
    return this.#inner.has(chunk)
  }
  onChange(listener: () => void, signal: AbortSignal): void {
    this.#inner.onChange(listener, signal)
  }
  async fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    await this.#inner.fetch(delivery, signal)
    this.#useful = true
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
    this.#dropped.resolve()
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
