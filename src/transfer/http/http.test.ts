/** The HTTP protocol shows the behaviour every transfer protocol must. */
import { transferProtocolKit } from '../../../test/kits/transfer-protocol.ts'
import { systemClock } from '../../base/clock.ts'
import { silentLogger } from '../../base/log.ts'
import { openHttpServer } from './server.node.ts'
import { httpProtocol } from './source.node.ts'

transferProtocolKit({
  name: 'http',
  async serve(shares, gate) {
    const server = await openHttpServer({ shares, gate, clock: systemClock, log: silentLogger }, { host: '127.0.0.1' })
    return {
      host: server.host,
      port: server.port,
      extraOf: () => new Uint8Array(),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]()
    }
  },
  protocol: () => httpProtocol({ clock: systemClock })
})
