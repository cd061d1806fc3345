/**
 * A Kith seeder, the small server and a Kad node, in the network namespace it is started in: `node ed2k-networks.ts ADDRESS BYTES THEIR-ADDRESS BYTES`. One file
 * is known to the server alone, the next one to Kad alone; the third is shared by a client without a port of its own, so by one with a low id. The other program shares one of the second
 * size. Says {links, kadId} when ready. For each line of input it says what it knows by then, and after `alone` our node of Kad ends and another one
 * asks the other program; ends with its input.
 */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { bytesToHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { openEd2k } from '../../src/transfer/ed2k/ed2k.node.ts'
import { makeEd2kIdentity } from '../../src/transfer/ed2k/identity.node.ts'
import { formatEd2kLink } from '../../src/transfer/ed2k/link.ts'
import { foundKey } from '../../src/transfer/ed2k/low-id.node.ts'
import { openEd2kServer } from '../../src/transfer/ed2k/server.node.ts'
import { openEd2kServerLink, type ServerLinkStatus } from '../../src/transfer/ed2k/server-link.node.ts'
import { openKad } from '../../src/transfer/kad/kad.node.ts'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate } from '../kits/transfer-doubles.ts'
import { ed2kOf, seededText } from './ed2k-digest.ts'

/** Their file's. */
const THEIR_SEED = 99
const [address = '', size = '', theirAddress = '', theirSize = ''] = process.argv.slice(2)
const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')
const base = { clock: systemClock, log }
/** Addresses for documentation stand for public ones. */
const named = { ...base, classOf: () => 'public' as const, checkAddress: async (host: string) => host }

const [byServer, byKad, byLowId] = ['by server.bin', 'by kad.bin', 'by low id.bin'].map((name, i) => {
  // The first one is text, and travels compressed.
  const content = i === 0 ? seededText(Number(size), i + 1) : seededBytes(Number(size), i + 1)
  return new MemoryShare(content, { name, ed2k: ed2kOf(content) })
}) as [MemoryShare, MemoryShare, MemoryShare]
const identity = makeEd2kIdentity()
const deps = { ...base, shares: shareIndex([byServer, byKad]), gate: new TestGate() }
const ed2k = await openEd2k(deps, { listen: { host: address, port: 4662 }, identity })
const server = await openEd2kServer(base, { host: address, port: 4661, name: 'a small server', message: 'welcome' })
const { hash } = byServer.ed2k!
const offered = [{ hash, size: byServer.content.length, name: byServer.name, complete: true }]
const who = { userHash: identity.userHash, listenPort: 4662 }
const onStatus = ({ id, serverIp, serverPort }: ServerLinkStatus): void => ed2k.setStatus({ id, serverIp, serverPort })
const link = openEd2kServerLink({ ...named, shares: () => offered, onStatus }, { host: address, port: 4661, ...who })
const kadHash = byKad.ed2k!.hash
// Kad keeps and finds only what is near a node's id.
const id = new Uint8Array([...kadHash.subarray(0, 4), ...randomBytes(12)])
const kad = await openKad(named, { host: address, port: 4672, clientHash: identity.userHash, tcpPort: 4662, id })
kad.publish(kadHash, byKad.content.length)
ed2k.setStatus({ kadPort: 4672, udpPort: 4672 })
// Nobody can connect to this one.
const low = await openEd2k({ ...named, shares: shareIndex([byLowId]), gate: new TestGate() })
openEd2kServerLink(
  {
    ...named,
    shares: () => [{ hash: byLowId.ed2k!.hash, size: byLowId.content.length, name: byLowId.name, complete: true }],
    connectTo: (peer, trust) => void low.connectTo(peer, trust),
    onStatus: ({ id, serverIp, serverPort }) => low.setStatus({ id, serverIp, serverPort })
  },
  { host: address, port: 4661, userHash: low.userHash, listenPort: 0 }
)
await eventually('logged in', () => link.isHighId && server.files === 2, 30_000)

const linkOf = (share: MemoryShare): string => formatEd2kLink({ name: share.name, size: share.content.length, hash: share.ed2k!.hash })
const all = [byServer, byKad, byLowId]
console.log(JSON.stringify({ links: all.map(linkOf), names: all.map(s => s.name), kadId: bytesToHex(id) }))
/** Nodes that keep the record of the second file; from the first question after they do on, our node that published it is gone. */
let keepers = 0
let found: string[] | undefined
/** Another node of ours, which knows the other program alone, looks for that file. */
async function foundThroughThem(): Promise<string[]> {
  keepers ||= kad.keepersOf(kadHash)
  if (keepers === 0 || found) return found ?? []
  found = []
  await kad[Symbol.asyncDispose]()
  const options = { host: address, port: 4673, clientHash: makeEd2kIdentity().userHash, tcpPort: 0, bootstrap: [`${theirAddress}:4672`] }
  const finder = await openKad(named, options)
  for await (const peer of finder.find(kadHash, byKad.content.length, AbortSignal.timeout(30_000))) found.push(foundKey(peer))
  return found
}

/** Whom the server names for the other program's file: asked anew. */
const theirs = ed2kOf(seededBytes(Number(theirSize), THEIR_SEED)).hash
async function sources(): Promise<string[]> {
  const found: string[] = []
  for await (const peer of link.find(theirs, Number(theirSize), AbortSignal.timeout(1_000))) found.push(foundKey(peer))
  return found
}
createInterface({ input: process.stdin })
  .on('line', async line => {
    const { clients, files } = server
    if (line === 'alone') void foundThroughThem()
    console.log(
      JSON.stringify({ clients, files, kadNodes: kad.nodes, isTcpOpen: kad.isTcpOpen, found: await sources(), keepers, alone: found ?? [] })
    )
  })
  .on('close', () => process.exit(0))
