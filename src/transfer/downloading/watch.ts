/** Fails a download that has had nobody to fetch from for a minute; says what it waits for until then. */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { NO_SOURCE_MS, REFUSED_MS, SILENT_MS } from '../limits.ts'
import type { Scheduler } from '../scheduling/scheduler.ts'

/** What is looked at once a second. */
export interface Watched {
  readonly scheduler: Pick<Scheduler, 'abort' | 'isHopeful' | 'sourceCount'>
  readonly verifiedBytes: number
  /** Why the last seeder was left over money. */
  readonly refusal: KithError | undefined
  /** The last line that was told to the user. */
  readonly note: string | undefined
  /** Whether it fetches, or waits for a source because of us. */
  readonly isFetching: boolean
  readonly isWaiting: boolean
  fetching(): void
  waiting(note: string | undefined): void
  changed(): void
}

/** Since when there is nobody; kept by the download, because it counts over several attempts. */
export interface Silence {
  sinceMs: number
}

export async function watchSources(clock: Clock, download: Watched, silence: Silence, signal: AbortSignal): Promise<void> {
  const { scheduler } = download
  let verified = download.verifiedBytes
  while (!signal.aborted) {
    await clock.sleep(1_000, signal).catch(() => {})
    const now = clock.monotonic()
    const silentMs = now - silence.sinceMs
    const { note, refusal } = download
    if (download.verifiedBytes > verified || scheduler.isHopeful()) {
      verified = download.verifiedBytes
      silence.sinceMs = now
      if (download.isWaiting) download.fetching()
    } else if (refusal && scheduler.sourceCount === 0 && silentMs > REFUSED_MS) scheduler.abort(refusal)
    else if (silentMs > NO_SOURCE_MS) {
      const hint = 'what arrived is kept: run the same command again when a seeder is back'
      scheduler.abort(new KithError('NO_SOURCES', note ? `no seeder is left (${note})` : 'no seeder is left', {}, { hint }))
    } else if (download.isFetching && (scheduler.sourceCount === 0 || silentMs > SILENT_MS)) download.waiting(note)
    download.changed()
  }
}
