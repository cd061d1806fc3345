/** One of the workers that hash a file to be shared (hash-job.node.ts). Started by hash-file.node.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { KithError } from '../../base/errors.ts'
import { type HashJob, type HashMessage, runHashJob } from './hash-job.node.ts'

if (parentPort) {
  const port = parentPort
  const say = (message: HashMessage): void => port.postMessage(message)
  try {
    await runHashJob(workerData as HashJob, say)
  } catch (error) {
    say({ error: error instanceof KithError ? error.code : ((error as NodeJS.ErrnoException).code ?? 'EIO') })
  }
  port.close()
}
