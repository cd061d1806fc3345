/** Trackers that mean harm. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import test from 'node:test'
import { WebSocketServer } from 'ws'
import { within } from '../../../test/kits/transfer-doubles.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { TRACKER_MESSAGES_BURST } from './limits.ts'
import { TrackerLink } from './tracker-link.node.ts'

test('BT12: a WebSocket tracker that floods us is left', async t => {
  const flood = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 1024, clientTracking: false })
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  const left = Promise.withResolvers<void>()
  server.on('upgrade', (request, socket, head) =>
    flood.handleUpgrade(request, socket, head, ws => {
      ws.on('close', () => left.resolve())
      ws.on('error', () => {})
      for (let i = 0; i < 2 * TRACKER_MESSAGES_BURST; i++) ws.send('{"action":"announce","info_hash":"x"}')
    })
  )
  let heard = 0
  const log = { ...silentLogger, debug: () => void heard++ }
  {
    const deps = { clock: { ...systemClock, monotonic: () => 0 }, log, checkAddress: async (host: string) => host, random: () => 0.5 }
    await using _ = new TrackerLink(deps, `ws://127.0.0.1:${port}/`, 'given')
    await within(10_000, 'the end of the connection', left.promise)
    assert.ok(heard <= TRACKER_MESSAGES_BURST + 1, `${heard} messages were read`)
  }
})
