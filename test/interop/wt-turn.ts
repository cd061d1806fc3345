/**
 * Runs inside a network namespace that has an address beside loopback and a TURN server: two of our nodes that may use nothing but the
 * relay exchange a file. Prints one line of JSON.
 */
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { MemoryNetwork } from '../../src/net/rpc-memory.ts'
import { infoOfShare } from '../../src/transfer/bittorrent/metainfo.ts'
import type { Share } from '../../src/transfer/protocol.ts'
import type { Signalling } from '../../src/transfer/webtorrent/signalling.ts'
import { openWebTorrent, type WebTorrent } from '../../src/transfer/webtorrent/webtorrent.node.ts'
import { rpcSignalling } from '../../src/transfer/webtorrent-signalling.ts'
import { MemoryDelivery, MemoryShare, seededBytes, shareIndex, TestGate } from '../kits/transfer-doubles.ts'

const [address = '', username = '', credential = ''] = process.argv.slice(2)
const network = new MemoryNetwork()
const hashOf = (share: Share): Uint8Array => infoOfShare(share)!.infoHash
/** The relay's address is a private one, as if both were in its network. */
const signallingOf = (name: string): Signalling => rpcSignalling(network.join(name, address))
const open = (name: string, shares: readonly Share[]): Promise<WebTorrent> =>
  openWebTorrent(
    { clock: systemClock, log: silentLogger, shares: shareIndex(shares, hashOf), gate: new TestGate(), signalling: signallingOf(name) },
    { iceServers: [{ url: `turn:${address}:3478`, username, credential }], relayOnly: true }
  )

await using stack = new AsyncDisposableStack()
const share = new MemoryShare(seededBytes(2 ** 20))
stack.use(await open('seeder', [share]))
const leecher = stack.use(await open('leecher', []))
const { grid, fileId } = share
const endpoint = { host: '', port: 0, peerId: 'seeder', extra: hashOf(share), fileId, grid, seeder: undefined, ticket: undefined }
const began = performance.now()
const source = stack.use(await leecher.openSource(endpoint, new AbortController().signal))
const delivery = new MemoryDelivery(grid, { first: 0, count: grid.count })
await source.fetch(delivery, new AbortController().signal)
delivery.assertMatches(share)
const result = { chunks: delivery.chunks.size, source: source.key, ms: Math.round(performance.now() - began) }
await stack.disposeAsync()
console.log(JSON.stringify(result))
