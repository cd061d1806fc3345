/**
 * A server and a client of ours, in the network namespace it is started in: `node ed2k-low-id.ts ADDRESS BYTES SEED`. Says {} when ready, and for each line
 * of input how many files the server knows and what has come; from the first one of them on the client fetches the last part of the other program's file by an ed2k link, with
 * nobody but the server to ask. Ends with its input.
 */
import { createInterface } from 'node:readline'
import { equalBytes } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { openEd2k } from '../../src/transfer/ed2k/ed2k.node.ts'
import { formatEd2kLink } from '../../src/transfer/ed2k/link.ts'
import { openEd2kServer } from '../../src/transfer/ed2k/server.node.ts'
import { openEd2kServerLink, type ServerLinkStatus } from '../../src/transfer/ed2k/server-link.node.ts'
import { md4 } from '../../src/transfer/hashing/md4.ts'
import type { FeedContext } from '../../src/transfer/plan.node.ts'
import { planEd2k } from '../../src/transfer/plan-ed2k.node.ts'
import type { Source } from '../../src/transfer/protocol.ts'
import { eventually, MemoryDelivery, seededBytes, shareIndex, TestGate } from '../kits/transfer-doubles.ts'
import { ed2kOf } from './ed2k-digest.ts'

const [address = '', bytes = '', seed = ''] = process.argv.slice(2)
const log = createLogger(line => process.stderr.write(`${line}\n`), process.env['KITH_DEBUG'] ? 'debug' : 'silent')
const base = { clock: systemClock, log }
const named = { ...base, classOf: () => 'public' as const, checkAddress: async (host: string) => host }
const size = Number(bytes)
const { hash } = ed2kOf(seededBytes(size, Number(seed)))
const ed2k = await openEd2k({ ...named, shares: shareIndex([]), gate: new TestGate() }, { listen: { host: address, port: 4662 } })
const server = await openEd2kServer(base, { host: address, port: 4661, name: 'a small server', message: 'welcome' })
const onStatus = ({ id, serverIp, serverPort }: ServerLinkStatus): void => ed2k.setStatus({ id, serverIp, serverPort })
const from = { host: address, port: 4661, userHash: ed2k.userHash, listenPort: 4662 }
const link = openEd2kServerLink({ ...named, shares: () => [], onStatus }, from)
ed2k.setCaller(low => link.callLowId(low.lowId))
await eventually('logged in', () => link.isHighId, 30_000)

/** Key of the source that the last part came from. */
let came: string | undefined
async function fetchLast(): Promise<void> {
  const signal = new AbortController().signal
  const plan = await planEd2k({ ed2k, given: [], finders: [link] }, formatEd2kLink({ name: 'x', size, hash }), signal)
  const last = plan.grid.count - 1
  const take = async (source: Source): Promise<void> => {
    await eventually('a slot', () => source.has(last), 30_000)
    const delivery = new MemoryDelivery(plan.grid, { first: last, count: 1 })
    await source.fetch(delivery, signal)
    if (plan.hashes.algorithm === 'md4' && equalBytes(md4(delivery.chunks.get(last)!), plan.hashes.of(last))) came = source.key
  }
  const rest = { bytesLeft: () => 1, admit: () => {}, note: () => {}, onDropped: () => {}, wantsMore: () => true }
  const add = (source: Source): boolean => {
    void take(source)
    return true
  }
  await plan.feed({ ...rest, grid: plan.grid, add } as unknown as FeedContext, signal)
}
let isFetching = false
console.log('{}')
createInterface({ input: process.stdin })
  .on('line', () => {
    if (server.files > 0 && !isFetching) {
      isFetching = true
      void fetchLast()
    }
    console.log(JSON.stringify({ files: server.files, came }))
  })
  .on('close', () => process.exit(0))
