/** The door to http/, which is private to this folder: the listeners and the downloader's halves, opened and closed together. */
import type { TlsIdentity } from '../platform/x509.node.ts'
import { type HttpServer, type HttpServerDeps, type HttpServerOptions, makeCommon, openHttpServer } from './http/server.node.ts'
import { Counters, type HttpProtocol, type HttpProtocolOptions, httpProtocol, httpsProtocol } from './http/source.node.ts'
import type { ShareIndex } from './protocol.ts'

export interface OpenHttpDeps extends Omit<HttpServerDeps, 'common'> {
  /** What is served over HTTPS; the same as over HTTP when undefined. */
  readonly secureShares?: ShareIndex
}

export interface OpenHttpOptions extends Omit<HttpServerOptions, 'tls'>, HttpProtocolOptions {
  /** Listen with TLS 1.3 as well, with this key (`openTlsIdentity` of platform/x509.node.ts). Port 0: any free one. */
  readonly secure?: { readonly tls: TlsIdentity; readonly port?: number }
}

export interface OpenHttp extends AsyncDisposable {
  readonly server: HttpServer
  /** Undefined unless asked for. */
  readonly secureServer: HttpServer | undefined
  /** What an offer's entry "https" carries as `extra`: 32 bytes. */
  readonly pin: Uint8Array | undefined
  readonly protocol: HttpProtocol
  readonly secureProtocol: HttpProtocol
}

/** Listens for peers and opens the protocols "http" and "https". Disposal ends all. @throws HTTP_LISTEN, PROXY_INVALID */
export async function openHttp(deps: OpenHttpDeps, options: OpenHttpOptions = {}): Promise<OpenHttp> {
  await using stack = new AsyncDisposableStack()
  const { secure, ...o } = options
  const common = makeCommon(deps, o)
  const server = stack.use(await openHttpServer({ ...deps, common }, o))
  const secureDeps = { ...deps, shares: deps.secureShares ?? deps.shares, common }
  const secureServer = secure && stack.use(await openHttpServer(secureDeps, { ...o, port: secure.port ?? 0, tls: secure.tls }))
  const counters = new Counters(deps.clock)
  const protocol = stack.use(httpProtocol({ ...deps, counters }, o))
  const secureProtocol = stack.use(httpsProtocol({ ...deps, counters }, o))
  const owned = stack.move()
  return { server, secureServer, pin: secure?.tls.pin, protocol, secureProtocol, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
