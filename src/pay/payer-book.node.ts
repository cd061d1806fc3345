/** The payer's side of the ledger: bills, what was delivered, invoices and their transactions. */
import { bytesToHex } from '../base/bytes.ts'
import type { Sqlite } from '../store/sqlite.node.ts'
import { amountDue } from '../wire/wei.ts'
import { DeliveryLog } from './delivery-log.node.ts'
import { chunkBytes, type Delivered } from './receipts.ts'
import type { CheckedOffer, FileRef } from './types.ts'

export interface TermsRow {
  readonly id: number
  readonly bill: number
  readonly seeder: string
  readonly offer_hash: Uint8Array
  readonly price: string
  readonly wallet: Uint8Array
  readonly chain_id: number
  readonly peer_id: string
  readonly addresses: string
}
export interface InvoiceRow {
  readonly id: Uint8Array
  readonly bill: number
  readonly chain_id: number
  readonly salt: Uint8Array
  readonly total: string
  readonly state: 'open' | 'signed' | 'confirmed' | 'held'
  readonly attempts: number
  readonly reason: string | null
  readonly tx: string | null
  readonly gas_used: string | null
  readonly final: number
  readonly time: number
}
export interface PayeeRow {
  readonly invoice: Uint8Array
  readonly seeder: string
  readonly wallet: Uint8Array
  readonly amount: string
  readonly bytes: number
  readonly peer_id: string
  readonly addresses: string
  /** null: not yet; "accepted", or the code with which the payee refused. */
  readonly told: string | null
}
export interface ReceiptRow {
  readonly id: Uint8Array
  readonly role: 'payer' | 'payee'
  readonly hash: Uint8Array
  readonly file_id: Uint8Array
  readonly invoice: Uint8Array | null
  readonly body: Uint8Array
  readonly signer: Uint8Array
  readonly signature: Uint8Array
  readonly countersignature: Uint8Array | null
  readonly seeder: string
  readonly payer: string
  readonly bytes: number
  readonly amount: string
  readonly state: 'open' | 'paid'
  readonly tx: string | null
  readonly time: number
}
export interface TransactionRow {
  readonly hash: string
  readonly invoice: Uint8Array | null
  readonly nonce: number
  readonly raw: Uint8Array
  readonly kind: 'plain' | 'batch' | 'send'
  readonly cost: string
  readonly state: 'signed' | 'mined' | 'dead'
}
export interface NewReceipt {
  readonly id: Uint8Array
  readonly hash: Uint8Array
  readonly body: Uint8Array
  readonly signer: Uint8Array
  readonly signature: Uint8Array
  readonly terms: TermsRow
  readonly payer: string
  readonly bytes: number
  readonly amount: bigint
  readonly chunks: readonly number[]
}
export interface NewInvoice {
  readonly id: Uint8Array
  readonly salt: Uint8Array
  readonly chainId: number
  readonly receipts: readonly NewReceipt[]
}

export class PayerBook {
  readonly #db: Sqlite
  readonly #now: () => number
  readonly #deliveries: DeliveryLog

  constructor(db: Sqlite, now: () => number) {
    this.#db = db
    this.#deliveries = new DeliveryLog(db)
    this.#now = now
  }

  /** The bill of a download that goes on, or a new one: what was settled to the end is not continued by a second download. */
  openBill(file: FileRef): number {
    const last = this.#db.get<{ id: number; settled: number }>(
      'SELECT id, settled FROM bills WHERE file_id = ? ORDER BY id DESC',
      file.fileId
    )
    if (last && last.settled === 0) return last.id
    return this.#db.get<{ id: number }>(
      'INSERT INTO bills (file_id, root, size, time) VALUES (?, ?, ?, ?) RETURNING id',
      file.fileId,
      file.root,
      file.size,
      this.#now()
    )!.id
  }
  bill(id: number): { file_id: Uint8Array; root: Uint8Array; size: number } {
    return this.#db.get('SELECT file_id, root, size FROM bills WHERE id = ?', id)!
  }
  markSettled(bill: number): void {
    this.#db.run('UPDATE bills SET settled = 1 WHERE id = ?', bill)
  }
  /** Bills that ended (or crashed) with something delivered and not yet in an invoice. */
  billsWithDebt(): number[] {
    this.#deliveries.flush()
    return this.#db.all<{ bill: number }>('SELECT DISTINCT bill FROM deliveries WHERE receipt IS NULL').map(r => r.bill)
  }

  /** Agrees to an offer. The newest offer hash at the same price stands in the receipts. */
  saveTerms(bill: number, { offer, seeder, hash, peerId, addresses }: CheckedOffer): TermsRow {
    return this.#db.get<TermsRow>(
      `INSERT INTO terms (bill, seeder, offer_hash, price, wallet, chain_id, peer_id, addresses) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (bill, seeder, price, wallet, chain_id)
       DO UPDATE SET offer_hash = excluded.offer_hash, peer_id = excluded.peer_id, addresses = excluded.addresses RETURNING *`,
      bill,
      seeder,
      hash,
      offer.pricePerMb.toString(),
      offer.wallet,
      offer.chainId,
      peerId,
      JSON.stringify(addresses)
    )!
  }
  terms(bill: number): TermsRow[] {
    return this.#db.all<TermsRow>('SELECT * FROM terms WHERE bill = ? ORDER BY id', bill)
  }

  /** Notes a verified chunk; false when it was noted before. @see DeliveryLog */
  addDelivery(bill: number, terms: number, chunk: number, protocol: string): boolean {
    return this.#deliveries.add({ bill, terms, chunk, protocol })
  }
  /** Nothing is on its way to the disk any more. Call before the ledger is closed. */
  settled(): Promise<void> {
    return this.#deliveries.settled()
  }
  chunksOf(bill: number): number[] {
    this.#deliveries.flush()
    return this.#db.all<{ chunk: number }>('SELECT chunk FROM deliveries WHERE bill = ?', bill).map(r => r.chunk)
  }
  /** What is delivered and not yet in a receipt, by terms. */
  openDeliveries(bill: number, seeder: string | undefined): { readonly terms: TermsRow; readonly chunks: Delivered[] }[] {
    this.#deliveries.flush()
    return this.terms(bill)
      .filter(t => seeder === undefined || t.seeder === seeder)
      .map(terms => ({
        terms,
        chunks: this.#db.all(
          'SELECT chunk, protocol FROM deliveries WHERE bill = ? AND terms = ? AND receipt IS NULL ORDER BY chunk',
          bill,
          terms.id
        ) as unknown as Delivered[]
      }))
      .filter(g => g.chunks.length > 0)
  }
  /** wei delivered for and not yet in an invoice. */
  unbilled(bill: number): bigint {
    const { size } = this.bill(bill)
    return this.openDeliveries(bill, undefined).reduce(
      (sum, g) =>
        sum +
        amountDue(
          g.chunks.reduce((n, c) => n + chunkBytes(size, c.chunk), 0),
          BigInt(g.terms.price)
        ),
      0n
    )
  }

  /** Receipts, invoice and payees become durable together, and their chunks leave the open ones. */
  storeInvoice(bill: number, fileId: Uint8Array, invoice: NewInvoice): void {
    this.#deliveries.flush()
    this.#db.transaction(() => {
      this.#insertInvoice(
        bill,
        invoice.id,
        invoice.salt,
        invoice.chainId,
        invoice.receipts.reduce((n, r) => n + r.amount, 0n)
      )
      for (const r of invoice.receipts) {
        this.#db.run(
          `INSERT INTO receipts (id, role, hash, file_id, bill, terms, invoice, body, signer, signature, seeder, payer, bytes, amount, state, time)
           VALUES (?, 'payer', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)`,
          ...[r.id, r.hash, fileId, bill, r.terms.id, invoice.id, r.body, r.signer, r.signature, r.terms.seeder, r.payer],
          ...[r.bytes, r.amount.toString(), this.#now()]
        )
        for (const c of r.chunks)
          this.#db.run('UPDATE deliveries SET receipt = ? WHERE bill = ? AND chunk = ? AND receipt IS NULL', r.id, bill, c)
        this.#addPayee(invoice.id, r)
      }
    })
  }
  /** One invoice for several payees becomes one each, before any transaction: for chains without the settlement contract. */
  splitInvoice(
    old: InvoiceRow,
    parts: readonly { readonly id: Uint8Array; readonly salt: Uint8Array; readonly wallet: Uint8Array }[]
  ): void {
    this.#db.transaction(() => {
      for (const part of parts) {
        const mine = this.payees(old.id).filter(p => bytesToHex(p.wallet) === bytesToHex(part.wallet))
        this.#insertInvoice(
          old.bill,
          part.id,
          part.salt,
          old.chain_id,
          mine.reduce((n, p) => n + BigInt(p.amount), 0n)
        )
        for (const p of mine) {
          this.#db.run('UPDATE payees SET invoice = ? WHERE invoice = ? AND seeder = ?', part.id, old.id, p.seeder)
          this.#db.run('UPDATE receipts SET invoice = ? WHERE invoice = ? AND seeder = ?', part.id, old.id, p.seeder)
        }
      }
      this.#db.run("DELETE FROM invoices WHERE id = ? AND state = 'open'", old.id)
    })
  }
  #insertInvoice(bill: number, id: Uint8Array, salt: Uint8Array, chainId: number, total: bigint): void {
    const sql = "INSERT INTO invoices (id, bill, chain_id, salt, total, state, time) VALUES (?, ?, ?, ?, ?, 'open', ?)"
    this.#db.run(sql, id, bill, chainId, salt, total.toString(), this.#now())
  }
  #addPayee(invoice: Uint8Array, r: NewReceipt): void {
    const { seeder, wallet, peer_id, addresses } = r.terms
    const known = this.#db.get<PayeeRow>('SELECT * FROM payees WHERE invoice = ? AND seeder = ?', invoice, seeder)
    const amount = (BigInt(known?.amount ?? 0) + r.amount).toString()
    const sql = 'INSERT OR REPLACE INTO payees (invoice, seeder, wallet, amount, bytes, peer_id, addresses) VALUES (?, ?, ?, ?, ?, ?, ?)'
    this.#db.run(sql, invoice, seeder, wallet, amount, (known?.bytes ?? 0) + r.bytes, peer_id, addresses)
  }

  invoice(id: Uint8Array): InvoiceRow | undefined {
    return this.#db.get<InvoiceRow>('SELECT * FROM invoices WHERE id = ?', id)
  }
  invoices(bill: number): InvoiceRow[] {
    return this.#db.all<InvoiceRow>('SELECT * FROM invoices WHERE bill = ? ORDER BY time, id', bill)
  }
  allInvoices(): InvoiceRow[] {
    return this.#db.all<InvoiceRow>('SELECT * FROM invoices ORDER BY time, id')
  }
  /** Invoices with something left to do: pay, confirm, watch until final, or tell. */
  unfinished(): InvoiceRow[] {
    return this.#db.all<InvoiceRow>(
      "SELECT * FROM invoices WHERE state IN ('open', 'signed') OR (state = 'confirmed' AND final = 0) ORDER BY time, id"
    )
  }
  payees(invoice: Uint8Array): PayeeRow[] {
    return this.#db.all<PayeeRow>('SELECT * FROM payees WHERE invoice = ? ORDER BY seeder', invoice)
  }
  receiptsOf(invoice: Uint8Array): ReceiptRow[] {
    return this.#db.all<ReceiptRow>("SELECT * FROM receipts WHERE invoice = ? AND role = 'payer'", invoice)
  }
  receipts(): ReceiptRow[] {
    return this.#db.all<ReceiptRow>('SELECT * FROM receipts ORDER BY time, id')
  }
  receipt(id: Uint8Array): ReceiptRow | undefined {
    return this.#db.get<ReceiptRow>('SELECT * FROM receipts WHERE id = ?', id)
  }
  saveCountersignature(receipt: Uint8Array, signature: Uint8Array): void {
    this.#db.run('UPDATE receipts SET countersignature = ? WHERE id = ?', signature, receipt)
  }
  told(invoice: Uint8Array, seeder: string, how: string): void {
    this.#db.run('UPDATE payees SET told = ? WHERE invoice = ? AND seeder = ?', how, invoice, seeder)
  }

  /** The signed transaction and its nonce are durable, and the invoice bound to them, before anything is sent. */
  storeTransaction(tx: {
    hash: string
    invoice: Uint8Array | null
    wallet: Uint8Array
    chainId: number
    nonce: number
    raw: Uint8Array
    kind: TransactionRow['kind']
    cost: bigint
  }): void {
    this.#db.transaction(() => {
      this.#db.run(
        "INSERT INTO transactions (hash, invoice, wallet, chain_id, nonce, raw, kind, cost, state, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'signed', ?)",
        ...[tx.hash, tx.invoice, tx.wallet, tx.chainId, tx.nonce, tx.raw, tx.kind, tx.cost.toString(), this.#now()]
      )
      if (tx.invoice) {
        const sql = "UPDATE invoices SET state = 'signed', tx = ?, attempts = attempts + 1, reason = NULL WHERE id = ?"
        this.#db.run(sql, tx.hash, tx.invoice)
        this.#db.run("UPDATE receipts SET tx = ? WHERE invoice = ? AND role = 'payer'", tx.hash, tx.invoice)
      }
    })
  }
  transaction(hash: string): TransactionRow | undefined {
    return this.#db.get<TransactionRow>('SELECT * FROM transactions WHERE hash = ?', hash)
  }
  /** Signed and neither mined nor dead, in the order of their nonces. */
  liveTransactions(wallet: Uint8Array, chainId: number): TransactionRow[] {
    const sql = "SELECT * FROM transactions WHERE wallet = ? AND chain_id = ? AND state = 'signed' ORDER BY nonce"
    return this.#db.all<TransactionRow>(sql, wallet, chainId)
  }
  highestNonce(wallet: Uint8Array, chainId: number): number {
    const sql = 'SELECT max(nonce) AS nonce FROM transactions WHERE wallet = ? AND chain_id = ?'
    return this.#db.get<{ nonce: number | null }>(sql, wallet, chainId)?.nonce ?? -1
  }
  confirm(invoice: Uint8Array, tx: string, gasUsed: bigint): void {
    this.#db.transaction(() => {
      this.#db.run("UPDATE transactions SET state = 'mined' WHERE hash = ?", tx)
      this.#db.run("UPDATE invoices SET state = 'confirmed', gas_used = ?, reason = NULL WHERE id = ?", gasUsed.toString(), invoice)
      this.#db.run("UPDATE receipts SET state = 'paid' WHERE invoice = ? AND role = 'payer'", invoice)
    })
  }
  /** A reorg took the transaction out of the chain: its bytes are sent again. */
  unconfirm(invoice: Uint8Array, tx: string): void {
    this.#db.transaction(() => {
      this.#db.run("UPDATE transactions SET state = 'signed' WHERE hash = ?", tx)
      this.#db.run("UPDATE invoices SET state = 'signed' WHERE id = ?", invoice)
      this.#db.run("UPDATE receipts SET state = 'open' WHERE invoice = ? AND role = 'payer'", invoice)
    })
  }
  markMined(tx: string): void {
    this.#db.run("UPDATE transactions SET state = 'mined' WHERE hash = ?", tx)
  }
  /** The transaction can never pay. `open` lets the invoice have another one; `held` waits for a person. */
  giveUp(invoice: Uint8Array, tx: string, next: 'open' | 'held', reason: string): void {
    this.#db.transaction(() => {
      this.#db.run("UPDATE transactions SET state = 'dead' WHERE hash = ?", tx)
      this.#db.run('UPDATE invoices SET state = ?, reason = ? WHERE id = ?', next, reason, invoice)
    })
  }
  reopenHeld(): void {
    this.#db.run("UPDATE invoices SET state = 'open', attempts = 0 WHERE state = 'held'")
  }
  /** Nothing to pay (amounts below 1 wei): the receipts are settled as they are. */
  settleForNothing(invoice: Uint8Array): void {
    this.#db.transaction(() => {
      this.#db.run("UPDATE invoices SET state = 'confirmed', final = 1 WHERE id = ?", invoice)
      this.#db.run("UPDATE receipts SET state = 'paid' WHERE invoice = ? AND role = 'payer'", invoice)
    })
  }
  finish(invoice: Uint8Array): void {
    this.#db.run('UPDATE invoices SET final = 1 WHERE id = ?', invoice)
  }
  note(invoice: Uint8Array, reason: string): void {
    this.#db.run('UPDATE invoices SET reason = ? WHERE id = ?', reason, invoice)
  }
  /** wei in invoices made since `time`. */
  invoicedSince(time: number): bigint {
    return this.#db.all<{ total: string }>('SELECT total FROM invoices WHERE time >= ?', time).reduce((n, r) => n + BigInt(r.total), 0n)
  }
}
