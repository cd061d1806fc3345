/** Tells payees: hands them receipts to countersign, and later which transaction paid them. Seeders may be gone; nothing waits for that. */
import { ed25519Verify } from '#crypto'
import { hexToBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { codeOf, KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Rpc } from '../net/rpc.ts'
import { countersignAnswer, paidAnswer, paidCodec } from '../wire/paid.ts'
import { COUNTERSIGN_DOMAIN } from '../wire/receipt.ts'
import { signedBytes, signedCodec } from '../wire/signed.ts'
import { COUNTERSIGN_TIMEOUT_MS, TELL_FOR_MS, TELL_TIMEOUT_MS } from './limits.ts'
import type { InvoiceRow, PayeeRow, PayerBook, ReceiptRow } from './payer-book.node.ts'
import { sortHashes } from './receipts.ts'
import type { Failpoint } from './types.ts'

export interface TellerDeps {
  readonly book: PayerBook
  readonly rpcHost: Rpc
  readonly clock: Clock
  readonly log: Logger
  readonly failpoint: Failpoint
}

export class Teller {
  readonly #deps: TellerDeps

  constructor(deps: TellerDeps) {
    this.#deps = deps
  }

  /** Asks every payee of an invoice to countersign, all at once, for at most 3 s. Never throws. */
  async countersign(invoice: Uint8Array, signal: AbortSignal): Promise<void> {
    await Promise.all(this.#deps.book.payees(invoice).map(p => this.#countersignOne(p, signal)))
    this.#deps.failpoint('receipts:sent')
  }

  /**
   * Tells the payees of a confirmed invoice. @returns true when nobody is left to tell
   * @param patient waits while payees see the transaction later than we do
   */
  async tell(invoice: InvoiceRow, patient: boolean, signal: AbortSignal): Promise<boolean> {
    const { book, clock } = this.#deps
    const waiting = book.payees(invoice.id).filter(p => p.told === null)
    if (clock.now() - invoice.time > TELL_FOR_MS) for (const p of waiting) book.told(invoice.id, p.seeder, 'PEER_UNREACHABLE')
    else await Promise.all(waiting.map(p => this.#tellOne(invoice, p, patient, signal)))
    const done = book.payees(invoice.id).every(p => p.told !== null)
    if (done) this.#deps.failpoint('invoice:told')
    return done
  }

  async #countersignOne(payee: PayeeRow, signal: AbortSignal): Promise<void> {
    const { book, rpcHost, log } = this.#deps
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(COUNTERSIGN_TIMEOUT_MS)])
    for (const receipt of openReceipts(book, payee)) {
      if (receipt.countersignature) continue
      try {
        const request = encode(signedCodec, { body: receipt.body, signer: receipt.signer, signature: receipt.signature })
        const options = { maxResponseBytes: 128, timeoutMs: COUNTERSIGN_TIMEOUT_MS, signal: deadline }
        const signature = decode(countersignAnswer, await rpcHost.request(targetOf(payee), 'receipt', request, options))
        if (!(await ed25519Verify(hexToBytes(payee.seeder), signedBytes(COUNTERSIGN_DOMAIN, receipt.body), signature)))
          throw new KithError('RECEIPT_INVALID', 'the countersignature is not by the seeder')
        book.saveCountersignature(receipt.id, signature)
      } catch (error) {
        log.debug('a receipt was not countersigned', { seeder: payee.seeder, code: codeOf(error) })
        return
      }
    }
  }

  async #tellOne(invoice: InvoiceRow, payee: PayeeRow, patient: boolean, signal: AbortSignal): Promise<void> {
    const { book, rpcHost, clock, log } = this.#deps
    if (!invoice.tx || payee.amount === '0') return book.told(invoice.id, payee.seeder, 'accepted')
    const until = clock.monotonic() + TELL_TIMEOUT_MS
    const receipts = sortHashes(book.receiptsOf(invoice.id).map(r => r.hash))
    const body = encode(paidCodec, { chainId: invoice.chain_id, tx: hexToBytes(invoice.tx.slice(2)), salt: invoice.salt, receipts })
    try {
      await this.#countersignOne(payee, signal) // it may have been away when the receipts were made
      for (;;) {
        const left = until - clock.monotonic()
        const options = { maxResponseBytes: 64, timeoutMs: Math.max(1, Math.ceil(left)), signal }
        const answer = decode(paidAnswer, await rpcHost.request(targetOf(payee), 'paid', body, options))
        if (answer.state === 'accepted') {
          book.told(invoice.id, payee.seeder, 'accepted')
          this.#deps.failpoint('payee:told')
          return
        }
        if (!patient || left <= 0) return
        await clock.sleep(250, signal)
      }
    } catch (error) {
      const refused = error instanceof KithError && error.code === 'PEER_REFUSED' ? String(error.data['code'] ?? '') : ''
      if (FOR_GOOD.has(refused)) book.told(invoice.id, payee.seeder, refused)
      log.debug('a payee was not told', { seeder: payee.seeder, code: codeOf(error), refused })
    }
  }
}

/** Refusals that asking again cannot change. */
const FOR_GOOD: ReadonlySet<string> = new Set(['ALREADY_USED', 'UNDERPAID', 'WRONG_CHAIN', 'RECEIPT_INVALID'])

const openReceipts = (book: PayerBook, payee: PayeeRow): ReceiptRow[] =>
  book.receiptsOf(payee.invoice).filter(r => r.seeder === payee.seeder)

const targetOf = (payee: PayeeRow): { peerId: string; addresses: string[] } => ({
  peerId: payee.peer_id,
  addresses: JSON.parse(payee.addresses) as string[]
})
