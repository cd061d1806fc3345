import assert from 'node:assert/strict'
import test from 'node:test'
import { FakeClock } from '../../test/kits/fake-clock.ts'
import { ownAddresses, watchAddresses } from './address-watch.node.ts'
import { ADDRESS_WATCH_MS } from './limits.ts'

test('an address that is gone is told of, one that is new is not', async () => {
  assert.ok(ownAddresses().every(a => a.length > 1))
  const clock = new FakeClock(0)
  let addresses = ['127.0.0.1', '192.168.1.2']
  let lost = 0
  const watching = watchAddresses(
    clock,
    () => lost++,
    () => addresses
  )
  const look = async (): Promise<number> => {
    await clock.advance(ADDRESS_WATCH_MS)
    return lost
  }
  assert.equal(await look(), 0)
  addresses = [...addresses, 'fd00::1']
  assert.equal(await look(), 0)
  addresses = ['127.0.0.1', '192.168.1.3', 'fd00::1']
  assert.equal(await look(), 1)
  assert.equal(await look(), 1)
  await watching[Symbol.asyncDispose]()
  addresses = []
  assert.equal(await look(), 1)
})
