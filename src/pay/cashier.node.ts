/**
 * Makes transactions and sees them through. The signed bytes and their nonce are durable before anything is sent; only those bytes
 * are sent again; an invoice never has two transactions that could both pay (DESIGN §7). A second attempt happens by itself only
 * where the contract's replay guard makes it harmless, because an endpoint may lie about what became of the first.
 */
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { formatCoin } from '../wire/wei.ts'
import { locate } from './chain/inclusion.ts'
import type { ChainSession } from './chain/session.ts'
import { checkCode, encodeSettleOnce, isSettled, settleGas } from './chain/settlement.ts'
import { byWallet } from './invoicer.node.ts'
import { FINAL_DEPTH, MAX_ATTEMPTS } from './limits.ts'
import { Mutex } from './mutex.ts'
import type { ChainConfig } from './networks.ts'
import type { InvoiceRow, PayerBook, TransactionRow } from './payer-book.node.ts'
import type { Failpoint } from './types.ts'
import type { Wallet } from './wallet.node.ts'

export interface CashierDeps {
  readonly book: PayerBook
  readonly log: Logger
  readonly failpoint: Failpoint
}

/** Gas of a plain transfer with an invoice id as data: to an account (EIP-7623 included), and to a contract that receives. */
const ACCOUNT_GAS = 25_000n
const CONTRACT_GAS = 100_000n

export class Cashier {
  readonly #deps: CashierDeps
  readonly #chain: ChainConfig
  /** Nonces are given out and stored one at a time. */
  readonly #nonces = new Mutex()

  constructor(deps: CashierDeps, chain: ChainConfig) {
    this.#deps = deps
    this.#chain = chain
  }

  /**
   * Signs and stores the transaction of an open invoice. Nothing is sent yet.
   * @throws SETTLEMENT_MISMATCH (several payees and no contract: split the invoice), LOW_FUNDS, FEE_TOO_HIGH, WALLET_LOCKED, RPC_ERROR
   */
  async sign(invoice: InvoiceRow, session: ChainSession, wallet: Wallet): Promise<void> {
    if (await this.#paidBefore(invoice, session)) return
    const shares = byWallet(this.#deps.book.payees(invoice.id)).filter(s => s.amount > 0n)
    const [only] = shares
    if (shares.length === 1 && only) {
      const gas = (await session.code(only.wallet)).length === 0 ? ACCOUNT_GAS : CONTRACT_GAS
      await this.#issue(session, wallet, { kind: 'plain', invoice: invoice.id, to: only.wallet, value: only.amount, data: invoice.id, gas })
      return
    }
    const contract = this.#chain.settlement
    if (!contract) throw new KithError('SETTLEMENT_MISMATCH', 'no settlement contract is configured for this chain')
    await checkCode(session, contract)
    if (await isSettled(session, contract, wallet.address, invoice.id))
      throw new KithError('PAYMENT_FAILED', 'the chain says this invoice was settled by a transaction that is not in the ledger')
    const data = await encodeSettleOnce(
      invoice.id,
      shares.map(s => ({ to: s.wallet, amount: s.amount }))
    )
    const value = shares.reduce((n, s) => n + s.amount, 0n)
    const gas = settleGas(shares.length)
    await this.#issue(session, wallet, { kind: 'batch', invoice: invoice.id, to: contract.address, value, data, gas })
  }

  /** Signs, stores and sends a transfer that pays no invoice. @returns its hash. @throws as `sign` */
  async transfer(session: ChainSession, wallet: Wallet, to: Uint8Array, value: bigint): Promise<string> {
    const gas = (await session.code(to)).length === 0 ? 21_000n : CONTRACT_GAS
    const hash = await this.#issue(session, wallet, { kind: 'send', invoice: null, to, value, data: new Uint8Array(), gas })
    await this.send(this.#deps.book.transaction(hash)!, session)
    return hash
  }

  /** Sends the stored bytes. Refusals are only noted: what counts is what the chain shows afterwards. @throws RPC_ERROR, WRONG_CHAIN */
  async send(tx: TransactionRow, session: ChainSession): Promise<void> {
    try {
      await session.send(tx.raw)
    } catch (error) {
      if (!(error instanceof KithError) || error.code !== 'RPC_REFUSED') throw error
      this.#deps.log.debug('chain node did not take a transaction', { tx: tx.hash, said: error.data['rpcMessage'] })
    }
  }

  /**
   * Looks where the transaction of a signed invoice stands, and sends it again when the chain does not have it.
   * @returns true when the invoice is confirmed (or needs a new transaction, or a person): waiting longer changes nothing
   */
  async check(invoice: InvoiceRow, session: ChainSession, wallet: Uint8Array): Promise<boolean> {
    const { book } = this.#deps
    const tx = book.transaction(invoice.tx!)!
    const found = await locate(session, tx.hash)
    if (found.state === 'mined') {
      this.#deps.failpoint('tx:mined')
      if (found.depth < this.#chain.confirmations) return false
      if (found.receipt.ok) {
        book.confirm(invoice.id, tx.hash, found.receipt.gasUsed)
        this.#deps.failpoint('invoice:confirmed')
      } else this.#giveUp(invoice, tx, 'the chain did not carry out the transaction')
      return true
    }
    if (await this.#wasReplaced(session, wallet, tx)) {
      this.#giveUp(invoice, tx, 'another transaction of this wallet took its place')
      return true
    }
    for (const earlier of book.liveTransactions(wallet, this.#chain.chainId))
      if (earlier.nonce <= tx.nonce) await this.send(earlier, session)
    return false
  }

  /** Watches a confirmed invoice until it is too deep to vanish. @returns true when it needs no more watching */
  async watch(invoice: InvoiceRow, session: ChainSession): Promise<boolean> {
    if (!invoice.tx) return true
    const found = await locate(session, invoice.tx)
    if (found.state === 'mined') return found.depth >= Math.max(FINAL_DEPTH, this.#chain.confirmations)
    this.#deps.log.warn('a confirmed payment left the chain; it is sent again', { tx: invoice.tx })
    this.#deps.book.unconfirm(invoice.id, invoice.tx)
    return false
  }

  /** Marks transfers without invoice as mined, so that their cost no longer counts as pending. */
  async sweepTransfers(session: ChainSession, wallet: Uint8Array): Promise<void> {
    for (const tx of this.#deps.book.liveTransactions(wallet, this.#chain.chainId)) {
      if (tx.kind !== 'send') continue
      if ((await locate(session, tx.hash)).state === 'mined') this.#deps.book.markMined(tx.hash)
      else await this.send(tx, session)
    }
  }

  #giveUp(invoice: InvoiceRow, tx: TransactionRow, reason: string): void {
    const again = tx.kind === 'batch' && invoice.attempts < MAX_ATTEMPTS
    this.#deps.log.warn('a payment did not go through', { tx: tx.hash, again })
    this.#deps.book.giveUp(invoice.id, tx.hash, again ? 'open' : 'held', reason)
  }

  /** An earlier transaction of this invoice, once given up, is in the chain after all: no other one is made. */
  async #paidBefore(invoice: InvoiceRow, session: ChainSession): Promise<boolean> {
    if (invoice.tx === null) return false
    const found = await locate(session, invoice.tx)
    if (found.state !== 'mined' || !found.receipt.ok) return false
    this.#deps.book.confirm(invoice.id, invoice.tx, found.receipt.gasUsed)
    return true
  }

  /** True when the nonce was used by something else, as deep in the chain as we ask of payments. */
  async #wasReplaced(session: ChainSession, wallet: Uint8Array, tx: TransactionRow): Promise<boolean> {
    if ((await session.nonce(wallet, 'latest')) <= tx.nonce) return false
    const head = await session.blockNumber()
    const deep = head - this.#chain.confirmations + 1
    return deep >= 0 && (await session.nonce(wallet, deep)) > tx.nonce && (await session.receipt(tx.hash)) === undefined
  }

  #issue(
    session: ChainSession,
    wallet: Wallet,
    t: { kind: TransactionRow['kind']; invoice: Uint8Array | null; to: Uint8Array; value: bigint; data: Uint8Array; gas: bigint }
  ): Promise<string> {
    return this.#nonces.run(async () => {
      const { book, failpoint } = this.#deps
      const { chainId, maxGasPriceWei } = this.#chain
      const fees = await session.fees()
      if (fees.maxPerGas > maxGasPriceWei)
        throw new KithError('FEE_TOO_HIGH', `the network fee is ${fees.maxPerGas} wei per gas; allowed are ${maxGasPriceWei}`)
      const cost = t.value + t.gas * fees.maxPerGas
      const pending = book.liveTransactions(wallet.address, chainId).reduce((n, tx) => n + BigInt(tx.cost), 0n)
      const balance = await session.balance(wallet.address)
      if (balance < cost + pending) {
        throw new KithError(
          'LOW_FUNDS',
          `the wallet holds ${formatCoin(balance)} coin and needs ${formatCoin(cost + pending)}`,
          { balanceWei: balance.toString(), neededWei: (cost + pending).toString() },
          { hint: 'put coin into the wallet (kith wallet shows its address); the payment is made then' }
        )
      }
      // an endpoint that forgot our pool must not make us use a nonce twice
      const nonce = Math.max(await session.nonce(wallet.address, 'pending'), book.highestNonce(wallet.address, chainId) + 1)
      const { raw, hash } = await wallet.sign({ chainId, nonce, to: t.to, value: t.value, data: t.data, gas: t.gas, fees })
      failpoint('tx:signed')
      book.storeTransaction({ hash, invoice: t.invoice, wallet: wallet.address, chainId, nonce, raw, kind: t.kind, cost })
      failpoint('tx:stored')
      return hash
    })
  }
}
