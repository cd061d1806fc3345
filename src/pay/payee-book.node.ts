/** The payee's side of the ledger: receipts we countersigned and payments that reached us, each of which counts once. */
import { KithError } from '../base/errors.ts'
import type { Sqlite } from '../store/sqlite.node.ts'
import type { CreditBook } from './credit-book.node.ts'
import type { ReceiptRow } from './payer-book.node.ts'

export interface IncomingRow {
  readonly tx: string
  readonly log_index: number
  readonly invoice: Uint8Array
  readonly payer: string
  readonly wallet: Uint8Array
  readonly amount: string
  readonly bytes: number
  readonly block_hash: string
  /** credited: counts, may still leave the chain. withdrawn: left it. final: too deep to leave. lost: never came back. */
  readonly state: 'credited' | 'withdrawn' | 'final' | 'lost'
  readonly account: string
  readonly restored: number
  readonly grown: number
  readonly time: number
}

export interface NewPayment {
  readonly tx: string
  /** Of the contract's event; -1 for a plain transfer. */
  readonly logIndex: number
  readonly invoice: Uint8Array
  readonly payer: string
  readonly wallet: Uint8Array
  readonly amount: bigint
  readonly blockHash: string
  readonly account: string
  readonly receipts: readonly ReceiptRow[]
}

export interface NewCountersigned {
  readonly id: Uint8Array
  readonly hash: Uint8Array
  readonly fileId: Uint8Array
  readonly body: Uint8Array
  readonly signer: Uint8Array
  readonly signature: Uint8Array
  readonly countersignature: Uint8Array
  readonly seeder: string
  readonly payer: string
  readonly bytes: number
  readonly amount: bigint
}

export class PayeeBook {
  readonly #db: Sqlite
  readonly #credit: CreditBook
  readonly #now: () => number

  constructor(db: Sqlite, credit: CreditBook, now: () => number) {
    this.#db = db
    this.#credit = credit
    this.#now = now
  }

  receiptByHash(hash: Uint8Array): ReceiptRow | undefined {
    return this.#db.get<ReceiptRow>("SELECT * FROM receipts WHERE hash = ? AND role = 'payee'", hash)
  }
  hasId(id: Uint8Array): boolean {
    return this.#db.get('SELECT 1 FROM receipts WHERE id = ?', id) !== undefined
  }
  /** Bytes in all receipts of this payer for a file, and how many receipts it has not paid. */
  claimed(payer: string, fileId: Uint8Array): { readonly bytes: number; readonly open: number } {
    const bytes = "SELECT coalesce(sum(bytes), 0) AS n FROM receipts WHERE role = 'payee' AND payer = ? AND file_id = ?"
    const open = "SELECT count(*) AS n FROM receipts WHERE role = 'payee' AND payer = ? AND state = 'open'"
    return { bytes: this.#db.get<{ n: number }>(bytes, payer, fileId)!.n, open: this.#db.get<{ n: number }>(open, payer)!.n }
  }
  saveReceipt(r: NewCountersigned): void {
    this.#db.run(
      `INSERT INTO receipts (id, role, hash, file_id, body, signer, signature, countersignature, seeder, payer, bytes, amount, state, time)
       VALUES (?, 'payee', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)`,
      ...[
        r.id,
        r.hash,
        r.fileId,
        r.body,
        r.signer,
        r.signature,
        r.countersignature,
        r.seeder,
        r.payer,
        r.bytes,
        r.amount.toString(),
        this.#now()
      ]
    )
  }

  incoming(tx: string, logIndex: number): IncomingRow | undefined {
    return this.#db.get<IncomingRow>('SELECT * FROM incoming WHERE tx = ? AND log_index = ?', tx, logIndex)
  }
  unfinal(): IncomingRow[] {
    return this.#db.all<IncomingRow>("SELECT * FROM incoming WHERE state IN ('credited', 'withdrawn') ORDER BY time")
  }
  earned(): bigint {
    const rows = this.#db.all<{ amount: string }>("SELECT amount FROM incoming WHERE state IN ('credited', 'final')")
    return rows.reduce((n, r) => n + BigInt(r.amount), 0n)
  }

  /** Payment, paid receipts and credit change together. @throws ALREADY_USED when the payment or a receipt was used before */
  accept(p: NewPayment): void {
    this.#changeCredit(p.account, () => {
      if (this.incoming(p.tx, p.logIndex)) throw new KithError('ALREADY_USED', 'this payment was used before', { tx: p.tx })
      const bytes = p.receipts.reduce((n, r) => n + r.bytes, 0)
      for (const r of p.receipts) {
        const { changes } = this.#db.run(
          "UPDATE receipts SET state = 'paid', tx = ?, invoice = ? WHERE id = ? AND state = 'open'",
          p.tx,
          p.invoice,
          r.id
        )
        if (changes !== 1) throw new KithError('ALREADY_USED', 'a receipt was paid before', { tx: p.tx })
      }
      const { restored, grown } = this.#credit.restore(p.account, bytes)
      this.#db.run(
        `INSERT INTO incoming (tx, log_index, invoice, payer, wallet, amount, bytes, block_hash, state, account, restored, grown, time)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'credited', ?, ?, ?, ?)`,
        ...[
          p.tx,
          p.logIndex,
          p.invoice,
          p.payer,
          p.wallet,
          p.amount.toString(),
          bytes,
          p.blockHash,
          p.account,
          restored,
          grown,
          this.#now()
        ]
      )
    })
  }
  /** The payment left the chain: what it gave is taken back, once. */
  withdraw(row: IncomingRow): void {
    this.#changeCredit(row.account, () => {
      if (!this.#setState(row, 'withdrawn', 'credited')) return
      this.#credit.withdraw(row.account, row.restored, row.grown)
      this.#db.run("UPDATE receipts SET state = 'open', tx = NULL WHERE role = 'payee' AND tx = ?", row.tx)
    })
  }
  /** It is back, in whatever block: the same is given again, once. */
  credit(row: IncomingRow): void {
    this.#changeCredit(row.account, () => {
      if (!this.#setState(row, 'credited', 'withdrawn')) return
      const paid = "UPDATE receipts SET state = 'paid', tx = ? WHERE role = 'payee' AND invoice = ? AND state = 'open'"
      if (this.#db.run(paid, row.tx, row.invoice).changes === 0) return this.finish({ ...row, state: 'credited' }, 'lost') // another one paid
      const { restored, grown } = this.#credit.restore(row.account, row.bytes)
      this.#db.run('UPDATE incoming SET restored = ?, grown = ? WHERE tx = ? AND log_index = ?', restored, grown, row.tx, row.log_index)
    })
  }
  finish(row: IncomingRow, state: 'final' | 'lost'): void {
    this.#setState(row, state, row.state)
  }
  #changeCredit(account: string, work: () => void): void {
    try {
      this.#db.transaction(work)
    } catch (error) {
      this.#credit.forget(account)
      throw error
    }
  }
  #setState(row: IncomingRow, to: IncomingRow['state'], from: IncomingRow['state']): boolean {
    const sql = 'UPDATE incoming SET state = ? WHERE tx = ? AND log_index = ? AND state = ?'
    return this.#db.run(sql, to, row.tx, row.log_index, from).changes === 1
  }
}
