/** The door to http/, which is private to this folder: the listener and the downloader's half, opened and closed together. */

import { type HttpServer, type HttpServerDeps, type HttpServerOptions, openHttpServer } from './http/server.node.ts'
import { type HttpProtocolOptions, httpProtocol } from './http/source.node.ts'
import type { TransferProtocol } from './protocol.ts'

export interface OpenHttp extends AsyncDisposable {
  readonly server: HttpServer
  readonly protocol: TransferProtocol
}

/** Listens for peers and opens the protocol "http". Disposal ends both. @throws HTTP_LISTEN */
export async function openHttp(deps: HttpServerDeps, options: HttpServerOptions & HttpProtocolOptions = {}): Promise<OpenHttp> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await openHttpServer(deps, options))
  const protocol = stack.use(httpProtocol({ clock: deps.clock }, options))
  const owned = stack.move()
  return { server, protocol, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
