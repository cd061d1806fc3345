/**
 * The questions Kith asks a chain, in types. A session belongs to one operation: its endpoint said the right chain id at the start,
 * and so does every other endpoint it falls back to.
 */
import { KithError } from '../../base/errors.ts'
import { MAX_CODE_BYTES, MAX_LOGS } from '../limits.ts'
import { readAddress, readArray, readCount, readData, readHash, readObject, readQuantity, toHex, toQuantity } from './quantity.ts'

/** One JSON-RPC call whose result `read` accepts: an endpoint whose answer it refuses is as bad as one that is away. @throws RPC_ERROR, RPC_REFUSED, WRONG_CHAIN */
export type RpcCall = <T>(method: string, params: readonly unknown[], read: (result: unknown) => T) => Promise<T>

export interface ChainLog {
  readonly address: Uint8Array
  readonly topics: readonly Uint8Array[]
  readonly data: Uint8Array
  readonly index: number
}

export interface ChainReceipt {
  readonly hash: string
  readonly ok: boolean
  readonly blockNumber: number
  readonly blockHash: string
  readonly gasUsed: bigint
  readonly logs: readonly ChainLog[]
}

export interface ChainTransaction {
  readonly from: Uint8Array
  /** undefined: creates a contract. */
  readonly to: Uint8Array | undefined
  readonly value: bigint
  readonly input: Uint8Array
}

/** What a transaction may cost per gas; `tip` is undefined on chains from before EIP-1559. */
export interface Fees {
  readonly maxPerGas: bigint
  readonly tip: bigint | undefined
}

export class ChainSession {
  readonly chainId: number
  readonly #call: RpcCall

  constructor(chainId: number, call: RpcCall) {
    this.chainId = chainId
    this.#call = call
  }

  blockNumber(): Promise<number> {
    return this.#call('eth_blockNumber', [], v => readCount(v, 'block number'))
  }
  /** Hash of the block at this height in the endpoint's best chain. */
  blockHash(height: number): Promise<string | undefined> {
    const read = (v: unknown): string | undefined => (v === null ? undefined : readHash(readObject(v, 'block')['hash'], 'block hash'))
    return this.#call('eth_getBlockByNumber', [toQuantity(height), false], read)
  }
  balance(address: Uint8Array): Promise<bigint> {
    return this.#call('eth_getBalance', [toHex(address), 'latest'], v => readQuantity(v, 'balance'))
  }
  /** Transactions of an account, counted at the head, with those in the pool, or at a height. */
  nonce(address: Uint8Array, at: 'latest' | 'pending' | number): Promise<number> {
    const tag = typeof at === 'number' ? toQuantity(at) : at
    return this.#call('eth_getTransactionCount', [toHex(address), tag], v => readCount(v, 'nonce'))
  }
  code(address: Uint8Array): Promise<Uint8Array> {
    return this.#call('eth_getCode', [toHex(address), 'latest'], v => readData(v, MAX_CODE_BYTES, 'code'))
  }
  /** Runs a read-only contract call at the head. */
  read(to: Uint8Array, input: Uint8Array): Promise<Uint8Array> {
    return this.#call('eth_call', [{ to: toHex(to), data: toHex(input) }, 'latest'], v => readData(v, 4096, 'call result'))
  }
  /** Fees with head room for a base fee that doubles: the signed bytes are never replaced by dearer ones. */
  async fees(): Promise<Fees> {
    const price = await this.#call('eth_gasPrice', [], v => readQuantity(v, 'gas price'))
    const base = await this.#call('eth_getBlockByNumber', ['latest', false], v => {
      const fee = readObject(v, 'block')['baseFeePerGas']
      return fee === undefined ? undefined : readQuantity(fee, 'base fee')
    })
    if (base === undefined) return { maxPerGas: price, tip: undefined }
    const tip = price > base ? price - base : 0n
    return { maxPerGas: 2n * base + tip, tip }
  }
  /** Hands over a signed transaction. That the endpoint knows it already is no error here: callers look it up by hash. */
  async send(raw: Uint8Array): Promise<void> {
    await this.#call('eth_sendRawTransaction', [toHex(raw)], v => readHash(v, 'transaction hash'))
  }
  transaction(hash: string): Promise<ChainTransaction | undefined> {
    return this.#call('eth_getTransactionByHash', [hash], v => (v === null ? undefined : readTransaction(v, hash)))
  }
  /** The receipt of a mined transaction; undefined while it is pending or unknown. */
  receipt(hash: string): Promise<ChainReceipt | undefined> {
    return this.#call('eth_getTransactionReceipt', [hash], v => (v === null ? undefined : readReceipt(v, hash)))
  }
}

const otherTransaction = (): KithError => new KithError('RPC_ERROR', 'the endpoint answered about another transaction')

function readTransaction(v: unknown, hash: string): ChainTransaction {
  const t = readObject(v, 'transaction')
  if (readHash(t['hash'], 'transaction hash') !== hash) throw otherTransaction()
  return {
    from: readAddress(t['from'], 'sender'),
    to: t['to'] === null || t['to'] === undefined ? undefined : readAddress(t['to'], 'recipient'),
    value: readQuantity(t['value'], 'value'),
    input: readData(t['input'], 128 * 1024, 'input')
  }
}

function readReceipt(v: unknown, hash: string): ChainReceipt | undefined {
  const r = readObject(v, 'receipt')
  if (r['blockNumber'] === null) return undefined // some nodes answer with a half-empty object while it is pending
  if (readHash(r['transactionHash'], 'transaction hash') !== hash) throw otherTransaction()
  return {
    hash,
    ok: readQuantity(r['status'], 'status') === 1n,
    blockNumber: readCount(r['blockNumber'], 'block number'),
    blockHash: readHash(r['blockHash'], 'block hash'),
    gasUsed: readQuantity(r['gasUsed'], 'gas'),
    logs: readArray(r['logs'], MAX_LOGS, 'logs').map(readLog)
  }
}

function readLog(v: unknown): ChainLog {
  const log = readObject(v, 'log')
  return {
    address: readAddress(log['address'], 'log address'),
    topics: readArray(log['topics'], 4, 'topics').map(t => readData(t, 32, 'topic')),
    data: readData(log['data'], 64 * 1024, 'log data'),
    index: readCount(log['logIndex'], 'log index')
  }
}
