/** zod schemas of what goes through the API: requests are checked with them, and OpenAPI is generated from all of them. */
import * as z from 'zod'
import type * as T from '../node/types.ts'
import { MAX_WEI_DIGITS } from '../wire/limits.ts'
import { askEvent, askSchemas } from './ask-schemas.ts'
import type { Json } from './json-view.ts'
import * as limits from './limits.ts'
import type { CreateWalletRequest, SendRequest } from './node-client.ts'
import type { Problem } from './problem.ts'

const wei = z
  .string()
  .max(MAX_WEI_DIGITS)
  .regex(/^(0|[1-9][0-9]*)$/)
  .describe('wei, decimal')
const time = z.number().describe('milliseconds since 1970')
const bytes = z.int().nonnegative().describe('bytes')
const hex32 = z.string().regex(/^[0-9a-f]{64}$/)
const path = z
  .string()
  .min(1)
  .max(limits.MAX_PATH_CHARS)
  .regex(/^(?:\/|[A-Za-z]:[\\/])[^\0]*$/, 'must be an absolute path')
// What these may say is for the node to judge, whose words are for people. Here only their size is bounded.
const protocolName = z.string().max(limits.MAX_ID_CHARS)
const protocols = z.array(protocolName).max(limits.MAX_PROTOCOLS)
const trackers = z.array(z.string().max(limits.MAX_ID_CHARS)).max(limits.MAX_TRACKERS)
const address = z.string().min(1).max(limits.MAX_ADDRESS_CHARS)
const rate = z.int().nonnegative()
const passphrase = z.string().min(1).max(limits.MAX_PASSPHRASE_CHARS)

export const shareRequest: z.ZodType<T.ShareRequest> = z.strictObject({
  path: path.describe('absolute path of a regular file'),
  name: z.exactOptional(z.string().max(limits.MAX_ID_CHARS)),
  pricePerMb: z.exactOptional(wei.describe('wei per MB (2^20 bytes), decimal; "0" or absent: free')),
  protocols: z.exactOptional(protocols.min(1)),
  trackers: z.exactOptional(trackers),
  uploadLimit: z.exactOptional(rate.describe('bytes per second over all uploads of this share')),
  creditBytes: z.exactOptional(bytes.describe('unpaid bytes that strangers may take')),
  encrypt: z.exactOptional(z.boolean().describe('store and offer only ciphertext')),
  passphrase: z.exactOptional(passphrase.describe('the key is made from it instead of being in the link'))
})

export const getRequest: z.ZodType<T.GetRequest> = z.strictObject({
  address: address.describe('link, file id, CID, magnet, path of a .torrent file, ed2k:// link, or http(s) URL'),
  folder: path.describe('absolute folder to put the file in'),
  maxCostWei: z.exactOptional(wei.describe('most this download may cost, wei; "0": free sources only')),
  seed: z.exactOptional(z.boolean()),
  protocols: z.exactOptional(protocols.min(1)),
  peers: z.exactOptional(
    z.array(z.string().min(3).max(300)).max(limits.MAX_TRACKERS).describe('BitTorrent peers to ask as well, "host:port"')
  ),
  trackers: z.exactOptional(trackers),
  prefer: z.exactOptional(protocolName.describe('protocol to try first where a seeder offers several')),
  limit: z.exactOptional(rate.describe('bytes per second')),
  sequential: z.exactOptional(z.boolean()),
  passphrase: z.exactOptional(passphrase)
})

export const createWalletRequest: z.ZodType<CreateWalletRequest> = z.strictObject({
  phrase: z.exactOptional(z.string().min(1).max(limits.MAX_PHRASE_CHARS)),
  passphrase: z.exactOptional(z.string().min(1).max(limits.MAX_PASSPHRASE_CHARS))
})
export const sendRequest: z.ZodType<SendRequest> = z.strictObject({ to: z.string().regex(/^0x[0-9a-fA-F]{40}$/), wei })
export const emptyRequest: z.ZodType<Record<string, never>> = z.strictObject({})
export const idText: z.ZodType<string> = z.string().min(1).max(limits.MAX_ID_CHARS)
export const eventQuery: z.ZodType<{ download?: string }> = z.strictObject({ download: z.exactOptional(idText) })
export const emptyQuery: z.ZodType<Record<string, never>> = z.strictObject({})

const errorFields = { code: z.string(), message: z.string(), hint: z.exactOptional(z.string()) }
const infoFields = {
  version: z.string(),
  home: z.string(),
  peerId: z.string(),
  addresses: z.array(z.string()).describe('multiaddrs that others can dial'),
  startedAt: time
}
export const nodeInfo: z.ZodType<Json<T.NodeInfo>> = z.strictObject(infoFields)

export const shareView: z.ZodType<Json<T.ShareView>> = z.strictObject({
  fileId: hex32.describe('SHA-256 of the content'),
  cid: z.string(),
  root: hex32,
  name: z.string(),
  path: z.string(),
  size: bytes,
  pricePerMb: wei,
  protocols: z.array(z.string()),
  state: z.enum(['seeding', 'hashing', 'changed', 'missing', 'stopped']),
  link: z.string(),
  magnet: z.string().optional(),
  infoHash: z.string().optional(),
  infoHashV2: z.string().optional(),
  ed2k: z.string().optional(),
  encrypted: z.boolean(),
  lent: z.boolean().describe('for a message or a task, and taken back when that is over'),
  torrentPath: z.string().optional(),
  plainMagnet: z.string().optional().describe('without BitTorrent v2'),
  plainTorrentPath: z.string().optional(),
  httpUrls: z.array(z.string()),
  uploadedBytes: bytes,
  addedAt: time
})

export const torrentView: z.ZodType<Json<T.TorrentView>> = z.strictObject({
  infoHash: z.string().describe('20 bytes: of v1, or the front of that of v2'),
  infoHashV2: z.string().optional(),
  name: z.string(),
  path: z.string(),
  size: bytes,
  files: z.int().nonnegative(),
  protocols: z.array(z.string()),
  state: z.enum(['seeding', 'changed', 'missing', 'stopped']),
  magnet: z.string(),
  torrentPath: z.string(),
  uploadedBytes: bytes,
  addedAt: time
})

export const settlementReport: z.ZodType<Json<T.SettlementReport>> = z.strictObject({
  state: z.enum(['nothing-owed', 'confirmed', 'sent', 'queued', 'failed']),
  tx: z.string().optional(),
  invoiceId: z.string().optional(),
  totalWei: wei,
  gasUsed: z.string().optional(),
  payees: z.array(z.strictObject({ seeder: z.string(), wallet: z.string(), amountWei: wei, bytes })),
  reason: z.exactOptional(z.string())
})

const sourceView: z.ZodType<Json<T.SourceView>> = z.strictObject({
  key: z.string(),
  protocol: z.string(),
  peer: z.string(),
  seeder: z.string().optional(),
  state: z.enum(['connecting', 'active', 'idle', 'unpaid', 'lost', 'dropped']),
  chunks: z.int().nonnegative(),
  bytes,
  rate: z.number().describe('bytes per second'),
  badChunks: z.int().nonnegative(),
  pricePerMb: wei,
  owedWei: wei,
  note: z.string().optional()
})

export const downloadView: z.ZodType<Json<T.DownloadView>> = z.strictObject({
  id: z.string(),
  address: z.string(),
  state: z.enum(['finding', 'fetching', 'waiting', 'checking', 'settling', 'done', 'failed', 'cancelled']),
  message: z.string().describe('what it is doing or waiting for, in plain words'),
  fileId: hex32.optional(),
  name: z.string().optional(),
  size: bytes.optional(),
  path: z.string().optional(),
  receivedBytes: bytes,
  verifiedBytes: bytes,
  resumedBytes: bytes.describe('verified bytes that an earlier run had already brought'),
  rate: z.number().describe('bytes per second over the last seconds'),
  etaSeconds: z.number().optional(),
  chunkCount: z.int().nonnegative(),
  chunksDone: z.int().nonnegative(),
  sources: z.array(sourceView),
  owedWei: wei,
  paidWei: wei,
  settlement: settlementReport.optional(),
  sha256Matches: z.boolean().optional(),
  startedAt: time,
  finishedAt: time.optional(),
  error: z.strictObject(errorFields).optional()
})

const walletFields = {
  exists: z.boolean(),
  address: z.string().optional(),
  chainId: z.int().optional(),
  rpc: z.string().optional(),
  balanceWei: wei.optional(),
  owedWei: wei,
  paidWei: wei,
  earnedWei: wei,
  queuedWei: wei,
  problem: z.string().optional()
}
export const walletView: z.ZodType<Json<T.WalletView>> = z.strictObject(walletFields)
export const newWalletView: z.ZodType<Json<T.WalletView & { readonly phrase?: string }>> = z.strictObject({
  ...walletFields,
  phrase: z.exactOptional(z.string()).describe('only when a new phrase was made')
})
export const sentView: z.ZodType<{ tx: string }> = z.strictObject({ tx: z.string() })

export const receiptView: z.ZodType<Json<T.ReceiptView>> = z.strictObject({
  id: z.string(),
  role: z.enum(['payer', 'payee']),
  fileId: hex32,
  counterparty: z.string(),
  from: z.string(),
  to: z.string(),
  bytes,
  pricePerMb: wei,
  amountWei: wei,
  protocols: z.array(z.string()),
  chunks: z.int().nonnegative(),
  countersigned: z.boolean(),
  state: z.enum(['open', 'sent', 'paid']),
  tx: z.string().optional(),
  time
})
export const proofView: z.ZodType<Record<string, unknown>> = z.record(z.string(), z.unknown())

const peerView = z.strictObject({ peerId: z.string(), address: z.string(), direction: z.enum(['inbound', 'outbound']), since: time })

export const statusView: z.ZodType<Json<T.StatusView>> = z.strictObject({
  node: z.strictObject({ ...infoFields, uptimeSeconds: z.number(), capacityBytes: bytes, usedBytes: bytes }),
  peers: z.array(peerView),
  shares: z.array(shareView),
  torrents: z.array(torrentView),
  downloads: z.array(downloadView),
  wallet: walletView
})

const seederInfo = z.strictObject({
  peer_id: z.string(),
  multiaddr: z.string(),
  wallet: z.string().optional(),
  chunks: z.union([z.literal('all'), z.array(z.string())]),
  price_per_mb: wei
})
export const fileInfo: z.ZodType<Json<T.FileInfo>> = z.strictObject({
  file_hash: z.string(),
  file_name: z.string().optional(),
  file_size: bytes.optional(),
  total_chunks: z.int().nonnegative().optional(),
  chunk_size: bytes,
  created_at: time.optional(),
  mime_type: z.string().optional(),
  seeders: z.record(z.string(), z.array(seederInfo)),
  total_seeders: z.int().nonnegative(),
  seeders_by_protocol: z.record(z.string(), z.int().nonnegative())
})
export const inspectRequest: z.ZodType<{ address: string }> = z.strictObject({ address })

const fileEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('share:progress'), path: z.string(), hashedBytes: bytes, size: bytes, rate: z.number() }),
  z.strictObject({ type: z.literal('share:linked'), path: z.string(), fileId: hex32, link: z.string() }),
  z.strictObject({ type: z.literal('share:added'), share: shareView }),
  z.strictObject({ type: z.literal('share:stopped'), fileId: hex32, reason: z.string() }),
  z.strictObject({ type: z.literal('download:changed'), download: downloadView }),
  z.strictObject({ type: z.literal('upload:progress'), fileId: hex32, bytes })
])
export const nodeEvent: z.ZodType = z.union([fileEvent, askEvent])

/** 202 of POST /v1/shares. */
export const hashingView: z.ZodType<{ state: 'hashing'; path: string }> = z.strictObject({ state: z.literal('hashing'), path: z.string() })
export const problemView: z.ZodType<Problem> = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string(),
  hint: z.exactOptional(z.string())
})

/** Names of the schemas in the OpenAPI document. */
export const namedSchemas: Readonly<Record<string, z.ZodType>> = {
  ...askSchemas,
  ShareRequest: shareRequest,
  GetRequest: getRequest,
  CreateWalletRequest: createWalletRequest,
  SendRequest: sendRequest,
  NodeInfo: nodeInfo,
  StatusView: statusView,
  TorrentView: torrentView,
  ShareView: shareView,
  Hashing: hashingView,
  FileInfo: fileInfo,
  InspectRequest: inspectRequest,
  DownloadView: downloadView,
  SettlementReport: settlementReport,
  WalletView: walletView,
  NewWalletView: newWalletView,
  Sent: sentView,
  ReceiptView: receiptView,
  NodeEvent: nodeEvent,
  Problem: problemView
}
