import { randomBytes } from 'node:crypto'
import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { openHost } from '../../net/host.node.ts'
import type { Host } from '../../net/host.ts'
import { ScopeGate } from '../../net/scope-gate.ts'
import type { ShareIndex, TransferProtocol, UploadGate } from '../protocol.ts'
import { openKithStream } from '../stream.ts'

const base = { clock: systemClock, log: silentLogger }
const none: ShareIndex = { byFileId: () => undefined, byInfoHash: () => undefined }
const closedGate: UploadGate = { admit: async () => 'nothing is served here', customerOf: () => undefined, sent: () => {} }
const open = async (listen: string[]): Promise<{ host: Host; gate: ScopeGate }> => {
  const gate = new ScopeGate()
  return { host: await openHost({ ...base, gate, peerPrivateKey: randomBytes(32) }, { listen }), gate }
}

/** PeerId and address of the seeder of the running test. */
let seeder: { readonly peerId: string; readonly address: string } | undefined

/** A downloader's node, opened with its first source. */
class Downloader implements TransferProtocol {
  readonly name = 'kith'
  readonly #stack = new AsyncDisposableStack()
  #opening: Promise<{ readonly host: Host; readonly gate: ScopeGate; readonly protocol: TransferProtocol }> | undefined

  async openSource(endpoint: Parameters<TransferProtocol['openSource']>[0], signal: AbortSignal) {
    this.#opening ??= this.#open()
    const { host, gate, protocol } = await this.#opening
    gate.allow(seeder!.address, 'user')
    // In a node the offer has come over this connection.
    await host.dial(seeder!.address, signal).catch(cause => {
      throw new KithError('SOURCE_LOST', 'not reached', {}, { cause })
    })
    return protocol.openSource({ ...endpoint, peerId: seeder!.peerId }, signal)
  }
  async #open() {
    const { host, gate } = await open([])
    this.#stack.use(host)
    return { host, gate, protocol: this.#stack.use(openKithStream({ ...base, streams: host.streams, shares: none, gate: closedGate })) }
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }
}

transferProtocolKit({
  name: 'kith',
  freeOnly: true,
  serve: async (shares, gate) => {
    const { host } = await open(['/ip4/127.0.0.1/tcp/0'])
    const protocol = openKithStream({ ...base, streams: host.streams, shares, gate })
    seeder = { peerId: host.peerId, address: host.addresses()[0]! }
    return {
      host: '127.0.0.1',
      port: 1,
      extraOf: () => new Uint8Array(),
      async [Symbol.asyncDispose]() {
        await protocol[Symbol.asyncDispose]()
        await host[Symbol.asyncDispose]()
      }
    }
  },
  protocol: () => new Downloader()
})
