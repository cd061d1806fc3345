import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { httpProtocol } from '../http/source.node.ts'
import type { Share, ShareIndex, UploadGate } from '../protocol.ts'
import { BitTorrent, openBitTorrent } from './bittorrent.node.ts'
import { PeerHub } from './hub.node.ts'
import { infoOfShare } from './metainfo.ts'

const infoHashOf = (share: Share): Uint8Array => infoOfShare(share)!.infoHash
const none: ShareIndex = { byFileId: () => undefined, byInfoHash: () => undefined }
const closedGate: UploadGate = { admit: async () => 'nothing is served here', customerOf: () => undefined, sent: () => {} }

transferProtocolKit({
  name: 'bittorrent',
  infoHashOf,
  serve: async (shares, gate) => {
    const bt = await openBitTorrent({ clock: systemClock, log: silentLogger, shares, gate }, { listen: { host: '127.0.0.1', port: 0 } })
    return { host: '127.0.0.1', port: bt.port, extraOf: infoHashOf, [Symbol.asyncDispose]: () => bt[Symbol.asyncDispose]() }
  },
  protocol: () => {
    const deps = { clock: systemClock, log: silentLogger, shares: none, gate: closedGate }
    const stack = new AsyncDisposableStack()
    const parts = { hub: stack.use(new PeerHub(deps)), dht: undefined, lsd: undefined, exchange: undefined }
    return new BitTorrent({ ...deps, checkAddress: async host => host, http: stack.use(httpProtocol(deps)) }, parts, stack)
  }
})
