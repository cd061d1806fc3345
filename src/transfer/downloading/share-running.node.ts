/** Offers the verified chunks of a running download to others: to the swarm of its torrent, or to whoever has its kith: link. */
import { bytesToHex } from '../../base/bytes.ts'
import type { Logger } from '../../base/log.ts'
import { hashesOfInfo } from '../bittorrent/metainfo.ts'
import { partialShare } from '../disk/partial-share.node.ts'
import type { PartFile } from '../part-file.node.ts'
import type { Plan } from '../plan.node.ts'
import type { ShareBook } from '../share-book.node.ts'

export interface ShareRunningDeps {
  readonly log: Logger
  readonly shares: ShareBook
  /** Told once chunks can be served to others, and when they no longer can. */
  readonly announce: (fileId: Uint8Array) => Promise<void>
  readonly withdraw: (fileId: Uint8Array) => Promise<void>
}

/** A share of what is there so far. */
export interface RunningShare extends AsyncDisposable {
  /** This chunk can be had now. */
  tell(chunk: number): void
}

/** Serves until disposed. undefined: there is nothing that others could check chunks against. */
export function shareRunning(deps: ShareRunningDeps, plan: Plan, part: PartFile): RunningShare | undefined {
  const { fileId, root, chunkHashes, torrent } = plan
  if (torrent) {
    const share = partialShare(plan, part)
    const remove = deps.shares.addTorrent(hashesOfInfo(torrent).map(bytesToHex), share, torrent.over)
    return {
      tell: chunk => share.tell(chunk),
      [Symbol.asyncDispose]: async () => {
        remove()
        await share.close()
      }
    }
  }
  if (!fileId || !root || !chunkHashes || !plan.rootIsTrusted) return undefined
  const share = partialShare(plan, part)
  const remove = deps.shares.addPartial(share, () => chunkHashes)
  const announced = deps.announce(fileId).catch(error => deps.log.debug('partial share not announced', { error }))
  return {
    tell: chunk => share.tell(chunk),
    [Symbol.asyncDispose]: async () => {
      await remove()
      await deps.withdraw(fileId).catch(() => {}) // before the wait: an announcement without peers ends only by being withdrawn
      await announced
      await share.close()
    }
  }
}
