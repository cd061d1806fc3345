/**
 * The payee: answers `receipt` (countersign what we really served, at our price) and `paid` (believe the chain, not the payer), and
 * watches payments until they are final. One payment gives credit once, and takes it back if it leaves the chain (threats PY3, PY4).
 */
import { ed25519Verify } from '#crypto'
import { sha256 } from '#hash'
import { bytesToHex, equalBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Rpc } from '../net/rpc.ts'
import { countersignAnswer, type Paid, type PaidAnswer, paidAnswer, paidCodec } from '../wire/paid.ts'
import { COUNTERSIGN_DOMAIN, RECEIPT_DOMAIN, type Receipt, receiptCodec } from '../wire/receipt.ts'
import { signedBytes, signedCodec } from '../wire/signed.ts'
import { type Inclusion, locate } from './chain/inclusion.ts'
import type { JsonRpc } from './chain/rpc.node.ts'
import type { ChainSession } from './chain/session.ts'
import { checkCode, findPaid } from './chain/settlement.ts'
import type { CreditBook } from './credit-book.node.ts'
import {
  FINAL_DEPTH,
  MAX_OPEN_RECEIPTS_PER_PAYER,
  MAX_PAID_REQUEST_BYTES,
  MAX_PAYMENT_CHECKS,
  MAX_RECEIPT_REQUEST_BYTES,
  PAY_RPC_PER_SECOND,
  TELL_FOR_MS
} from './limits.ts'
import type { ChainConfig } from './networks.ts'
import type { PayeeBook } from './payee-book.node.ts'
import type { ReceiptRow } from './payer-book.node.ts'
import { invoiceIdOf } from './receipts.ts'
import type { Signer } from './types.ts'

export interface PayeeDeps {
  readonly book: PayeeBook
  readonly credit: CreditBook
  readonly rpc: JsonRpc
  readonly rpcHost: Rpc
  readonly signer: Signer
  readonly wallet: () => Uint8Array | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly onUnfinished: () => void
}

export class Payee implements Disposable {
  readonly #deps: PayeeDeps
  readonly #chain: ChainConfig
  readonly #handlers: Disposable[]
  #checks = 0

  constructor(deps: PayeeDeps, chain: ChainConfig) {
    this.#deps = deps
    this.#chain = chain
    const perSecond = PAY_RPC_PER_SECOND
    this.#handlers = [
      deps.rpcHost.handle('receipt', { maxRequestBytes: MAX_RECEIPT_REQUEST_BYTES, perSecond }, body => this.countersign(body)),
      deps.rpcHost.handle('paid', { maxRequestBytes: MAX_PAID_REQUEST_BYTES, perSecond }, async (body, { signal }) =>
        encode(paidAnswer, await this.paid(decode(paidCodec, body), signal))
      )
    ]
  }

  /** Checks a signed receipt and signs it too. The same receipt gets the same answer. @throws RECEIPT_INVALID, UNKNOWN_CHARGE, WRONG_CHAIN */
  async countersign(request: Uint8Array): Promise<Uint8Array> {
    const { book, signer } = this.#deps
    const signed = decode(signedCodec, request)
    const receipt = decode(receiptCodec, signed.body)
    const hash = sha256(signed.body)
    const known = book.receiptByHash(hash)
    if (known?.countersignature) return encode(countersignAnswer, known.countersignature)
    this.#checkTerms(receipt, signed.signer)
    if (!(await ed25519Verify(signed.signer, signedBytes(RECEIPT_DOMAIN, signed.body), signed.signature)))
      throw new KithError('RECEIPT_INVALID', 'the receipt is not signed by its payer')
    const { signature } = await signer.sign(COUNTERSIGN_DOMAIN, signed.body)
    const payer = bytesToHex(receipt.payer)
    this.#checkServed(receipt, payer) // after the awaits: two requests at once must not both find room
    if (!book.receiptByHash(hash)) {
      const { id, fileId, bytes, amount } = receipt
      const seeder = bytesToHex(signer.instanceKey)
      book.saveReceipt({ id, hash, fileId, ...signed, countersignature: signature, seeder, payer, bytes, amount })
    }
    return encode(countersignAnswer, signature)
  }

  /**
   * Looks on the chain for the payment that the payer names.
   * @throws RECEIPT_UNKNOWN, ALREADY_USED, UNDERPAID, WRONG_CHAIN, PAYMENT_FAILED, RPC_ERROR
   */
  async paid(message: Paid, signal: AbortSignal): Promise<PaidAnswer> {
    const { book, rpc, onUnfinished } = this.#deps
    if (message.chainId !== this.#chain.chainId) throw new KithError('WRONG_CHAIN', 'payments are taken on another chain')
    const receipts = message.receipts.map(h => book.receiptByHash(h)).filter(r => r !== undefined)
    const tx = `0x${bytesToHex(message.tx)}`
    const first = receipts[0]
    if (!first) throw new KithError('RECEIPT_UNKNOWN', 'no receipt of this invoice was seen here')
    if (receipts.every(r => r.state === 'paid' && r.tx === tx)) return this.#answer('accepted', first)
    if (receipts.some(r => r.state === 'paid')) throw new KithError('ALREADY_USED', 'a receipt of this invoice is paid already')
    if (this.#checks >= MAX_PAYMENT_CHECKS) return this.#answer('pending', first)
    this.#checks++
    try {
      const session = await rpc.session(signal)
      const found = await locate(session, tx)
      if (found.state === 'absent' || found.depth < this.#chain.confirmations) return this.#answer('pending', first)
      await this.#accept(session, found, tx, invoiceIdOf(message.salt, message.receipts), receipts)
      onUnfinished()
      return this.#answer('accepted', first)
    } finally {
      this.#checks--
    }
  }

  /** Looks again at payments that could still leave the chain, or come back. @returns how many there still are */
  async recheck(signal: AbortSignal): Promise<number> {
    const { book, rpc, clock, log } = this.#deps
    const rows = book.unfinal()
    if (rows.length === 0) return 0
    const session = await rpc.session(signal)
    for (const row of rows) {
      const found = await locate(session, row.tx)
      const deep = found.state === 'mined' && found.receipt.ok ? found.depth : 0
      if (deep >= this.#chain.confirmations) {
        book.credit(row)
        if (deep >= Math.max(FINAL_DEPTH, this.#chain.confirmations)) book.finish({ ...row, state: 'credited' }, 'final')
      } else if (row.state === 'credited') {
        log.warn('a payment left the chain; its credit is withdrawn', { tx: row.tx })
        book.withdraw(row)
      } else if (clock.now() - row.time > TELL_FOR_MS) book.finish(row, 'lost')
    }
    return book.unfinal().length
  }

  [Symbol.dispose](): void {
    for (const h of this.#handlers) h[Symbol.dispose]()
  }

  #checkTerms(r: Receipt, signer: Uint8Array): void {
    const wallet = this.#deps.wallet()
    const wrong = (why: string): KithError => new KithError('RECEIPT_INVALID', why)
    if (!equalBytes(r.payer, signer)) throw wrong('the receipt is signed by somebody else than its payer')
    if (!equalBytes(r.payee, this.#deps.signer.instanceKey)) throw wrong('the receipt is for another seeder')
    if (!wallet || !equalBytes(r.to, wallet)) throw wrong('the receipt names another wallet')
    if (r.chainId !== this.#chain.chainId) throw new KithError('WRONG_CHAIN', 'the receipt is for another chain')
    if (r.bytes === 0) throw wrong('the receipt is for nothing')
  }

  #checkServed(r: Receipt, payer: string): void {
    const served = this.#deps.credit.served(payer, r.fileId)
    const claimed = this.#deps.book.claimed(payer, r.fileId)
    if (!served || claimed.bytes + r.bytes > served.bytes)
      throw new KithError('UNKNOWN_CHARGE', 'the receipt is for more than was served here', { claimed: claimed.bytes + r.bytes })
    if (r.pricePerMb < served.price) throw new KithError('RECEIPT_INVALID', 'the receipt states a lower price than was asked')
    if (claimed.open >= MAX_OPEN_RECEIPTS_PER_PAYER || this.#deps.book.hasId(r.id))
      throw new KithError('RECEIPT_INVALID', 'too many open receipts')
  }

  async #accept(
    session: ChainSession,
    found: Extract<Inclusion, { state: 'mined' }>,
    tx: string,
    invoice: Uint8Array,
    receipts: readonly ReceiptRow[]
  ): Promise<void> {
    const { book, credit, log } = this.#deps
    if (!found.receipt.ok) throw new KithError('PAYMENT_FAILED', 'the chain did not carry out this transaction')
    const bodies = receipts.map(r => decode(receiptCodec, r.body))
    const { from: payer, to: payee } = bodies[0]!
    if (!bodies.every(b => equalBytes(b.from, payer) && equalBytes(b.to, payee)))
      throw new KithError('RECEIPT_INVALID', 'receipts of several payers')
    const payment = await this.#findPayment(session, found, tx, { payer, payee, invoiceId: invoice })
    const due = receipts.reduce((n, r) => n + BigInt(r.amount), 0n)
    if (payment.amount < due) throw new KithError('UNDERPAID', 'the transaction pays less than its receipts say', { due: due.toString() })
    const account = credit.served(receipts[0]!.payer, receipts[0]!.file_id)?.account ?? ''
    book.accept({
      tx,
      ...payment,
      invoice,
      payer: receipts[0]!.payer,
      wallet: payee,
      blockHash: found.receipt.blockHash,
      account,
      receipts
    })
    log.info('payment received', { tx, wei: payment.amount, receipts: receipts.length })
  }

  /** The contract's event, or a plain transfer that carries the invoice id. @throws UNDERPAID when it is neither */
  async #findPayment(
    session: ChainSession,
    found: Extract<Inclusion, { state: 'mined' }>,
    tx: string,
    who: { payer: Uint8Array; payee: Uint8Array; invoiceId: Uint8Array }
  ): Promise<{ readonly amount: bigint; readonly logIndex: number }> {
    const contract = this.#chain.settlement
    const event = contract && findPaid(found.receipt, contract, who)
    if (contract && event) {
      await checkCode(session, contract)
      return event
    }
    const t = await session.transaction(tx)
    if (t?.to && equalBytes(t.to, who.payee) && equalBytes(t.from, who.payer) && equalBytes(t.input, who.invoiceId))
      return { amount: t.value, logIndex: -1 }
    throw new KithError('UNDERPAID', 'the transaction does not pay this invoice to this wallet')
  }

  #answer(state: PaidAnswer['state'], receipt: ReceiptRow): PaidAnswer {
    const account = this.#deps.credit.served(receipt.payer, receipt.file_id)?.account
    return { state, creditBytes: account === undefined ? 0 : this.#deps.credit.leftOf(account) }
  }
}
