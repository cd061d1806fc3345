import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import test from 'node:test'
import { systemClock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { planUrl } from './plan-url.node.ts'

test('a server that cannot be reached is named, with what to look at', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  const planned = planUrl(
    { clock: systemClock, http: {} as never },
    new URL(`http://127.0.0.1:${port}/file.iso`),
    AbortSignal.timeout(5_000)
  )
  await assert.rejects(planned, error => {
    assert.ok(error instanceof KithError)
    assert.deepEqual(
      [error.code, error.message, error.hint],
      ['SOURCE_LOST', `127.0.0.1:${port}: cannot connect`, 'is the address right, and the server running?']
    )
    return true
  })
})
