/** The routes of the API, in one table: the server, the OpenAPI document and the tests all read it. GET never changes anything. */
import type * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import { eventLines } from './event-lines.ts'
import { MAX_EVENT_STREAMS } from './limits.ts'
import type { NodeClient } from './node-client.ts'
import * as s from './schemas.ts'
import type { ShareJobs } from './share-jobs.ts'

export interface RouteDeps {
  readonly client: NodeClient
  readonly jobs: ShareJobs
  readonly clock: Pick<Clock, 'sleep'>
  /** Aborts when the server closes. */
  readonly signal: AbortSignal
  /** How many event streams are open; shared by all requests. */
  readonly streams: { open: number }
}

export interface Call<Q = unknown, B = unknown> {
  readonly id: string
  readonly query: Q
  readonly body: B
  /** Aborts when the client goes or the server closes. */
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly value?: unknown
  readonly stream?: ReadableStream<Uint8Array<ArrayBuffer>>
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** As OpenAPI writes it: `/v1/shares/{id}`. */
  readonly path: string
  readonly name: string
  readonly summary: string
  readonly query: z.ZodType
  /** Only POST has one. */
  readonly body: z.ZodType | undefined
  /** Status → what comes with it. The first is the usual one. */
  readonly answers: Readonly<Record<number, z.ZodType | undefined>>
  /** True for a body of NDJSON, each line as in `answers`. */
  readonly streams: boolean
  run(deps: RouteDeps, call: Call): Promise<Answer>
}

type Handler<Q, B> = (deps: RouteDeps, call: Call<Q, B>) => Promise<Answer>

const ok = (value: unknown): Answer => ({ status: 200, value })

function get(path: string, name: string, summary: string, answer: z.ZodType, run: Handler<unknown, unknown>): Route {
  return { method: 'GET', path, name, summary, query: s.emptyQuery, body: undefined, answers: { 200: answer }, streams: false, run }
}
function post<B>(
  path: string,
  name: string,
  summary: string,
  body: z.ZodType<B>,
  answers: Route['answers'],
  run: Handler<unknown, B>
): Route {
  // The server has parsed the body with this very schema.
  const checked = (deps: RouteDeps, call: Call): Promise<Answer> => run(deps, call as Call<unknown, B>)
  return { method: 'POST', path, name, summary, query: s.emptyQuery, body, answers, streams: false, run: checked }
}
function remove(path: string, name: string, summary: string, answer: z.ZodType, run: Handler<unknown, unknown>): Route {
  return { method: 'DELETE', path, name, summary, query: s.emptyQuery, body: undefined, answers: { 200: answer }, streams: false, run }
}

const events: Route = {
  method: 'GET',
  path: '/v1/events',
  name: 'events',
  summary:
    'What happens in the node, one JSON value per line, until the client leaves. With ?download=ID only that download, beginning with how it is now. Empty lines keep the connection alive.',
  query: s.eventQuery,
  body: undefined,
  answers: { 200: s.nodeEvent },
  streams: true,
  async run({ client, clock, signal, streams }, call) {
    if (streams.open >= MAX_EVENT_STREAMS) throw new KithError('API_BUSY', 'too many event streams are open', { open: streams.open })
    const stop = new AbortController()
    streams.open++
    try {
      const source = await client.events(call.query as { download?: string }, AbortSignal.any([signal, stop.signal]))
      return { status: 200, stream: eventLines({ clock }, source, stop, () => streams.open--) }
    } catch (error) {
      streams.open--
      throw error
    }
  }
}

export const routes: readonly Route[] = [
  get('/v1/info', 'info', 'Version, home, PeerId and addresses of the node', s.nodeInfo, async d => ok(await d.client.info())),
  get('/v1/status', 'status', 'Node, peers, seeding, downloads and money', s.statusView, async d => ok(await d.client.status())),
  events,
  get('/v1/shares', 'shares', 'What this node seeds', s.shareView.array(), async d => ok(await d.client.shares())),
  post(
    '/v1/shares',
    'share',
    'Hashes a file and seeds it. 202: hashing goes on, send the same request again to wait on',
    s.shareRequest,
    { 201: s.shareView, 202: s.hashingView },
    async ({ jobs }, { body, signal }) => {
      const view = await jobs.join(body, signal)
      return view ? { status: 201, value: view } : { status: 202, value: { state: 'hashing', path: body.path } }
    }
  ),
  remove('/v1/shares/{id}', 'unshare', 'Stops seeding by file id, CID or link; the file is not touched', s.shareView, async (d, { id }) =>
    ok(await d.client.unshare(id))
  ),
  post(
    '/v1/inspect',
    'inspect',
    'Who has a file, over which protocols, at what price: signed offers merged into spec 004’s metadata',
    s.inspectRequest,
    { 200: s.fileInfo },
    async (d, { body, signal }) => ok(await d.client.inspect(body.address, signal))
  ),
  get('/v1/downloads', 'downloads', 'Downloads since the node started', s.downloadView.array(), async d => ok(await d.client.downloads())),
  post('/v1/downloads', 'get', 'Starts or resumes a download', s.getRequest, { 201: s.downloadView }, async (d, { body }) => ({
    status: 201,
    value: await d.client.get(body)
  })),
  get('/v1/downloads/{id}', 'download', 'One download', s.downloadView, async (d, { id }) => ok(await d.client.download(id))),
  remove('/v1/downloads/{id}', 'cancel', 'Stops a download; what arrived stays on disk', s.downloadView, async (d, { id }) =>
    ok(await d.client.cancel(id))
  ),
  get('/v1/wallet', 'wallet', 'Address, balance and what is owed and earned', s.walletView, async d => ok(await d.client.wallet())),
  post(
    '/v1/wallet',
    'createWallet',
    'Creates the wallet of this home',
    s.createWalletRequest,
    { 201: s.newWalletView },
    async (d, { body }) => ({
      status: 201,
      value: await d.client.createWallet(body)
    })
  ),
  post('/v1/wallet/send', 'send', 'Transfers coin', s.sendRequest, { 200: s.sentView }, async (d, { body }) =>
    ok(await d.client.send(body))
  ),
  get('/v1/receipts', 'receipts', 'Signed receipts of what was delivered', s.receiptView.array(), async d => ok(await d.client.receipts())),
  get('/v1/receipts/{id}/proof', 'proof', 'A transfer proof that a third party can check alone', s.proofView, async (d, { id }) =>
    ok(await d.client.proof(id))
  ),
  post('/v1/settle', 'settle', 'Pays what is queued now', s.emptyRequest, { 200: s.settlementReport.array() }, async d =>
    ok(await d.client.settle())
  ),
  post('/v1/stop', 'stop', 'Ends the node', s.emptyRequest, { 202: undefined }, async d => {
    await d.client.stop()
    return { status: 202 }
  })
]
