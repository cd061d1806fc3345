/**
 * Loaded into every process of a test file by test/run.ts: one that does not end after its last test is a fault, and must not be waited
 * for. It is ended with an error that names what holds it.
 */
import test from 'node:test'
import { isMainThread } from 'node:worker_threads'

const PATIENCE_MS = 30_000

const file = process.argv[1] ?? ''
if (isMainThread && file.endsWith('.test.ts') && process.env['NODE_TEST_CONTEXT'] === 'child-v8') {
  test.after(() => {
    const end = (): void => {
      const holders = process.getActiveResourcesInfo()
      console.error(`${file} does not end; it is held by ${holders.length > 0 ? holders.join(', ') : 'native code'}`)
      process.exit(1)
    }
    setTimeout(end, PATIENCE_MS).unref()
  })
}
