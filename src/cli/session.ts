/**
 * The way to a node: the one that already holds this home, through its API, or one opened in this process for as long as the
 * command runs. Commands see a NodeClient either way.
 */
import { readApiFile } from '../api/api-file.node.ts'
import { newApiToken } from '../api/api-token.ts'
import { createApiClient } from '../api/client.ts'
import { createLocalClient } from '../api/local-client.ts'
import type { NodeClient } from '../api/node-client.ts'
import type { ApiServer } from '../api/server.node.ts'
import { systemClock } from '../base/clock.ts'
import { hasCode, KithError, textOf } from '../base/errors.ts'
import { createLogger, type Logger } from '../base/log.ts'
import type { Config } from '../node/config.ts'
import type { NodeInfo } from '../node/types.ts'
import type { Context } from './context.ts'

export interface Session extends AsyncDisposable {
  readonly client: NodeClient
  /** True when the node lives in this process, and ends with it. */
  readonly own: boolean
  /** URL of the API: of the running node, or the one that this process serves. @throws API_PORT_IN_USE */
  apiUrl(): Promise<string>
}

export interface SessionOptions {
  /** False for commands that ask one thing and end: their own node then serves no API. */
  readonly serve?: boolean
  /** True for a node that is meant to stay up: it goes on with the downloads of the last time. */
  readonly resume?: boolean
  /** True for a command that begins with a download. */
  readonly fetches?: boolean
}

/** How long a command waits for a node that has the lock of the home but does not answer yet, or is just ending. */
const BUSY_MS = 10_000
const ANSWER_MS = 3_000
/** A download that is over sooner is nobody's to ask about; the API of a command that fetches would take a tenth of its time. */
const API_AFTER_MS = 1_000

/** @throws ALREADY_RUNNING when another process holds the home and does not answer, and what openNode throws */
export async function openSession(context: Context, options: SessionOptions = {}): Promise<Session> {
  const config = await context.config()
  const deadline = systemClock.monotonic() + BUSY_MS
  for (;;) {
    const running = await findRunning(config)
    if (running) return running
    try {
      return await openOwn(context, config, options)
    } catch (error) {
      if (!hasCode(error, 'ALREADY_RUNNING') || systemClock.monotonic() > deadline) throw error
    }
    await systemClock.sleep(100, context.lifetime.signal)
  }
}

/** The node that runs for this home, if one answers. */
export async function findRunning(config: Config): Promise<Session | undefined> {
  const file = readApiFile(config.folders.state)
  if (!file) return undefined
  const client = createApiClient({ fetch }, file)
  try {
    await client.info(AbortSignal.timeout(ANSWER_MS))
  } catch (error) {
    // Another program may listen on the port of a node that crashed.
    const gone = ['NODE_UNREACHABLE', 'API_TOKEN_WRONG', 'API_HOST_REFUSED', 'API_ANSWER'].some(c => hasCode(error, c))
    if (gone || (error as Error).name === 'TimeoutError') return undefined
    throw error
  }
  return { client, own: false, apiUrl: async () => file.url, [Symbol.asyncDispose]: async () => {} }
}

async function openOwn(
  context: Context,
  config: Config,
  { serve = true, resume = false, fetches = false }: SessionOptions
): Promise<Session> {
  await using stack = new AsyncDisposableStack()
  const log = createLogger(line => process.stderr.write(`${line}\n`), config.logLevel)
  // The message server of a node that stays takes the token of its API.
  const token = serve ? newApiToken() : undefined
  const given = token === undefined ? {} : { token }
  const node = stack.use(await context.deps.openNode(config, { signal: context.lifetime.signal, log, resume, fetches, ...given }))
  const client = createLocalClient(node, () => context.lifetime.stop())
  // The API starts beside the command's own work; a command that does not print its URL need not wait for it.
  let server: Promise<ApiServer> | undefined
  const startServer = (): Promise<ApiServer> => {
    if (server) return server
    server = openServer(context, config, client, log, given)
    server.catch((error: unknown) => context.output.note(`kith: no API: ${textOf(error)}`))
    return server
  }
  const starting = serve && fetches ? setTimeout(startServer, API_AFTER_MS) : undefined
  if (serve && !fetches) startServer()
  stack.defer(async () => {
    clearTimeout(starting)
    await (await server?.catch(() => undefined))?.[Symbol.asyncDispose]()
  })
  const owned = stack.move()
  return {
    client,
    own: true,
    apiUrl: async () => {
      if (!serve) throw new KithError('NODE_UNREACHABLE', 'this node serves no API')
      return (await startServer()).url
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}

async function openServer(
  context: Context,
  config: Config,
  client: NodeClient,
  log: Logger,
  given: { readonly token?: string }
): Promise<ApiServer> {
  const { openApiServer } = await import('../api/server.node.ts')
  const chosen = config.portsAreFixed || context.options.apiPort !== undefined
  const port = chosen ? { port: config.ports.api } : {}
  return await openApiServer({ client, clock: systemClock, log: log.child('api') }, { folder: config.folders.state, ...given, ...port })
}

export interface Ready {
  readonly ready: true
  readonly api: string
  readonly peerId: string
  readonly addresses: readonly string[]
  readonly home: string
}

/** The line that scripts wait for. */
export async function readyOf(session: Session): Promise<Ready> {
  const info: NodeInfo = await session.client.info()
  return { ready: true, api: await session.apiUrl(), peerId: info.peerId, addresses: info.addresses, home: info.home }
}
