/** Opens payments: ledger, wallet (if there is one), settlement, the payee's handlers, and the background that retries. */
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { decode } from '../base/codec.ts'
import { codeOf, KithError, textOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Rpc } from '../net/rpc.ts'
import { countRanges } from '../wire/ranges.ts'
import { receiptCodec } from '../wire/receipt.ts'
import { parseWei } from '../wire/wei.ts'
import { formatAddress, parseAddress } from './address.ts'
import { Background, type BackgroundOptions } from './background.node.ts'
import { Cashier } from './cashier.node.ts'
import { JsonRpc } from './chain/rpc.node.ts'
import { CreditBook, type CreditLimits, creditDefaults } from './credit-book.node.ts'
import { Gate } from './gate.node.ts'
import { openLedger } from './ledger.node.ts'
import { type ChainConfig, type ChainOptions, chainConfig } from './networks.ts'
import { Payee } from './payee.node.ts'
import { PayeeBook } from './payee-book.node.ts'
import { PayerBook, type ReceiptRow } from './payer-book.node.ts'
import { makeProof } from './proof.ts'
import { sortHashes } from './receipts.ts'
import { Settler } from './settler.node.ts'
import { Teller } from './teller.node.ts'
import type { Failpoint, PaymentGate, SettlementView, Signer } from './types.ts'
import { createWallet, openWallet, type Wallet } from './wallet.node.ts'

export interface PayDeps {
  readonly rpcHost: Rpc
  readonly clock: Clock
  readonly log: Logger
  readonly random: (n: number) => Uint8Array
  readonly identity: Signer
  /** For pay.db and the wallet's files; created with mode 0700. */
  readonly folder: string
  readonly failpoint?: Failpoint
}

export interface PayOptions {
  readonly chain: ChainOptions
  /** Most that all downloads of 24 hours may cost; undefined: only what the user allowed for a download. */
  readonly budgetWeiPerDay?: bigint | undefined
  readonly credit?: Partial<CreditLimits>
  /** Of the wallet's keystore, when the user chose one. */
  readonly passphrase?: string | undefined
  readonly background?: BackgroundOptions
}

/** What the wallet commands show. Amounts are wei as decimal strings. */
export interface PayView {
  readonly exists: boolean
  readonly address: string | undefined
  readonly chainId: number
  /** Host of the first RPC endpoint. */
  readonly rpc: string | undefined
  /** undefined when the chain cannot be asked; `problem` says why. */
  readonly balanceWei: string | undefined
  /** Delivered to us and in no transaction yet. */
  readonly owedWei: string
  readonly paidWei: string
  readonly earnedWei: string
  /** The part of `owedWei` that has an invoice and waits for the chain, for coin or for a person. */
  readonly queuedWei: string
  readonly problem: string | undefined
}

export interface PayReceiptView {
  readonly id: string
  readonly role: 'payer' | 'payee'
  readonly fileId: string
  readonly root: string
  /** Hex instance key of the other side. */
  readonly counterparty: string
  readonly from: string
  readonly to: string
  readonly bytes: number
  readonly pricePerMb: string
  readonly amountWei: string
  readonly protocols: readonly string[]
  readonly chunks: number
  readonly countersigned: boolean
  readonly state: 'open' | 'sent' | 'paid'
  readonly tx: string | undefined
  readonly time: number
}

interface Parts {
  readonly deps: PayDeps
  readonly options: PayOptions
  readonly chain: ChainConfig
  readonly rpc: JsonRpc
  readonly book: PayerBook
  readonly payeeBook: PayeeBook
  readonly cashier: Cashier
  readonly settler: Settler
  readonly payee: Payee
  readonly gate: PaymentGate
  readonly wallet: { current: Wallet | undefined }
}

export class Pay implements AsyncDisposable {
  readonly gate: PaymentGate
  readonly #parts: Parts
  readonly #stack: AsyncDisposableStack

  constructor(parts: Parts, stack: AsyncDisposableStack) {
    this.#parts = parts
    this.#stack = stack
    this.gate = parts.gate
  }

  /** Never throws for a chain that is away: `problem` says so. */
  async view(signal: AbortSignal = AbortSignal.timeout(15_000)): Promise<PayView> {
    const { wallet, rpc, chain, book, payeeBook } = this.#parts
    const address = wallet.current?.address
    const invoices = book.allInvoices()
    const sum = (of: typeof invoices): bigint => of.reduce((n, i) => n + BigInt(i.total), 0n)
    const queued = invoices.filter(i => i.tx === null || i.state === 'held')
    let balance: bigint | undefined
    let problem = queued.find(i => i.reason)?.reason ?? undefined
    if (address) {
      try {
        balance = await (await rpc.session(signal)).balance(address)
      } catch (error) {
        problem = textOf(error)
      }
    }
    const unbilled = book.billsWithDebt().reduce((n, bill) => n + book.unbilled(bill), 0n)
    return {
      exists: address !== undefined,
      address: address && formatAddress(address),
      chainId: chain.chainId,
      rpc: rpc.hosts[0],
      balanceWei: balance?.toString(),
      owedWei: (unbilled + sum(queued)).toString(),
      paidWei: sum(invoices.filter(i => i.state === 'confirmed')).toString(),
      earnedWei: payeeBook.earned().toString(),
      queuedWei: sum(queued).toString(),
      problem
    }
  }

  /** Makes the wallet of the recovery phrase; from now on the gate pays and takes payments. @throws WALLET_EXISTS, BAD_PHRASE */
  async createWallet(request: { readonly phrase: string; readonly passphrase?: string }): Promise<{ readonly address: string }> {
    const { deps, wallet } = this.#parts
    wallet.current = await createWallet(deps.folder, request.phrase, { passphrase: request.passphrase }, deps.random)
    return { address: formatAddress(wallet.current.address) }
  }

  /** Transfers coin; resolves when the transaction is durable and handed to the chain. @throws LOW_FUNDS, INVALID_ADDRESS, BAD_PRICE, PAYMENTS_OFF, RPC_ERROR */
  async send(to: string, wei: string, signal: AbortSignal = AbortSignal.timeout(60_000)): Promise<{ readonly tx: string }> {
    const { wallet, rpc, cashier } = this.#parts
    const target = parseAddress(to)
    if (!wallet.current) throw new KithError('PAYMENTS_OFF', 'this node has no wallet', {}, { hint: 'kith wallet create' })
    return { tx: await cashier.transfer(await rpc.session(signal), wallet.current, target, parseWei(wei)) }
  }

  receipts(): PayReceiptView[] {
    return this.#parts.book.receipts().map(viewReceipt)
  }

  receipt(id: string): PayReceiptView | undefined {
    const row = /^[0-9a-f]{32}$/i.test(id) ? this.#parts.book.receipt(hexToBytes(id)) : undefined
    return row && viewReceipt(row)
  }

  /**
   * A transfer proof that a third party can check alone.
   * @param chunkHashes all chunk hashes of the receipt's file, 32 bytes each
   * @throws UNKNOWN_RECEIPT, HASHES_MISMATCH, PROOF_TOO_LARGE
   */
  proof(receiptId: string, chunkHashes: Uint8Array): Record<string, unknown> {
    const { book } = this.#parts
    const row = /^[0-9a-f]{32}$/i.test(receiptId) ? book.receipt(hexToBytes(receiptId)) : undefined
    if (!row) throw new KithError('UNKNOWN_RECEIPT', 'there is no receipt with this id', {}, { hint: 'kith wallet receipts lists them' })
    const invoice = row.role === 'payer' && row.invoice ? book.invoice(row.invoice) : undefined
    const payment = invoice?.tx
      ? { tx: invoice.tx, invoiceId: invoice.id, salt: invoice.salt, receipts: sortHashes(book.receiptsOf(invoice.id).map(r => r.hash)) }
      : undefined
    return makeProof(
      { body: row.body, signature: row.signature, countersignature: row.countersignature ?? undefined, payment },
      chunkHashes
    )
  }

  /** One pass over payments that wait. The background does this by itself. @returns how many still wait */
  async retryQueued(signal: AbortSignal = AbortSignal.timeout(60_000)): Promise<number> {
    return await retry(this.#parts, signal)
  }

  /** Invoices and pays everything owed, also what waited for a person's decision. @returns one view per bill with debt */
  async settleAll(signal: AbortSignal = AbortSignal.timeout(120_000)): Promise<SettlementView[]> {
    const { book, settler } = this.#parts
    book.reopenHeld()
    const bills = new Set([
      ...book.billsWithDebt(),
      ...book
        .unfinished()
        .filter(i => i.state !== 'confirmed')
        .map(i => i.bill)
    ])
    const views: SettlementView[] = []
    for (const bill of bills) views.push(await settler.settle(bill, undefined, signal))
    return views
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

/** @throws STORE_CORRUPT, STORE_NEWER, BAD_KEYSTORE, KEY_FILE_MODE. A chain that is away is no reason not to open. */
export async function openPay(deps: PayDeps, options: PayOptions): Promise<Pay> {
  await using stack = new AsyncDisposableStack()
  const { clock, rpcHost, random, identity: signer } = deps
  const log = deps.log.child('pay')
  const failpoint = deps.failpoint ?? (() => {})
  const chain = chainConfig(options.chain)
  const db = stack.use(openLedger(deps.folder))
  const wallet = { current: openWallet(deps.folder, { passphrase: options.passphrase }) }
  const now = (): number => clock.now()
  const rpc = new JsonRpc({ log }, { urls: options.chain.rpcUrls, chainId: chain.chainId })
  const book = new PayerBook(db, now)
  stack.defer(() => book.settled())
  const credit = stack.use(new CreditBook(db, now, { ...creditDefaults, ...options.credit }))
  const payeeBook = new PayeeBook(db, credit, now)
  const cashier = new Cashier({ book, log, failpoint }, chain)
  const teller = new Teller({ book, rpcHost, clock, log, failpoint })
  const late: { wake: () => void } = { wake: () => {} }
  const onUnfinished = (): void => late.wake()
  const walletOf = (): Wallet | undefined => wallet.current
  const settler = stack.use(
    new Settler({ book, rpc, cashier, teller, signer, wallet: walletOf, clock, log, random, failpoint, onUnfinished }, chain)
  )
  const payee = stack.use(
    new Payee({ book: payeeBook, credit, rpc, rpcHost, signer, wallet: () => wallet.current?.address, clock, log, onUnfinished }, chain)
  )
  const gate = new Gate({ book, credit, settler, chain, wallet: walletOf, clock, log, budgetWeiPerDay: options.budgetWeiPerDay })
  const parts: Parts = { deps, options, chain, rpc, book, payeeBook, cashier, settler, payee, gate, wallet }
  const background = stack.use(new Background({ clock, log }, signal => retry(parts, signal), options.background))
  late.wake = () => background.wake()
  log.debug('payments are open', { wallet: wallet.current ? bytesToHex(wallet.current.address) : 'none', chain: chain.chainId })
  return new Pay(parts, stack.move())
}

async function retry({ settler, payee, deps }: Parts, signal: AbortSignal): Promise<number> {
  let left = await settler.retry(signal)
  try {
    left += await payee.recheck(signal)
  } catch (error) {
    signal.throwIfAborted()
    deps.log.debug('payments could not be rechecked', { code: codeOf(error) })
    left++
  }
  return left
}

function viewReceipt(row: ReceiptRow): PayReceiptView {
  const r = decode(receiptCodec, row.body)
  return {
    id: bytesToHex(row.id),
    role: row.role,
    fileId: bytesToHex(r.fileId),
    root: bytesToHex(r.root),
    counterparty: row.role === 'payer' ? row.seeder : row.payer,
    from: formatAddress(r.from),
    to: formatAddress(r.to),
    bytes: r.bytes,
    pricePerMb: r.pricePerMb.toString(),
    amountWei: r.amount.toString(),
    protocols: r.parts.map(p => p.protocol),
    chunks: r.parts.reduce((n, p) => n + countRanges(p.chunks), 0),
    countersigned: row.countersignature !== null,
    state: row.state === 'paid' ? 'paid' : row.tx ? 'sent' : 'open',
    tx: row.tx ?? undefined,
    time: row.time
  }
}
