import { createHash } from 'node:crypto'
import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import type { Share, ShareIndex, UploadGate } from '../protocol.ts'
import { Ed2k, openEd2k } from './ed2k.node.ts'
import { PeerHub } from './hub.node.ts'
import { makeEd2kIdentity } from './identity.node.ts'

/** Any 16 bytes will do: what arrives is checked elsewhere. */
const hashOf = (share: Share): Uint8Array => createHash('md5').update(share.fileId).digest()
const none: ShareIndex = { byFileId: () => undefined, byInfoHash: () => undefined }
const closedGate: UploadGate = { admit: async () => 'nothing is served here', customerOf: () => undefined, sent: () => {} }

transferProtocolKit({
  name: 'ed2k',
  infoHashOf: hashOf,
  serve: async (shares, gate) => {
    const index = { ...shares, byEd2k: shares.byInfoHash }
    const deps = { clock: systemClock, log: silentLogger, shares: index, gate }
    const ed2k = await openEd2k(deps, { listen: { host: '127.0.0.1', port: 0 } })
    return { host: '127.0.0.1', port: ed2k.port, extraOf: hashOf, [Symbol.asyncDispose]: () => ed2k[Symbol.asyncDispose]() }
  },
  protocol: () => {
    const deps = { clock: systemClock, log: silentLogger, shares: none, gate: closedGate }
    const stack = new AsyncDisposableStack()
    const options = { identity: makeEd2kIdentity(), nickname: 'test', wantObfuscation: false, requireObfuscation: false }
    return new Ed2k(deps, stack.use(new PeerHub(deps, options)), stack)
  }
})
