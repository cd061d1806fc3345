/**
 * The door to stream/, which is private to this folder: Kith's own transfer protocol over libp2p, both halves. Free files only: there is
 * no form of payment in it yet, so a seeder refuses a paid file with PAYMENT_REQUIRED, and a download that has a ticket goes elsewhere.
 */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Streams } from '../net/streams.ts'
import type { ShareIndex, TransferProtocol, UploadGate } from './protocol.ts'
import { MAX_FILE_FRAME_BYTES, MAX_STREAMS_PER_PEER } from './stream/limits.ts'
import { serveFiles } from './stream/serve.ts'
import { KithStreamSource } from './stream/source.ts'

export interface KithStreamDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly streams: Streams
  readonly shares: ShareIndex
  readonly gate: UploadGate
}

/** Protocol name on the network: `/kith/file/1`. */
const FILE_PROTOCOL = 'file'

/**
 * Serves the shares to every peer of the host, and opens sources of the protocol "kith": an endpoint needs a `peerId` that the host is
 * connected to or can reach, nothing else. Disposal ends both halves. @throws METHOD_EXISTS
 */
export function openKithStream(deps: KithStreamDeps): TransferProtocol {
  const limits = { maxFrameBytes: MAX_FILE_FRAME_BYTES, maxStreamsPerPeer: MAX_STREAMS_PER_PEER }
  const serving = deps.streams.handle(FILE_PROTOCOL, limits, stream => serveFiles(deps, stream))
  const sources = new Set<KithStreamSource>()
  const open = (peerId: string, signal: AbortSignal) =>
    deps.streams.open({ peerId }, FILE_PROTOCOL, { maxFrameBytes: MAX_FILE_FRAME_BYTES, signal })
  return {
    name: 'kith',
    async openSource(endpoint, signal) {
      if (endpoint.ticket)
        throw new KithError('PAYMENT_REQUIRED', 'a paid file', { reason: 'the protocol "kith" carries free files only, so far' })
      if (endpoint.peerId === undefined) throw new KithError('SOURCE_LOST', 'a seeder without a PeerId')
      const source = new KithStreamSource(endpoint, endpoint.peerId, open, s => sources.delete(s))
      sources.add(source)
      try {
        await source.connect(signal)
      } catch (error) {
        await source[Symbol.asyncDispose]()
        throw error
      }
      return source
    },
    async [Symbol.asyncDispose]() {
      serving[Symbol.dispose]()
      await Promise.all([...sources].map(s => s[Symbol.asyncDispose]()))
    }
  }
}
