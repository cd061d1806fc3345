/** The work of hashing a file to be shared: takes tasks until none is left (hash-plan.ts), and tells how far it is. */
import { closeSync, constants, openSync } from 'node:fs'
import { type HashOutput, type HashPlan, HashQueue } from './hash-plan.ts'
import { type Md4s, RangeHasher } from './hash-ranges.node.ts'

export interface HashJob {
  readonly path: string
  readonly plan: HashPlan
  readonly output: HashOutput
}

export type HashMessage =
  /** Bytes that this worker has put through digests so far. */
  | { readonly worked: number }
  /** All of SHA-256 is in the output. */
  | { readonly core: true }
  /** This worker has found nothing more to do. */
  | { readonly done: true; readonly worked: number }
  /** A system error code, or FILE_CHANGED. */
  | { readonly error: string }

const TELL_MS = 50

/** Several may work on one job at once, each in a thread of its own. @throws FILE_CHANGED and what the system says of the file */
export async function runHashJob(job: HashJob, say: (message: HashMessage) => void): Promise<void> {
  const fd = openSync(job.path, constants.O_RDONLY)
  try {
    await work(job, fd, say)
  } finally {
    closeSync(fd)
  }
}

async function work({ plan, output }: HashJob, fd: number, say: (message: HashMessage) => void): Promise<void> {
  const queue = new HashQueue(plan, output.counters)
  let md4s: Md4s | undefined
  let worked = 0
  let toldMs = performance.now()
  const count = (bytes: number): void => {
    worked += bytes
    if (performance.now() - toldMs < TELL_MS) return
    toldMs = performance.now()
    say({ worked })
  }
  const hasher = new RangeHasher({ fd, plan, output, reached: bytes => queue.reached(bytes), worked: count })
  for (let task = queue.take(); task; task = queue.take()) {
    if (task.kind === 'parts') md4s ??= await openMd4s() // not before: the link need not wait for it
    hasher.run(task, md4s)
    const complete = queue.finished(task)
    if (!complete) continue
    hasher.complete(complete)
    if (complete === 'core') say({ core: true })
  }
  say({ done: true, worked })
}

async function openMd4s(): Promise<Md4s> {
  const [{ FastMd4 }, { Md4Lanes }] = await Promise.all([import('./md4-fast.ts'), import('./md4-lanes.ts')])
  const one = await FastMd4.open()
  try {
    return { one, four: new Md4Lanes() }
  } catch {
    return { one, four: undefined } // no vectors here
  }
}
