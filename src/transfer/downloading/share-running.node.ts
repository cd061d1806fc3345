/** Offers the verified chunks of a running download to others: to the swarm of its torrent, to ed2k clients, or to whoever has its kith: link. */
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
  const { fileId, root, chunkHashes, torrent, ed2k } = plan
  if (torrent) return shareTorrent(deps, plan, torrent, part)
  if (ed2k) return plan.grid.count > 1 ? shareEd2kLink(deps, plan, ed2k, part) : undefined // parts of a part are no use to others
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

function shareTorrent({ shares }: ShareRunningDeps, plan: Plan, torrent: NonNullable<Plan['torrent']>, part: PartFile): RunningShare {
  const share = partialShare(plan, part)
  const remove = shares.addTorrent(hashesOfInfo(torrent).map(bytesToHex), share, torrent.over)
  return {
    tell: chunk => share.tell(chunk),
    [Symbol.asyncDispose]: async () => {
      remove()
      await share.close()
    }
  }
}

/** Servers and Kad hear of it with the first part. */
function shareEd2kLink({ shares }: ShareRunningDeps, plan: Plan, ed2k: NonNullable<Plan['ed2k']>, part: PartFile): RunningShare {
  const share = partialShare(plan, part)
  const remove = shares.addEd2kLink(bytesToHex(ed2k.hash), share)
  let announced = part.done.some(done => done === 1) ? ed2k.announce?.() : undefined
  return {
    tell: chunk => {
      announced ??= ed2k.announce?.()
      share.tell(chunk)
    },
    [Symbol.asyncDispose]: async () => {
      remove()
      await announced?.[Symbol.asyncDispose]()
      await share.close()
    }
  }
}
