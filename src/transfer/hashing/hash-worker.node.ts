/**
 * One of the workers that hash a file to be shared: takes tasks until none is left (hash-plan.ts), and tells how far it is. Started by
 * hash-file.node.ts.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { KithError } from '../../base/errors.ts'
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

if (parentPort) {
  const port = parentPort
  const say = (message: HashMessage): void => port.postMessage(message)
  try {
    await work(workerData as HashJob, say)
  } catch (error) {
    say({ error: error instanceof KithError ? error.code : ((error as NodeJS.ErrnoException).code ?? 'EIO') })
  }
  port.close()
}

async function work({ path, plan, output }: HashJob, say: (message: HashMessage) => void): Promise<void> {
  const queue = new HashQueue(plan, output.counters)
  const fd = openSync(path, constants.O_RDONLY)
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
  closeSync(fd)
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
