/** The demo's audit: what the chain, the receipts on disk and the download say must be the same story. */
import { join } from 'node:path'
import { KithError } from '../base/errors.ts'
import type { DownloadView, ReceiptView } from '../node/types.ts'
import { startKith } from './demo-process.ts'
import { NODE, type Stage } from './demo-stage.ts'

/** Balance of every paid seeder's wallet on the chain, in wei. @throws DEMO_STEP */
export async function balances(stage: Stage): Promise<Map<string, bigint>> {
  const out = new Map<string, bigint>()
  for (const { wallet } of stage.seeders) if (wallet) out.set(wallet.toLowerCase(), await balanceOf(stage.rpc, wallet))
  return out
}

/** How much each has risen since. */
export async function risesSince(before: ReadonlyMap<string, bigint>, stage: Stage): Promise<Map<string, bigint>> {
  const now = await balances(stage)
  return new Map([...now].map(([wallet, wei]) => [wallet, wei - (before.get(wallet) ?? 0n)]))
}

/** Asked of the chain itself, past all of Kith's own bookkeeping. */
async function balanceOf(rpc: string, wallet: string): Promise<bigint> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_getBalance', params: [wallet, 'latest'] })
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(rpc, { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) })
  const { result } = (await answer.json()) as { result?: string }
  if (typeof result !== 'string') throw new KithError('DEMO_STEP', 'the chain does not tell a balance')
  return BigInt(result)
}

/** The receipts on the downloader's disk, read by another process after the download has ended. @throws DEMO_STEP */
export async function receiptsOf(stage: Stage): Promise<ReceiptView[]> {
  const args = ['wallet', 'receipts', ...NODE, '--chain-rpc', stage.rpc]
  await using process = startKith('receipts', join(stage.folder, 'downloader'), args)
  const listed = await process.result()
  const receipts = (listed['receipts'] ?? []) as ReceiptView[]
  return receipts.filter(r => r.role === 'payer' && r.fileId === stage.share.fileId)
}

/** Whether balances, receipts, settlement and delivered bytes agree. */
export function booksMatch(
  stage: Stage,
  view: DownloadView,
  rises: ReadonlyMap<string, bigint>,
  receipts: readonly ReceiptView[]
): boolean {
  const wallets = stage.seeders.flatMap(s => s.wallet?.toLowerCase() ?? [])
  const sum = (some: readonly ReceiptView[]): bigint => some.reduce((n, r) => n + BigInt(r.amountWei), 0n)
  const perWallet = wallets.every(wallet => rises.get(wallet) === sum(receipts.filter(r => r.to.toLowerCase() === wallet)))
  const perReceipt = receipts.every(r => (BigInt(r.bytes) * BigInt(r.pricePerMb)) / 2n ** 20n === BigInt(r.amountWei))
  const bytes = receipts.reduce((n, r) => n + r.bytes, 0)
  const delivered = view.sources.filter(s => s.pricePerMb !== '0').reduce((n, s) => n + s.bytes, 0)
  const total = sum(receipts)
  return perWallet && perReceipt && bytes === delivered && total > 0n && total === BigInt(view.settlement?.totalWei ?? 0)
}
