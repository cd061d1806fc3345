import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import test from 'node:test'
import { eventually } from '../../test/kits/transfer-doubles.ts'
import { systemClock } from '../base/clock.ts'
import { silentLogger } from '../base/log.ts'
import { openHost } from './host.node.ts'
import { CHECK_TIMEOUT_MS } from './limits.ts'
import { ScopeGate } from './scope-gate.ts'

const open = (listen: string[]) => {
  const gate = new ScopeGate()
  gate.allow('/ip4/127.0.0.1/tcp/1', 'user')
  return openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey: randomBytes(32) }, { listen })
}

test('a connection in doubt is cut when its peer is silent, and only then', { timeout: 60_000 }, async () => {
  await using a = await open(['/ip4/127.0.0.1/tcp/0'])
  await using b = await open([])
  const port = Number(/tcp\/(\d+)/.exec(a.addresses()[0]!)?.[1])
  const sockets: Socket[] = []
  // A way that can be silent without an end.
  const way = createServer(from => {
    const to = connect(port, '127.0.0.1')
    for (const s of [from, to]) sockets.push(s.on('error', () => {}))
    from.pipe(to).pipe(from)
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => way.once('listening', resolve))
  const { port: here } = way.address() as { port: number }
  try {
    const signal = AbortSignal.timeout(20_000)
    await b.dial(`/ip4/127.0.0.1/tcp/${here}/p2p/${a.peerId}`, signal)
    b.addressesLost()
    await (b.services as { ping: { ping(peer: unknown, o: object): Promise<number> } }).ping.ping(b.libp2p.getPeers()[0], { signal })
    assert.equal(b.peers().length, 1, 'it answers')
    for (const s of sockets) s.unpipe().pause()
    b.addressesLost()
    await eventually('the connection is cut', () => b.peers().length === 0, 4 * CHECK_TIMEOUT_MS)
  } finally {
    way.close()
    for (const s of sockets) s.destroy()
  }
})
