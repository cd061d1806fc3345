/** Turns what was delivered into signed receipts and invoices. After this a debt has a name, and paying it can be repeated safely. */
import { sha256 } from '#hash'
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { encode } from '../base/codec.ts'
import { RECEIPT_DOMAIN, type Receipt, receiptCodec } from '../wire/receipt.ts'
import { amountDue } from '../wire/wei.ts'
import { MAX_INVOICE_RECEIPTS, MAX_PAYEES } from './limits.ts'
import type { InvoiceRow, NewInvoice, NewReceipt, PayeeRow, PayerBook, ReceiptRow, TermsRow } from './payer-book.node.ts'
import { invoiceIdOf, type ReceiptShape, shapeReceipts } from './receipts.ts'
import type { Failpoint, Signer } from './types.ts'

export interface InvoicerDeps {
  readonly book: PayerBook
  readonly signer: Signer
  readonly clock: Pick<Clock, 'now'>
  readonly random: (n: number) => Uint8Array
  readonly failpoint: Failpoint
}

/**
 * Makes invoices for everything delivered and not yet invoiced, of one seeder or of all. `from` is the wallet that will pay.
 * Must not run twice at once for one bill.
 * @returns ids of the new invoices: none, one, or more when there are more payees than one transaction can pay
 */
export async function makeInvoices(deps: InvoicerDeps, bill: number, seeder: string | undefined, from: Uint8Array): Promise<Uint8Array[]> {
  const { book } = deps
  const file = book.bill(bill)
  const receipts: NewReceipt[] = []
  for (const { terms, chunks } of book.openDeliveries(bill, seeder)) {
    for (const shape of shapeReceipts(file.size, chunks)) receipts.push(await signReceipt(deps, file, terms, shape, from))
  }
  const ids: Uint8Array[] = []
  for (const part of portions(receipts)) {
    const salt = deps.random(32)
    const id = invoiceIdOf(
      salt,
      part.map(r => r.hash)
    )
    const invoice: NewInvoice = { id, salt, chainId: part[0]!.terms.chain_id, receipts: part }
    book.storeInvoice(bill, file.file_id, invoice)
    deps.failpoint('invoice:stored')
    ids.push(id)
  }
  return ids
}

/** One invoice per wallet instead of one for all, each with a salt of its own. Only before anything was signed for the old one. */
export function splitInvoice(deps: Pick<InvoicerDeps, 'book' | 'random'>, invoice: InvoiceRow): Uint8Array[] {
  const payees = deps.book.payees(invoice.id)
  const receipts = deps.book.receiptsOf(invoice.id)
  const parts = byWallet(payees).map(({ wallet, payees: group }) => {
    const salt = deps.random(32)
    const hashes = receipts.filter(r => group.some(p => p.seeder === r.seeder)).map((r: ReceiptRow) => r.hash)
    return { id: invoiceIdOf(salt, hashes), salt, wallet }
  })
  deps.book.splitInvoice(invoice, parts)
  return parts.map(p => p.id)
}

/** Payees joined by wallet: the chain pays a wallet once per invoice. */
export function byWallet(
  payees: readonly PayeeRow[]
): { readonly wallet: Uint8Array; readonly payees: PayeeRow[]; readonly amount: bigint }[] {
  const groups = Map.groupBy(payees, p => bytesToHex(p.wallet))
  return [...groups].map(([hex, group]) => ({
    wallet: hexToBytes(hex),
    payees: group,
    amount: group.reduce((n, p) => n + BigInt(p.amount), 0n)
  }))
}

async function signReceipt(
  deps: InvoicerDeps,
  file: { readonly file_id: Uint8Array; readonly root: Uint8Array; readonly size: number },
  terms: TermsRow,
  shape: ReceiptShape,
  from: Uint8Array
): Promise<NewReceipt> {
  const price = BigInt(terms.price)
  const receipt: Receipt = {
    id: deps.random(16),
    fileId: file.file_id,
    root: file.root,
    size: file.size,
    offerHash: terms.offer_hash,
    payer: deps.signer.instanceKey,
    payee: hexToBytes(terms.seeder),
    from,
    to: terms.wallet,
    chainId: terms.chain_id,
    pricePerMb: price,
    bytes: shape.bytes,
    amount: amountDue(shape.bytes, price),
    time: deps.clock.now(),
    parts: shape.parts
  }
  const { body, signer, signature } = await deps.signer.sign(RECEIPT_DOMAIN, encode(receiptCodec, receipt))
  const payer = bytesToHex(deps.signer.instanceKey)
  return {
    id: receipt.id,
    hash: sha256(body),
    body,
    signer,
    signature,
    terms,
    payer,
    bytes: shape.bytes,
    amount: receipt.amount,
    chunks: shape.chunks
  }
}

/** Receipts in groups that one transaction can pay; one chain per group. */
function portions(receipts: readonly NewReceipt[]): NewReceipt[][] {
  const out: NewReceipt[][] = []
  for (const same of Map.groupBy(receipts, r => r.terms.chain_id).values()) {
    let part: NewReceipt[] = []
    let wallets = new Set<string>()
    for (const r of same) {
      const wallet = bytesToHex(r.terms.wallet)
      if (part.length >= MAX_INVOICE_RECEIPTS || (!wallets.has(wallet) && wallets.size >= MAX_PAYEES)) {
        out.push(part)
        part = []
        wallets = new Set()
      }
      part.push(r)
      wallets.add(wallet)
    }
    if (part.length > 0) out.push(part)
  }
  return out
}
