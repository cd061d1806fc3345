/**
 * Copies what is in the write-ahead log of a database into the database, in a thread of its own with a connection of its own: that ends with
 * an fsync of the database, which takes as long as the disk likes, and whoever writes goes on meanwhile (SQLite's passive checkpoint).
 */
import { Worker } from 'node:worker_threads'

/** As text, because a worker with a file would be one more file for the bundle. The connection is there only while it is used. */
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
const { DatabaseSync } = require('node:sqlite')
parentPort.on('message', () => {
  try {
    const db = new DatabaseSync(workerData)
    try { db.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() } finally { db.close() }
  } catch {}
  parentPort.postMessage(0)
})
`
/** MiB of its heap: it keeps nothing. */
const HEAP_MIB = 8

export class Checkpointer implements Disposable {
  readonly #path: string
  #worker: Worker | undefined
  #isRunning = false
  #isClosed = false

  /** The thread begins with the first use. */
  constructor(path: string) {
    this.#path = path
  }

  /** Begins a checkpoint unless one runs. Where it fails the log grows, until the connection that writes does it. */
  run(): void {
    if (this.#isRunning || this.#isClosed) return
    this.#isRunning = true
    this.#worker ??= this.#start()
    this.#worker.postMessage(0)
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    void this.#worker?.terminate()
  }

  #start(): Worker {
    const worker = new Worker(PROGRAM, {
      ...{ eval: true, execArgv: [], workerData: this.#path, env: {} },
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: 1 }
    })
    // It must not keep the process.
    worker.unref()
    worker.on('message', () => (this.#isRunning = false))
    worker.on('error', () => {})
    return worker
  }
}
