/**
 * Serves the API on a loopback address. Every request passes the `Guard` before its body is read; a refused one is answered and its
 * connection closed.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { removeApiFile, writeApiFile } from './api-file.node.ts'
import { newApiToken } from './api-token.ts'
import { createApp, problemResponse } from './app.ts'
import { Connections } from './connections.node.ts'
import { Guard } from './guard.ts'
import * as limits from './limits.ts'
import type { NodeClient } from './node-client.ts'
import type { Problem } from './problem.ts'
import { ShareJobs, type ShareJobsOptions } from './share-jobs.ts'

/** Where the API listens unless configured otherwise. */
export const DEFAULT_API_PORT = 4800

export interface ApiServerDeps {
  /** Usually `createLocalClient(node, stop)`. */
  readonly client: NodeClient
  readonly clock: Clock
  readonly log: Logger
}

export interface ApiServerOptions {
  /** Of 256 bits; absent: a new one. */
  readonly token?: string
  /** The state folder of the home: `api.json` goes there. */
  readonly folder: string
  /** `127.0.0.1` or `::1`. */
  readonly host?: string
  /** 0: any free port. Absent: 4800, or any free port when that is taken. */
  readonly port?: number
  readonly jobs?: ShareJobsOptions
}

export interface ApiServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly token: string
}

/** Listens, then writes `api.json` (0600); disposing removes it, ends event streams and closes. @throws API_NOT_LOOPBACK, API_PORT_IN_USE */
export async function openApiServer(deps: ApiServerDeps, options: ApiServerOptions): Promise<ApiServer> {
  const host = options.host ?? '127.0.0.1'
  if (host !== '127.0.0.1' && host !== '::1') {
    throw new KithError('API_NOT_LOOPBACK', 'the API can spend money, so it listens on loopback only', { host }, { hint: 'use 127.0.0.1' })
  }
  await using stack = new AsyncDisposableStack()
  const stop = new AbortController()
  const jobs = stack.use(new ShareJobs({ client: deps.client, clock: deps.clock }, options.jobs))
  const server = createServer(serverLimits)
  server.maxConnections = limits.MAX_CONNECTIONS
  const connections = new Connections(server)
  stack.defer(() => connections.close(deps.clock, limits.CLOSE_GRACE_MS))
  const port = await listen(server, host, options.port)
  const token = options.token ?? newApiToken()
  const hosts = host === '::1' ? [`[::1]:${port}`, `localhost:${port}`] : [`127.0.0.1:${port}`, `localhost:${port}`]
  attach(server, deps, { guard: new Guard(deps, { token, hosts }), jobs, stop: stop.signal })
  const url = `http://${hosts[0]}`
  writeApiFile(options.folder, { url, token, pid: process.pid })
  stack.defer(() => stop.abort())
  stack.defer(() => removeApiFile(options.folder, token))
  const owned = stack.move()
  return { url, token, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** A missing Host is refused by the guard (421) like a wrong one, so Node must let it through. */
const serverLimits = {
  requireHostHeader: false,
  maxHeaderSize: limits.MAX_HEADER_BYTES,
  headersTimeout: limits.HEADERS_TIMEOUT_MS,
  requestTimeout: limits.REQUEST_TIMEOUT_MS,
  keepAliveTimeout: 5_000
} as const

interface Parts {
  readonly guard: Guard
  readonly jobs: ShareJobs
  readonly stop: AbortSignal
}

function attach(server: Server, deps: ApiServerDeps, { guard, jobs, stop }: Parts): void {
  const document = async (): Promise<Record<string, unknown>> => {
    const { openApiDocument } = await import('./openapi.ts')
    return openApiDocument((await deps.client.info()).version)
  }
  const app = createApp({ ...deps, jobs, signal: stop, streams: { open: 0 }, document })
  // Globals stay as they are: this process also runs a node.
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false })
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const refusal = guard.check({ method: request.method ?? '', target: request.url ?? '', headers: pairs(request.rawHeaders) })
    if (refusal) refuse(request, response, refusal)
    else {
      if (/100-continue/i.test(request.headers.expect ?? '')) response.writeContinue()
      void listener(request, response) // never rejects: errors become answers
    }
  }
  server.on('request', handle)
  server.on('checkContinue', handle)
  server.on('upgrade', (_request, socket) => socket.destroy())
}

/** Answers without reading the body, and closes: what follows on the connection is not looked at. */
function refuse(request: IncomingMessage, response: ServerResponse, p: Problem): void {
  const { headers } = problemResponse(p)
  for (const [k, v] of headers) response.setHeader(k, v)
  if (p.status === 401) response.setHeader('WWW-Authenticate', 'Bearer')
  response.setHeader('Connection', 'close')
  response.statusCode = p.status
  request.on('error', () => {})
  response.end(JSON.stringify(p), () => request.destroy())
}

function pairs(raw: readonly string[]): [string, string][] {
  const out: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) out.push([raw[i]!, raw[i + 1]!])
  return out
}

/** The port that was taken. */
async function listen(server: Server, host: string, wanted: number | undefined): Promise<number> {
  try {
    return await listenOn(server, host, wanted ?? DEFAULT_API_PORT)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause
    if (wanted === undefined) return await listenOn(server, host, 0)
    throw new KithError('API_PORT_IN_USE', `port ${wanted} is in use`, { port: wanted }, { cause, hint: 'choose another, or 0 for any' })
  }
}

function listenOn(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
}
