/**
 * Messages between two processes over libp2p on loopback: 1 KiB each, signed, verified, encrypted, durable at the sender and (unless it says
 * otherwise) at the receiver before they are acknowledged. Two cores for both together.
 */
import { join } from 'node:path'
import type { Figure } from './figures.ts'
import { type Json, median, Running, root } from './kit.ts'
import type { MessagesChildSettings } from './messages-child.ts'
import type { Context } from './race.ts'

const CHILD = join(root, 'bench/messages-child.ts')
/** Body text that makes a message of 1 KiB. */
const BYTES = 1024
const WARM = 3000

type Case = Pick<MessagesChildSettings, 'inbox' | 'threads' | 'count' | 'rate'>

async function once({ work }: Context, round: number, of: Case): Promise<{ readonly receiver: Json; readonly sender: Json }> {
  const folder = join(work, `messages-${of.inbox}-${of.threads}-${of.rate}-${round}`)
  const start = (name: string, to?: MessagesChildSettings['to']): Running => {
    const warm = of.rate > 0 ? of.rate : WARM
    const settings: MessagesChildSettings = { ...of, folder, name, warm, bytes: BYTES, ...(to && { to }) }
    return new Running(process.execPath, [CHILD, JSON.stringify(settings)])
  }
  await using receiver = start('receiver')
  const { id, peerId, address } = await receiver.line('ready')
  await using sender = start('sender', { id: String(id), peerId: String(peerId), address: String(address) })
  return { sender: await sender.line('delivered'), receiver: await receiver.line('seconds') }
}

/** Rows of docs/performance.md: messages a second, then how long one takes at 1,000 a second. */
export async function messages(context: Context, runs: number): Promise<Figure[]> {
  const all: Figure[] = []
  for (const threads of [true, false]) {
    for (const [inbox, atLeast] of [
      ['durable', 5000],
      ['volatile', 8000]
    ] as const) {
      const results: Awaited<ReturnType<typeof once>>[] = []
      for (let i = 0; i < runs; i++) results.push(await once(context, i, { inbox, threads, count: 15_000, rate: 0 }))
      const name = `${inbox} inbox, signatures ${threads ? 'in other threads' : 'in the main thread'}`
      const of = (side: 'sender' | 'receiver', key: string): number => median(results.map(r => Number(r[side][key])))
      all.push({ name: `${name}: messages`, value: of('receiver', 'perSecond'), unit: '/s', ...(threads && { atLeast }) })
      for (const side of ['sender', 'receiver'] as const) {
        all.push({ name: `${name}: ${side}, processor`, value: of(side, 'cpuMicros'), unit: 'µs each' })
        all.push({ name: `${name}: ${side}, its main thread`, value: of(side, 'mainMicros'), unit: 'µs each' })
      }
    }
  }
  const latencies: Json[] = []
  for (let i = 0; i < runs; i++)
    latencies.push((await once(context, i, { inbox: 'durable', threads: true, count: 5000, rate: 1000 })).receiver)
  const ms = (key: string): number => 1000 * median(latencies.map(l => Number(l[key])))
  all.push({ name: 'send to handler at 1,000/s, p50', value: ms('p50'), unit: 'µs', atMost: 1000 })
  all.push({ name: 'send to handler at 1,000/s, p99', value: ms('p99'), unit: 'µs', atMost: 5000 })
  return all
}
