/**
 * Run in a network namespace whose loopback device also has the two addresses of the arguments, a public and a private one: what a node that
 * listens everywhere tells a peer that came to one of them. Prints one JSON object: addresses of node and neighbour by way of telling and by
 * address of the asker.
 */
import { randomBytes } from 'node:crypto'
import type { IdentifyResult, PeerId } from '@libp2p/interface'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { type Dht, dhtService } from '../../src/discovery/dht.ts'
import { cidOfFile } from '../../src/discovery/dht-finder.ts'
import { openHost } from '../../src/net/host.node.ts'
import { ScopeGate } from '../../src/net/scope-gate.ts'

const FIND_NODE = 'FIND_NODE'

async function open(listen: string) {
  const gate = new ScopeGate()
  // As a node that knows the local network: it may learn and hand on all of these.
  for (const ip of ['127.0.0.1', ...process.argv.slice(2)]) gate.allow(`/ip4/${ip}/tcp/1`, 'bootstrap')
  const services = { dht: await dhtService({ gate }) }
  return await openHost({ clock: systemClock, log: silentLogger, gate, peerPrivateKey: randomBytes(32) }, { listen: [listen], services })
}
type Node = Awaited<ReturnType<typeof open>>
interface Inside {
  readonly network: {
    sendRequest(to: PeerId, message: unknown, o: unknown): AsyncGenerator<{ readonly name: string; readonly closer?: readonly Found[] }>
  }
}
interface Found {
  readonly id: PeerId
  readonly multiaddrs: readonly { toString(): string }[]
}

/** Addresses of `about` that `at` tells over the DHT. */
async function askDht(asker: Node, at: Node, about: Node): Promise<string[]> {
  const { network } = asker.services.dht as Dht as unknown as Inside
  const message = { type: FIND_NODE, key: about.libp2p.peerId.toMultihash().bytes }
  const signal = AbortSignal.timeout(10_000)
  for await (const event of network.sendRequest(at.libp2p.peerId, message, { signal, path: { index: 0, queued: 0, running: 0, total: 0 } }))
    if (event.name === 'PEER_RESPONSE')
      return (event.closer ?? []).filter(p => p.id.equals(about.libp2p.peerId)).flatMap(p => p.multiaddrs.map(String))
  return ['no answer']
}

async function learnt(asker: Node, about: Node): Promise<string[]> {
  const peer = await asker.libp2p.peerStore.get(about.libp2p.peerId)
  return peer.addresses.map(a => a.multiaddr.toString())
}

await using stack = new AsyncDisposableStack()
const node = stack.use(await open('/ip4/0.0.0.0/tcp/0'))
const neighbour = stack.use(await open('/ip4/0.0.0.0/tcp/0'))
const port = Number(/\/tcp\/(\d+)/.exec(node.addresses()[0] ?? '')?.[1])
const signal = AbortSignal.timeout(30_000)
const to = (ip: string, of = port): string => `/ip4/${ip}/tcp/${of}`
const told: Record<string, Record<string, string[]>> = {}
await neighbour.dial(`${to('127.0.0.1')}/p2p/${node.peerId}`, signal)
for (const ip of ['127.0.0.1', ...process.argv.slice(2)]) {
  await using asker = await open(to(ip, 0))
  const identified = new Promise<IdentifyResult>(resolve => asker.libp2p.addEventListener('peer:identify', e => resolve(e.detail)))
  await asker.dial(`${to(ip)}/p2p/${node.peerId}`, signal)
  const { listenAddrs, signedPeerRecord } = await identified
  for await (const _ of node.services.dht.provide(cidOfFile(randomBytes(32)), { signal }));
  told[ip] = {
    identify: listenAddrs.map(String),
    signed: signedPeerRecord?.addresses.map(String) ?? [],
    'own in the DHT': await askDht(asker, node, node),
    "neighbour's in the DHT": await askDht(asker, node, neighbour),
    'by announcing': await learnt(asker, node)
  }
}
process.stdout.write(`${JSON.stringify(told)}\n`)
