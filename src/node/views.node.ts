/** From what the parts know to the plain JSON of types.ts. */
import { bytesToHex } from '../base/bytes.ts'
import { codeOf, hintOf, textOf } from '../base/errors.ts'
import type { Download } from '../transfer/download.node.ts'
import type { EncryptedEntry } from '../transfer/encrypted-store.node.ts'
import { OfferedSource } from '../transfer/offered-source.ts'
import type { SettlementView } from '../transfer/payment-gate.ts'
import { displayName } from '../transfer/safe-name.ts'
import { shortPeer } from '../transfer/seeders.ts'
import type { ShareState, ShareSummary } from '../transfer/share-store.node.ts'
import type { SourceStats } from '../transfer/source-entry.ts'
import { formatCid } from '../wire/cid.ts'
import { formatLink, type Link } from '../wire/link.ts'
import { amountDue } from '../wire/wei.ts'
import type { DownloadView, ErrorView, SettlementReport, ShareView, SourceView } from './types.ts'

export function errorView(error: unknown): ErrorView {
  const hint = hintOf(error)
  return { code: codeOf(error), message: textOf(error), ...(hint === undefined ? {} : { hint }) }
}

export interface ShareFacts {
  readonly state: ShareState
  readonly uploaded: number
  /** multiaddrs to put into the link. */
  readonly via: readonly string[]
  readonly httpUrls: readonly string[]
  readonly magnet: string | undefined
  readonly torrentPath: string | undefined
  /** The torrent without v2, for programs that cannot read a hybrid. */
  readonly plain: { readonly magnet: string; readonly torrentPath: string | undefined } | undefined
  readonly ed2k: string | undefined
  /** What the owner knows of a share that is encrypted. */
  readonly encrypted: EncryptedEntry | undefined
}

export function shareView(r: ShareSummary, facts: ShareFacts): ShareView {
  return {
    fileId: bytesToHex(r.fileId),
    cid: formatCid(r.fileId),
    root: bytesToHex(r.root),
    name: displayName(facts.encrypted?.name ?? r.name),
    path: facts.encrypted?.original ?? r.path,
    size: r.stamp.size,
    pricePerMb: r.pricePerMb.toString(),
    protocols: r.protocols,
    state: facts.state,
    link: formatLink({ fileId: r.fileId, root: r.root, size: r.stamp.size, name: r.name, via: facts.via, ...secretOf(facts.encrypted) }),
    magnet: facts.magnet,
    infoHash: r.infoHash && bytesToHex(r.infoHash),
    infoHashV2: r.infoHashV2 && bytesToHex(r.infoHashV2),
    ed2k: facts.ed2k,
    encrypted: facts.encrypted !== undefined,
    lent: facts.encrypted?.lent === true,
    torrentPath: facts.torrentPath,
    plainMagnet: facts.plain?.magnet,
    plainTorrentPath: facts.plain?.torrentPath,
    httpUrls: facts.httpUrls,
    uploadedBytes: facts.uploaded,
    addedAt: r.addedAt
  }
}

/** What the link says about encryption. */
const secretOf = (entry: EncryptedEntry | undefined): Pick<Link, 'encrypted' | 'key'> =>
  entry ? (entry.key ? { encrypted: 'key', key: entry.key } : { encrypted: 'passphrase' }) : {}

export function downloadView(d: Download): DownloadView {
  const { plan } = d
  const rate = Math.round(d.rate)
  const left = plan ? plan.grid.size - d.verifiedBytes : undefined
  const fetching = d.state === 'fetching' || d.state === 'waiting'
  const running = d.finishedAt === undefined
  const digest = d.sha256 ?? plan?.fileId
  return {
    id: d.id,
    address: shown(d.options.address.split('#')[0]!),
    state: d.state,
    message: d.message,
    fileId: digest && bytesToHex(digest),
    name: plan && displayName(d.plainName ?? plan.name),
    size: plan?.grid.size,
    path: d.path,
    receivedBytes: d.receivedBytes + d.verifiedBytes - d.resumedBytes,
    verifiedBytes: d.verifiedBytes,
    resumedBytes: d.resumedBytes,
    rate: running ? rate : 0,
    etaSeconds: fetching && left !== undefined && rate > 0 ? Math.ceil(left / rate) : undefined,
    chunkCount: plan?.grid.count ?? 0,
    chunksDone: d.chunksDone,
    sources: d.sources().map(s => sourceView(s, running)),
    owedWei: d.owedWei.toString(),
    paidWei: d.paidWei.toString(),
    settlement: d.settlement && settlementReport(d.settlement),
    sha256Matches: d.sha256 && plan?.fileId ? true : undefined, // a mismatch has no finished download: it fails
    startedAt: d.startedAt,
    finishedAt: d.finishedAt,
    error: d.error === undefined || d.state === 'cancelled' ? undefined : errorView(d.error)
  }
}

function sourceView({ source, ...s }: SourceStats, running: boolean): SourceView {
  const offered = source instanceof OfferedSource ? source : undefined
  const price = offered?.pricePerMb ?? 0n
  return {
    key: displayName(source.key),
    protocol: source.protocol,
    peer: offered ? shortPeer(offered.peerId) : displayName(source.key.split(' ').at(-1) ?? ''),
    seeder: source.seeder,
    state: s.state === 'waiting' ? 'lost' : s.state,
    chunks: s.chunks,
    bytes: s.bytes,
    rate: running ? Math.round(s.rate) : 0,
    badChunks: s.badChunks,
    pricePerMb: price.toString(),
    owedWei: amountDue(s.bytes, price).toString(),
    note: s.note && displayName(s.note)
  }
}

export function settlementReport(s: SettlementView): SettlementReport {
  return {
    state: s.state,
    tx: s.tx,
    invoiceId: s.invoiceId,
    totalWei: s.totalWei.toString(),
    gasUsed: s.gasUsed?.toString(),
    payees: s.payees.map(p => ({ ...p, amountWei: p.amountWei.toString() })),
    ...(s.reason === undefined ? {} : { reason: s.reason })
  }
}

/** An ed2k link may hold thousands of hashes, and views are sent often. */
const shown = (address: string): string => (address.length > 2048 ? `${address.slice(0, 2047)}…` : address)
