/** Our server of POST /message in a process of its own, with a durable inbox: `node message-server.ts FOLDER`. Prints where it listens. */
import { systemClock } from '../src/base/clock.ts'
import { silentLogger } from '../src/base/log.ts'
import { openMessageHttp } from '../src/messaging/http-server.node.ts'
import { openThreadedVerifier } from '../src/platform/verify-threads.node.ts'
import { ed25519Layer } from '../src/session/layers.ts'
import { MemoryNetwork, selfOf } from '../test/kits/messaging.ts'
import { heapAsInProgram } from './heap.ts'

heapAsInProgram()
const network = new MemoryNetwork()
// As in a node.
network.authentication = self => ({ ...ed25519Layer(self), verifier: openThreadedVerifier })
await using peer = await network.open(process.argv[2] ?? '', 'server')
peer.messenger.handle('agent_message', async () => {})
await using http = await openMessageHttp({
  ...{ clock: systemClock, log: silentLogger, self: await selfOf('server'), accept: link => peer.messenger.accept(link) },
  ...{ peers: () => [], stats: () => ({}), isGranted: () => false, isBanned: () => false, penalise: () => {} }
})
process.stdout.write(`${JSON.stringify({ id: peer.id, port: http.port })}\n`)
await new Promise(resolve => process.once('SIGTERM', resolve))
