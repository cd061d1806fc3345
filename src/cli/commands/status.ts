/** `kith status`: the node, its peers, transfers, seeding and money. */
import type { DownloadView, PeerView, ShareView, StatusView, TorrentView, WalletView } from '../../node/types.ts'
import type { Context, Register } from '../context.ts'
import { clean, formatBytes, formatDuration, formatPrice, formatRate, formatWei } from '../format.ts'
import { openSession } from '../session.ts'
import { pad } from '../text-width.ts'

export const register: Register = (program, act) => {
  program
    .command('status')
    .description('show the node, its peers, downloads, what it seeds and its money')
    .addHelpText('after', '\nExamples:\n  kith status\n  kith status --json')
    .action(act(status))
}

async function status(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.status(context.lifetime.signal)
  context.output.result({ ...view, running: !session.own }, () => describeStatus(view, !session.own))
}

/** The whole picture as lines. `running`: another process than this one holds the node. */
export function describeStatus(view: StatusView, running: boolean): string[] {
  const { node } = view
  const capacity =
    node.capacityBytes > 0
      ? `, ${formatBytes(node.usedBytes)} of ${formatBytes(node.capacityBytes)} used`
      : `, ${formatBytes(node.usedBytes)} used`
  return [
    running ? `Node ${node.peerId}, up ${formatDuration(node.uptimeSeconds)}${capacity}` : `No node is running for this home${capacity}`,
    `  version ${clean(node.version, 40)}, home ${clean(node.home, 4096)}`,
    ...(running ? node.addresses.map(a => `  ${clean(a, 200)}`) : []),
    '',
    ...section('Peers', [...Map.groupBy(view.peers, p => p.peerId).values()], peerLine),
    ...section('Downloads', view.downloads, downloadLine),
    ...section('Seeding', view.shares, shareLine),
    ...(view.torrents.length > 0 ? section('Torrents of others', view.torrents, torrentLine) : []),
    ...moneyLines(view.wallet)
  ]
}

/** Rows that are printed; the rest are counted. */
const MAX_ROWS = 50

function section<T>(title: string, rows: readonly T[], line: (row: T) => string): string[] {
  const more = rows.length > MAX_ROWS ? [`  and ${rows.length - MAX_ROWS} more`] : []
  const shown = rows.slice(0, MAX_ROWS).map(r => `  ${line(r)}`)
  return [`${title}: ${rows.length === 0 ? 'none' : rows.length}`, ...shown, ...more, '']
}

/** A peer with its connections: two that find each other at once have one each way. */
const peerLine = ([first, ...others]: readonly PeerView[]): string => {
  const more = others.length === 0 ? '' : `  and ${others.length} more connection${others.length === 1 ? '' : 's'}`
  return `${pad(clean(first!.peerId, 60), 53)} ${pad(first!.direction, 8)} ${clean(first!.address, 200)}${more}`
}

function downloadLine(d: DownloadView): string {
  const share = d.size ? `${Math.floor((d.verifiedBytes / d.size) * 100)}% of ${formatBytes(d.size)}` : formatBytes(d.verifiedBytes)
  const rate = d.state === 'fetching' ? `, ${formatRate(d.rate)} from ${d.sources.filter(s => s.state === 'active').length}` : ''
  return `${pad(clean(d.name ?? d.address, 200), 32)} ${pad(d.state, 9)} ${share}${rate}${d.error ? `, ${d.error.code}` : ''}`
}

const shareLine = (s: ShareView): string =>
  `${pad(clean(s.name, 200), 32)} ${pad(s.state, 9)} ${pad(formatBytes(s.size), 9, 'left')}, sent ${formatBytes(s.uploadedBytes)}, ${formatPrice(s.pricePerMb)}  ${s.fileId.slice(0, 16)}${s.lent ? '  (for a message or task)' : ''}${STOPPED[s.state] ?? ''}`

const STOPPED: Readonly<Record<string, string>> = {
  changed: '  (the file is no longer what was shared: share it again)',
  missing: '  (the file is gone)'
}

const torrentLine = (t: TorrentView): string =>
  `${pad(clean(t.name, 200), 32)} ${pad(t.state, 9)} ${pad(formatBytes(t.size), 9, 'left')}, sent ${formatBytes(t.uploadedBytes)}  ${t.infoHash}`

/** What the wallet holds, owes and earned. */
export function moneyLines(w: WalletView): string[] {
  if (!w.exists) return ['Money: payments are off (no wallet): kith wallet create']
  const balance = w.balanceWei === undefined ? 'balance unknown' : formatWei(w.balanceWei)
  const queued = w.queuedWei === '0' ? [] : [`  queued ${formatWei(w.queuedWei)}: paid when the chain answers, or now with 'kith settle'`]
  return [
    `Money: ${balance}`,
    `  address ${w.address ?? 'unknown'}${w.chainId === undefined ? '' : `, chain ${w.chainId}`}`,
    `  earned ${formatWei(w.earnedWei)}, paid ${formatWei(w.paidWei)}, owed ${formatWei(w.owedWei)}`,
    ...queued,
    ...(w.problem === undefined ? [] : [`  ${clean(w.problem)}`])
  ]
}
