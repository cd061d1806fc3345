/** The NodeClient of a node in this process. */
import { KithError } from '../base/errors.ts'
import type { DownloadView, KithNode } from '../node/types.ts'
import { EventQueue } from './event-queue.ts'
import type { NodeClient } from './node-client.ts'

/** @param stop ends the process that owns the node; it must return at once. */
export function createLocalClient(node: KithNode, stop: () => void): NodeClient {
  const download = (id: string): DownloadView => {
    const view = node.download(id)
    if (!view) throw new KithError('UNKNOWN_DOWNLOAD', 'no download has this id', {}, { hint: 'kith status lists them' })
    return view
  }
  return {
    info: async () => node.info(),
    status: () => node.status(),
    events: async (filter, signal) => {
      const queue = new EventQueue()
      if (filter.download !== undefined) queue.push({ type: 'download:changed', download: download(filter.download) })
      const wanted = filter.download
      node.events.on(event => {
        if (wanted === undefined || (event.type === 'download:changed' && event.download.id === wanted)) queue.push(event)
      }, signal)
      signal.addEventListener('abort', () => queue.close(), { once: true })
      if (signal.aborted) queue.close()
      return queue
    },
    shares: async () => node.shares(),
    share: (request, signal) => node.share(request, signal),
    inspect: (address, signal) => node.inspect(address, signal),
    unshare: id => node.unshare(id),
    torrents: async () => node.torrents(),
    dropTorrent: id => node.dropTorrent(id),
    downloads: async () => node.downloads(),
    get: request => node.get(request),
    download: async id => download(id),
    cancel: async id => {
      await node.cancel(id)
      return download(id)
    },
    wallet: () => node.wallet.view(),
    createWallet: request => node.wallet.create(request),
    send: ({ to, wei }) => node.wallet.send(to, wei),
    receipts: () => node.wallet.receipts(),
    proof: id => node.wallet.proof(id),
    settle: () => node.settleAll(),
    ask: node.ask,
    stop: async () => stop()
  }
}
