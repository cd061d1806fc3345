/** A scheduler on a fake clock, and sources that do what a test says. */
import { silentLogger } from '../../src/base/log.ts'
import type { Grid } from '../../src/transfer/grid.ts'
import type { Delivery, Source } from '../../src/transfer/protocol.ts'
import type { RunPickerOptions } from '../../src/transfer/scheduling/next-run.ts'
import { Scheduler, type SchedulerDeps } from '../../src/transfer/scheduling/scheduler.ts'
import { SlotPool } from '../../src/transfer/scheduling/slot-pool.ts'
import type { FakeClock } from './fake-clock.ts'

export type Behaviour = (delivery: Delivery, signal: AbortSignal, source: ScriptedSource) => Promise<void>

/** A source that does what the test says; slots carry the chunk number, or 255 for wrong bytes. */
export class ScriptedSource implements Source {
  readonly key: string
  readonly protocol = 'test'
  readonly seeder: string | undefined
  readonly parallel: number = 1
  readonly maxRun: number = 16
  have: (chunk: number) => boolean
  readonly #behave: Behaviour
  disposed = 0
  fetches = 0

  constructor(key: string, behave: Behaviour, have: (chunk: number) => boolean = () => true) {
    this.key = key
    this.seeder = key
    this.#behave = behave
    this.have = have
  }
  has(chunk: number): boolean {
    return this.have(chunk)
  }
  fetch(delivery: Delivery, signal: AbortSignal): Promise<void> {
    this.fetches++
    return this.#behave(delivery, signal, this)
  }
  changed: () => void = () => {}
  onChange(listener: () => void): void {
    this.changed = listener
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed++
  }
}

export const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

/** Delivers every chunk, `ms` apart on the fake clock. */
export const deliver =
  (clock: FakeClock, ms: number, good = true): Behaviour =>
  async (delivery, signal) => {
    for (let c = delivery.run.first; c < delivery.run.first + delivery.run.count; c++) {
      if (!delivery.wants(c)) return
      await clock.sleep(ms, signal)
      const slot = await delivery.slot(c)
      slot.bytes[0] = good ? c % 251 : 255
      delivery.received(delivery.grid.chunkBytes)
      delivery.complete(c)
    }
  }

export interface SchedulerRig {
  readonly scheduler: Scheduler
  readonly pool: SlotPool
  /** Chunk and key of its source, in order. */
  readonly verified: [chunk: number, key: string][]
  readonly dropped: [key: string, code: string][]
}

/** A scheduler with eight slots whose chunks are right when they carry their number. */
export function schedulerRig(
  grid: Grid,
  clock: FakeClock,
  over: Partial<SchedulerDeps> = {},
  options: RunPickerOptions = {}
): SchedulerRig {
  const pool = new SlotPool(grid.chunkBytes, 8 * grid.chunkBytes)
  const verified: [number, string][] = []
  const dropped: [string, string][] = []
  const scheduler = new Scheduler(
    {
      clock,
      log: silentLogger,
      grid,
      pool,
      done: new Uint8Array(grid.count),
      verify: async (slot, chunk) => slot.bytes[0] === chunk % 251,
      onVerified: (chunk, source) => verified.push([chunk, source.key]),
      onUnpaid: async () => false,
      onDropped: (source, code) => dropped.push([source.key, code]),
      ...over
    },
    options
  )
  return { scheduler, pool, verified, dropped }
}

/** Lets time pass until the scheduler is done. @returns how long that took */
export async function run(scheduler: Scheduler, clock: FakeClock, limitMs: number): Promise<number> {
  let ended = false
  const done = scheduler.finished.finally(() => {
    ended = true
  })
  done.catch(() => {})
  const start = clock.monotonic()
  while (!ended && clock.monotonic() - start < limitMs) await clock.advance(10)
  if (!ended) throw new Error(`not finished after ${limitMs} ms: ${scheduler.chunksLeft} chunks left`)
  await done
  return clock.monotonic() - start
}
