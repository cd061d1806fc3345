/** A KithNode whose answers a test writes down. It records every call that changes something. */

import { KithError } from '../../src/base/errors.ts'
import { Emitter } from '../../src/base/events.ts'
import type * as T from '../../src/node/types.ts'
import { scriptedAsk } from './scripted-ask.ts'

export interface ScriptedNode extends T.KithNode {
  /** `name:argument` of every call that changes something. */
  readonly changes: string[]
  readonly downloadsById: Map<string, T.DownloadView>
  emit(event: T.NodeEvent): void
  /** How many listen to the events now. */
  listeners(): number
  /** Replaces what a method does. */
  script: Partial<Pick<T.KithNode, 'share' | 'get' | 'settleAll' | 'unshare' | 'cancel'>>
}

export const HEX_A: string = 'ab'.repeat(32)
export const HEX_B: string = 'cd'.repeat(32)

export function shareView(over: Partial<T.ShareView> = {}): T.ShareView {
  return {
    fileId: HEX_A,
    cid: 'bafkreiexample',
    root: HEX_B,
    name: 'file.iso',
    path: '/data/file.iso',
    size: 1_048_576,
    pricePerMb: '1000000000000000',
    protocols: ['http', 'bittorrent'],
    state: 'seeding',
    link: `kith:${HEX_A}?root=${HEX_B}`,
    magnet: 'magnet:?xt=urn:btih:00',
    infoHash: '00'.repeat(20),
    infoHashV2: '11'.repeat(32),
    ed2k: 'ed2k://|file|file.iso|1048576|00112233445566778899aabbccddeeff|/',
    encrypted: false,
    torrentPath: '/data/file.iso.torrent',
    plainMagnet: 'magnet:?xt=urn:btih:01',
    plainTorrentPath: '/data/plain.torrent',
    lent: false,
    httpUrls: [`http://127.0.0.1:4803/${HEX_A}`],
    uploadedBytes: 0,
    addedAt: 1_700_000_000_000,
    ...over
  }
}

export function sourceView(over: Partial<T.SourceView> = {}): T.SourceView {
  return {
    key: 'http:1',
    protocol: 'http',
    peer: 'QmPeer1',
    seeder: '12D3KooWseeder',
    state: 'active',
    chunks: 2,
    bytes: 524_288,
    rate: 8_000_000,
    badChunks: 0,
    pricePerMb: '0',
    owedWei: '0',
    note: undefined,
    ...over
  }
}

export function downloadView(over: Partial<T.DownloadView> = {}): T.DownloadView {
  return {
    id: 'd1',
    address: `kith:${HEX_A}`,
    state: 'fetching',
    message: 'fetching from 1 source',
    fileId: HEX_A,
    name: 'file.iso',
    size: 1_048_576,
    path: '/tmp/file.iso',
    receivedBytes: 524_288,
    verifiedBytes: 524_288,
    resumedBytes: 0,
    rate: 8_000_000,
    etaSeconds: 1,
    chunkCount: 4,
    chunksDone: 2,
    sources: [sourceView()],
    owedWei: '0',
    paidWei: '0',
    settlement: undefined,
    sha256Matches: undefined,
    startedAt: 1_700_000_000_000,
    finishedAt: undefined,
    error: undefined,
    ...over
  }
}

export const settlementReport: T.SettlementReport = {
  state: 'confirmed',
  tx: `0x${'11'.repeat(32)}`,
  invoiceId: HEX_B,
  totalWei: '3000000000000000',
  gasUsed: '90000',
  payees: [{ seeder: '12D3KooWseeder', wallet: `0x${'22'.repeat(20)}`, amountWei: '3000000000000000', bytes: 3_145_728 }]
}

export const torrentView: T.TorrentView = {
  infoHash: '5a'.repeat(20),
  infoHashV2: HEX_A,
  name: 'A folder of others',
  path: '/home/ada/Downloads/A folder of others',
  size: 300_000,
  files: 2,
  protocols: ['bittorrent', 'webtorrent'],
  state: 'seeding',
  magnet: `magnet:?xt=urn:btih:${'5a'.repeat(20)}`,
  torrentPath: `/home/ada/.local/share/kith/seeded-torrents/${'5a'.repeat(20)}.torrent`,
  uploadedBytes: 5,
  addedAt: 1_700_000_000_000
}

export const walletView: T.WalletView = {
  exists: true,
  address: `0x${'22'.repeat(20)}`,
  chainId: 98765,
  rpc: 'http://127.0.0.1:8545',
  balanceWei: '1500000000000000000',
  owedWei: '0',
  paidWei: '3000000000000000',
  earnedWei: '0',
  queuedWei: '0',
  problem: undefined
}

export const receiptView: T.ReceiptView = {
  id: 'r1',
  role: 'payer',
  fileId: HEX_A,
  counterparty: '12D3KooWseeder',
  from: `0x${'33'.repeat(20)}`,
  to: `0x${'22'.repeat(20)}`,
  bytes: 3_145_728,
  pricePerMb: '1000000000000000',
  amountWei: '3000000000000000',
  protocols: ['http'],
  chunks: 12,
  countersigned: true,
  state: 'paid',
  tx: undefined,
  time: 1_700_000_000_000
}

export const nodeInfo: T.NodeInfo = {
  version: '0.1.0',
  home: '/home/x',
  peerId: '12D3KooWnode',
  addresses: ['/ip4/127.0.0.1/tcp/4801/p2p/12D3KooWnode'],
  startedAt: 1_700_000_000_000
}

export const fileInfo: T.FileInfo = {
  file_hash: HEX_A,
  file_name: 'file.iso',
  file_size: 1_048_576,
  total_chunks: 4,
  chunk_size: 262_144,
  created_at: 1_700_000_000,
  mime_type: '',
  seeders: {
    http: [
      {
        peer_id: '12D3KooWseeder',
        multiaddr: '/ip4/192.0.2.7/tcp/4803/p2p/12D3KooWseeder',
        wallet: `0x${'22'.repeat(20)}`,
        chunks: ['0-1', '3-3'],
        price_per_mb: '1000000000000000'
      }
    ]
  },
  total_seeders: 1,
  seeders_by_protocol: { http: 1 }
}

const missing = (code: string, what: string) => new KithError(code, `no ${what} has this id`, {}, { hint: 'run: kith status' })

function scriptedTorrents(changes: string[]): Pick<T.KithNode, 'torrents' | 'dropTorrent'> {
  const byId = new Map([torrentView].map(t => [t.infoHash, t]))
  return {
    torrents: () => [...byId.values()],
    async dropTorrent(id) {
      changes.push(`dropTorrent:${id}`)
      const view = [...byId.values()].find(t => t.infoHash === id || t.infoHashV2 === id)
      if (!view) throw missing('UNKNOWN_SHARE', 'torrent')
      byId.delete(view.infoHash)
      return { ...view, state: 'stopped' }
    }
  }
}

function scriptedWallet(changes: string[]): T.WalletService {
  return {
    view: async () => walletView,
    async create(request) {
      changes.push(`wallet.create:${request.phrase === undefined ? 'own' : 'given'}`)
      return walletView
    },
    async send(to, wei) {
      changes.push(`wallet.send:${to}:${wei}`)
      return { tx: `0x${'44'.repeat(32)}` }
    },
    receipts: async () => [receiptView],
    async proof(id) {
      if (id !== receiptView.id) throw missing('UNKNOWN_RECEIPT', 'receipt')
      return { receipt: id, merkle: [HEX_A] }
    }
  }
}

export function scriptedNode(): ScriptedNode {
  const emitter = new Emitter<{ any: T.NodeEvent }>()
  const changes: string[] = []
  const sharesById = new Map<string, T.ShareView>([[HEX_A, shareView()]])
  const downloadsById = new Map<string, T.DownloadView>()
  let listening = 0
  const node: ScriptedNode = {
    changes,
    downloadsById,
    ask: scriptedAsk(name => changes.push(name)),
    script: {},
    emit: event => emitter.emit('any', event),
    listeners: () => listening,
    events: {
      on(listener, signal) {
        listening++
        const off = emitter.on('any', listener, signal)
        let on = true
        const leave = (): void => {
          if (on) listening--
          on = false
          off()
        }
        if (signal?.aborted) leave()
        signal?.addEventListener('abort', leave, { once: true })
        return leave
      }
    },
    info: () => nodeInfo,
    async status() {
      return {
        node: { ...nodeInfo, uptimeSeconds: 61, capacityBytes: 10 ** 12, usedBytes: 10 ** 9 },
        peers: [{ peerId: '12D3KooWpeer', address: '/ip4/10.0.0.2/tcp/4801', direction: 'inbound', since: 1_700_000_000_000 }],
        shares: [...sharesById.values()],
        torrents: node.torrents(),
        downloads: [...downloadsById.values()],
        wallet: walletView
      }
    },
    async share(request, signal) {
      changes.push(`share:${request.path}`)
      if (node.script.share) return node.script.share(request, signal)
      const view = shareView({ path: request.path, pricePerMb: request.pricePerMb ?? '0' })
      sharesById.set(view.fileId, view)
      return view
    },
    shares: () => [...sharesById.values()],
    async inspect(address) {
      if (address !== HEX_A) throw new KithError('NO_SOURCES', `nobody has ${address}`)
      return fileInfo
    },
    async unshare(id) {
      changes.push(`unshare:${id}`)
      const view = sharesById.get(id)
      if (!view) throw missing('UNKNOWN_SHARE', 'share')
      sharesById.delete(id)
      return { ...view, state: 'stopped' }
    },
    ...scriptedTorrents(changes),
    async get(request) {
      changes.push(`get:${request.address}`)
      if (node.script.get) return node.script.get(request)
      const view = downloadView({ address: request.address, path: `${request.folder}/file.iso` })
      downloadsById.set(view.id, view)
      return view
    },
    downloads: () => [...downloadsById.values()],
    download: id => downloadsById.get(id),
    async cancel(id) {
      changes.push(`cancel:${id}`)
      const view = downloadsById.get(id)
      if (!view) throw missing('UNKNOWN_DOWNLOAD', 'download')
      const cancelled: T.DownloadView = { ...view, state: 'cancelled', message: 'cancelled' }
      downloadsById.set(id, cancelled)
      node.emit({ type: 'download:changed', download: cancelled })
    },
    wallet: scriptedWallet(changes),
    async settleAll() {
      changes.push('settleAll')
      return node.script.settleAll ? node.script.settleAll() : [settlementReport]
    },
    [Symbol.asyncDispose]: async () => {}
  }
  return node
}
