/** Keeps a torrent announced at its trackers, and hands over the peers they name. Each tracker has its own pace. */
import type { Logger } from '../../base/log.ts'
import { MAX_ANNOUNCE_MS, MAX_TRACKERS, TRACKER_RETRY_MS } from './limits.ts'
import { TrackerTiers } from './tiers.ts'
import { type AddressTrust, announce, type TrackerDeps } from './tracker.node.ts'
import type { AnnounceEvent, TrackerAnswer } from './tracker.ts'
import type { PeerAddress } from './urls.ts'

export interface AnnouncerDeps extends TrackerDeps {
  readonly log: Logger
  readonly peerId: Uint8Array
  readonly port: number
}

export interface AnnouncerOptions {
  readonly infoHash: Uint8Array
  /** Each is announced to on its own. */
  readonly trackers: readonly string[]
  /** Of these only one at a time (BEP 12): the first that answers, in order of tiers. */
  readonly tiers?: readonly (readonly string[])[] | undefined
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
  const groups = [...options.trackers.slice(0, MAX_TRACKERS).map(t => [[t]]), ...(options.tiers ? [options.tiers] : [])]
  const tasks = groups.map(tiers => keepAnnounced(deps, options, new TrackerTiers(tiers), stop.signal))
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await Promise.all(tasks)
    }
  }
}

/** A tracker that may have to be told that we leave. */
interface Told {
  completed: boolean
}

async function keepAnnounced(deps: AnnouncerDeps, options: AnnouncerOptions, tiers: TrackerTiers, signal: AbortSignal): Promise<void> {
  const told = new Map<string, Told>()
  const isSeeder = options.left() === 0
  for (let failures = 0; !signal.aborted && tiers.order.length > 0; ) {
    let pauseMs = Math.min(MAX_ANNOUNCE_MS, TRACKER_RETRY_MS * 2 ** failures++)
    for (const tracker of tiers.order) {
      if (signal.aborted) break
      try {
        const before = told.get(tracker)
        const completed = before !== undefined && !before.completed && !isSeeder && options.left() === 0
        const answer = await say(deps, options, tracker, before ? (completed ? 'completed' : undefined) : 'started', signal)
        told.set(tracker, { completed: completed || options.left() === 0 })
        tiers.promote(tracker)
        failures = 0
        pauseMs = answer.intervalMs
        options.onPeers?.(answer.peers, answer.trust)
        break
      } catch (error) {
        if (!signal.aborted) deps.log.debug('announcing failed', { tracker, error })
      }
    }
    await deps.clock.sleep(pauseMs, signal).catch(() => {})
  }
  const bye = AbortSignal.timeout(STOP_MS)
  await Promise.all([...told.keys()].map(tracker => say(deps, options, tracker, 'stopped', bye).catch(() => {})))
}

/** @throws TRACKER_FAILED, FORBIDDEN_ADDRESS */
async function say(
  deps: AnnouncerDeps,
  options: AnnouncerOptions,
  tracker: string,
  event: AnnounceEvent,
  signal: AbortSignal
): Promise<TrackerAnswer & { readonly trust: AddressTrust }> {
  /** Where the tracker was reached. */
  let address = ''
  const checkAddress: typeof deps.checkAddress = async (...asked) => (address = await deps.checkAddress(...asked))
  const announcement = { infoHash: options.infoHash, peerId: deps.peerId, port: deps.port, left: options.left(), event }
  const answer = await announce({ ...deps, checkAddress }, tracker, options.trust, announcement, signal)
  return { ...answer, trust: await trustOfPeers(deps, options.trust, tracker, address) }
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
