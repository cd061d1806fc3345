/** Keeps a torrent announced at its trackers, and hands over the peers they name. Each tracker has its own pace. */
import type { Logger } from '../../base/log.ts'
import { MAX_ANNOUNCE_MS, MAX_TRACKERS, TRACKER_RETRY_MS } from './limits.ts'
import { type AddressTrust, announce, type TrackerDeps } from './tracker.node.ts'
import type { AnnounceEvent } from './tracker.ts'
import type { PeerAddress } from './urls.ts'

export interface AnnouncerDeps extends TrackerDeps {
  readonly log: Logger
  readonly peerId: Uint8Array
  readonly port: number
}

export interface AnnouncerOptions {
  readonly infoHash: Uint8Array
  readonly trackers: readonly string[]
  /** Who named the trackers. */
  readonly trust: AddressTrust
  /** Bytes that are still missing; 0 for a seeder. */
  left(): number
  /** `trust` is 'given' only when the tracker itself is in a private network that the user pointed us to. */
  onPeers?(peers: readonly PeerAddress[], trust: AddressTrust): void
}

/** How long saying goodbye may take. */
const STOP_MS = 2_000

/** Starts announcing; disposal tells the trackers that we left. */
export function openAnnouncer(deps: AnnouncerDeps, options: AnnouncerOptions): AsyncDisposable {
  const stop = new AbortController()
  const tasks = options.trackers.slice(0, MAX_TRACKERS).map(t => keepAnnounced(deps, options, t, stop.signal))
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await Promise.all(tasks)
    }
  }
}

async function keepAnnounced(deps: AnnouncerDeps, options: AnnouncerOptions, tracker: string, signal: AbortSignal): Promise<void> {
  /** Where the tracker was reached. */
  let address = ''
  const checkAddress: typeof deps.checkAddress = async (...asked) => (address = await deps.checkAddress(...asked))
  const say = (event: AnnounceEvent, s: AbortSignal): ReturnType<typeof announce> => {
    const announcement = { infoHash: options.infoHash, peerId: deps.peerId, port: deps.port, left: options.left(), event }
    return announce({ ...deps, checkAddress }, tracker, options.trust, announcement, s)
  }
  let known = false
  let failures = 0
  let done = options.left() === 0
  while (!signal.aborted) {
    let pauseMs = Math.min(MAX_ANNOUNCE_MS, TRACKER_RETRY_MS * 2 ** failures)
    try {
      const completed = !done && options.left() === 0
      const answer = await say(known ? (completed ? 'completed' : undefined) : 'started', signal)
      done ||= completed
      known = true
      failures = 0
      pauseMs = answer.intervalMs
      options.onPeers?.(answer.peers, await trustOfPeers(deps, options.trust, tracker, address))
    } catch (error) {
      failures++
      if (!signal.aborted) deps.log.debug('announcing failed', { tracker, error })
    }
    await deps.clock.sleep(pauseMs, signal).catch(() => {})
  }
  if (known) await say('stopped', AbortSignal.timeout(STOP_MS)).catch(() => {})
}

/**
 * Peers from a tracker in a private network that the user named are in that network too; all others are strangers' words. What counts
 * is the address that answered: looking its name up again could give another one (threats HT9).
 */
async function trustOfPeers(deps: AnnouncerDeps, trust: AddressTrust, tracker: string, address: string): Promise<AddressTrust> {
  if (trust === 'found') return 'found'
  const url = new URL(tracker)
  const isPublic = await deps.checkAddress(address, Number(url.port) || 80, 'found').then(
    () => true,
    () => false
  )
  return isPublic ? 'found' : 'given'
}
