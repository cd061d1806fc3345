import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { MemoryNetwork } from '../../net/rpc-memory.ts'
import { infoOfShare } from '../bittorrent/metainfo.ts'
import type { Endpoint, Share, ShareIndex, TransferProtocol, UploadGate } from '../protocol.ts'
import { rpcSignalling } from '../webtorrent-signalling.ts'
import { openWebTorrent } from './webtorrent.node.ts'

const infoHashOf = (share: Share): Uint8Array => infoOfShare(share)!.infoHash
const none: ShareIndex = { byFileId: () => undefined, byInfoHash: () => undefined }
const closedGate: UploadGate = { admit: async () => 'nothing is served here', customerOf: () => undefined, sent: () => {} }

/** Peers are found by their PeerId: the port of the kit's endpoint stands for it. */
const network = new MemoryNetwork()
let port = 0

transferProtocolKit({
  name: 'webtorrent',
  infoHashOf,
  serve: async (shares, gate) => {
    const own = ++port
    const signalling = rpcSignalling(network.join(`seeder-${own}`, '127.0.0.1'))
    const seeder = await openWebTorrent({ clock: systemClock, log: silentLogger, shares, gate, signalling })
    return {
      host: '127.0.0.1',
      port: own,
      extraOf: infoHashOf,
      [Symbol.asyncDispose]: async () => {
        network.leave(`seeder-${own}`)
        await seeder[Symbol.asyncDispose]()
      }
    }
  },
  protocol: (): TransferProtocol => {
    const signalling = rpcSignalling(network.join(`leecher-${++port}`, '127.0.0.1'))
    const opening = openWebTorrent({ clock: systemClock, log: silentLogger, shares: none, gate: closedGate, signalling })
    return {
      name: 'webtorrent',
      openSource: async (endpoint: Endpoint, signal) =>
        (await opening).openSource({ ...endpoint, peerId: `seeder-${endpoint.port}`, host: '', port: 0 }, signal),
      [Symbol.asyncDispose]: async () => (await opening)[Symbol.asyncDispose]()
    }
  }
})
