import assert from 'node:assert/strict'
import test from 'node:test'
import { eventually, within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import { joinEd2kNetworks, serveEd2k } from '../ed2k.node.ts'
import { asUserHash } from './hello.ts'
import type { Ed2kStatus } from './hub.node.ts'
import { type FoundPeer, isLowId } from './low-id.node.ts'
import type { Ed2kFinder } from './swarm.node.ts'

const deps = { clock: systemClock, log: silentLogger }
const HASH = new Uint8Array(16).fill(7)
const userHash = (n: number): Uint8Array => asUserHash(new Uint8Array(16).fill(n))
const file = (hash: Uint8Array) => ({ hash, size: 1000, name: 'a file', complete: true })

test('what is announced is known to the server and to Kad, and their finders find it', async () => {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await serveEd2k(deps, { host: '127.0.0.1', port: 0 }))
  const servers = [`127.0.0.1:${server.port}`]
  const status: Partial<Ed2kStatus> = {}
  const seeder = stack.use(
    await joinEd2kNetworks(
      { ...deps, onStatus: s => void Object.assign(status, s) },
      { servers, kad: { host: '127.0.0.1', port: 0, bootstrap: [] }, userHash: userHash(1), listenPort: 4662 }
    )
  )
  const announced = seeder.announce(file(HASH))
  seeder.announce(file(new Uint8Array(16).fill(8)))
  await eventually('offered', () => server.files === 2)
  assert.ok((status.id ?? 0) > 0 && status.serverPort === server.port && status.kadPort === seeder.kad?.port)
  const bootstrap = [`127.0.0.1:${seeder.kad!.port}`]
  const seeker = stack.use(
    await joinEd2kNetworks(deps, { servers, kad: { host: '127.0.0.2', port: 0, bootstrap }, userHash: userHash(2), listenPort: 0 })
  )
  assert.equal(seeker.finders.length, 2)
  const first = async (finder: Ed2kFinder): Promise<FoundPeer | undefined> => {
    for await (const peer of finder.find(HASH, 1000, new AbortController().signal)) return peer
    return undefined
  }
  // Nobody listens at the port, so the server gave both a low id, which finds no other low id; Kad believes it.
  const found = await within(10_000, 'found in Kad', first(seeker.kad!))
  assert.ok(found && !isLowId(found) && found.port === 4662)
  await announced[Symbol.asyncDispose]()
  await eventually('both are logged in', () => seeker.servers.every(s => s.state === 'connected') && server.clients === 2)
})

test('a server that is no address is said; without servers and Kad nothing is joined', async () => {
  await assert.rejects(joinEd2kNetworks(deps, { servers: ['x'], userHash: userHash(1), listenPort: 0 }), e => codeOf(e) === 'BAD_ADDRESS')
  await using networks = await joinEd2kNetworks(deps, { servers: [], userHash: userHash(1), listenPort: 0 })
  assert.deepEqual([networks.finders, networks.kad, networks.servers], [[], undefined, []])
  await using _announced = networks.announce(file(HASH))
})
