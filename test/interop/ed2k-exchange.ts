/**
 * Kith nodes and a server, in the network namespace it is started in: `node ed2k-exchange.ts ADDRESS THEIR-ADDRESS`. The first node has only the
 * first part of a file, the second one all of it; the link names the first one. Nobody but the first one is told of the second one. Says {link, keys} when ready. Then, for a line
 * `ask`, a third node, which has the first part and says so, asks the other program, and it alone, for the file, and says whom it was named and who has identified himself to us; until `go` the second one holds back the last bytes.
 */
import { createInterface } from 'node:readline'
import { bytesToHex } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { type Ed2k, openEd2k } from '../../src/transfer/ed2k/ed2k.node.ts'
import { makeEd2kIdentity } from '../../src/transfer/ed2k/identity.node.ts'
import { formatEd2kLink } from '../../src/transfer/ed2k/link.ts'
import { publicKeyOf } from '../../src/transfer/ed2k/rsa.ts'
import { openEd2kServer } from '../../src/transfer/ed2k/server.node.ts'
import { PART_BYTES } from '../../src/transfer/hashing/ed2k-hash.ts'
import type { Share, Source } from '../../src/transfer/protocol.ts'
import { CHUNK_BYTES } from '../../src/wire/limits.ts'
import { eventually, MemoryShare, seededBytes, shareIndex, TestGate } from '../kits/transfer-doubles.ts'
import { ed2kOf } from './ed2k-digest.ts'

const [address = '', theirs = ''] = process.argv.slice(2)
const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')
const content = seededBytes(PART_BYTES + 1_000_000, 7)
const digest = ed2kOf(content)
const name = 'exchanged.bin'
const firstPart = Array.from({ length: Math.ceil(PART_BYTES / CHUNK_BYTES) }, (_, i) => i)

const identities = [makeEd2kIdentity(), makeEd2kIdentity(), makeEd2kIdentity()]
const open = (i: number, shares: readonly Share[], gate = new TestGate()): Promise<Ed2k> =>
  openEd2k(
    { clock: systemClock, log, shares: shareIndex(shares), gate, checkAddress: async host => host },
    { listen: { host: address, port: 4662 + i }, identity: identities[i]!, nickname: `kith ${i}` }
  )
/** Whoever is asked for the file by this one. */
function ask(node: Ed2k, host: string, port: number): string[] {
  const keys: string[] = []
  const onSource = (source: Source): void => void keys.push(source.key)
  node.openSwarm({ hash: digest.hash, size: content.length, chunkBytes: PART_BYTES, peers: [{ host, port }], trust: 'given', onSource })
  return keys
}

const go = Promise.withResolvers<void>()
const gate = new TestGate()
const lastChunk = Math.ceil(content.length / CHUNK_BYTES) - 1
gate.onAdmit = chunk => (chunk === lastChunk ? go.promise : undefined)
const first = await open(0, [new MemoryShare(content, { name, ed2k: digest, chunks: firstPart })])
const second = await open(1, [new MemoryShare(content, { name, ed2k: digest })], gate)
await openEd2kServer({ clock: systemClock, log }, { host: address, port: 4661, name: 'a small server', message: 'welcome' })
const known = ask(second, address, 4662)
await eventually('the second one has asked the first one', () => known.length === 1, 10_000)

const link = formatEd2kLink({ name, size: content.length, hash: digest.hash, sources: [{ host: address, port: 4662 }] })
console.log(JSON.stringify({ link, keys: identities.slice(0, 2).map(i => bytesToHex(publicKeyOf(i.key!))) }))
let third: string[] | undefined
createInterface({ input: process.stdin })
  .on('line', async line => {
    if (line === 'go') go.resolve()
    if (line === 'ask') third ??= ask(await open(2, [new MemoryShare(content, { name, ed2k: digest, chunks: firstPart })]), theirs, 4662)
    console.log(JSON.stringify({ sent: gate.sentBytes, found: third ?? [], identified: [first.identified, second.identified] }))
  })
  .on('close', () => process.exit(0))
