/** The routes of the API, in one table: the server, the OpenAPI document and the tests all read it. GET never changes anything. */
import { KithError } from '../base/errors.ts'
import { askRoutes } from './ask-routes.ts'
import { eventLines } from './event-lines.ts'
import { MAX_EVENT_STREAMS } from './limits.ts'
import { get, ok, post, type Route, remove } from './route-makers.ts'
import * as s from './schemas.ts'

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

const fileRoutes: readonly Route[] = [
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
  get('/v1/torrents', 'torrents', 'Torrents of others that this node seeds on to their swarms', s.torrentView.array(), async d =>
    ok(await d.client.torrents())
  ),
  remove(
    '/v1/torrents/{id}',
    'dropTorrent',
    'Stops seeding a torrent by info-hash or magnet link; its files are not touched',
    s.torrentView,
    async (d, { id }) => ok(await d.client.dropTorrent(id))
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

export const routes: readonly Route[] = [...fileRoutes, ...askRoutes]
