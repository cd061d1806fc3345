/**
 * A JSON-RPC node that lies on command: a small chain of plain transfers with reorgs, a pool that forgets, and answers of every
 * broken kind (threats T9, PY4-PY6, PY12, C12, C13).
 */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { keccak_256 } from '@noble/hashes/sha3.js'
import { type Hex, parseTransaction, recoverTransactionAddress, type TransactionSerialized } from 'viem'
import { bytesToHex, hexToBytes } from '../../src/base/bytes.ts'
import { sha256 } from '../../src/platform/hash.node.ts'

interface Tx {
  readonly hash: string
  readonly from: string
  readonly to: string
  readonly nonce: number
  readonly value: bigint
  readonly input: string
  readonly raw: string
}
interface Block {
  readonly hash: string
  readonly txs: readonly Tx[]
}

/** How one answer is spoiled. `ok` writes the true one. */
export type Fault = (response: ServerResponse, ok: () => void, id: unknown) => void

const json = (res: ServerResponse, body: unknown): void => void res.setHeader('content-type', 'application/json').end(JSON.stringify(body))

/** Every broken kind of answer (threats PY12), by name. */
export const faults: Record<string, Fault> = {
  html: res => void res.setHeader('content-type', 'text/html').end('<html><body>502 Bad Gateway</body></html>'),
  status: res => void res.writeHead(503).end('{}'),
  huge: res => {
    res.on('error', () => {})
    const part = Buffer.alloc(1024 * 1024, 0x20)
    for (let i = 0; i < 100 && !res.destroyed; i++) res.write(part)
    res.end()
  },
  'wrong id': res => json(res, { jsonrpc: '2.0', id: 999_999, result: '0x1' }),
  batch: (res, _ok, id) => json(res, [{ jsonrpc: '2.0', id, result: '0x1' }]),
  'hex without 0x': (res, _ok, id) => json(res, { jsonrpc: '2.0', id, result: 'ff' }),
  '65 digits': (res, _ok, id) => json(res, { jsonrpc: '2.0', id, result: `0x${'f'.repeat(65)}` }),
  'leading zero': (res, _ok, id) => json(res, { jsonrpc: '2.0', id, result: '0x01' }),
  'a number': (res, _ok, id) => json(res, { jsonrpc: '2.0', id, result: 12 }),
  'no result': (res, _ok, id) => json(res, { jsonrpc: '2.0', id }),
  'no version': (res, _ok, id) => json(res, { id, result: '0x1' }),
  deep: res => void res.end('['.repeat(100_000)),
  truncated: res => void res.end('{"jsonrpc":"2.0","id":1,"resu'),
  'not UTF-8': res => void res.end(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
  gzip: res => void res.setHeader('content-encoding', 'gzip').end('{}'),
  redirect: res => void res.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  reset: res => void res.destroy(),
  error: (res, _ok, id) => json(res, { jsonrpc: '2.0', id, error: { code: -32000, message: 'no\u001b[31m\u0000' } }),
  hang: () => {}
}

export class FakeChain implements AsyncDisposable {
  chainId: number
  readonly url: string
  /** Asked before each answer: a fault, or undefined for the truth. */
  fault: (method: string) => Fault | undefined = () => undefined
  blocks: Block[] = [{ hash: `0x${'00'.repeat(32)}`, txs: [] }]
  pool: Tx[] = []
  balance: bigint = 10n ** 24n
  /** Hashes of mined transactions that were not carried out. */
  readonly failed: Set<string> = new Set()
  /** The method whose answers name another transaction. */
  namesOther: string = ''
  requests = 0
  #salt = 0
  readonly #server: Server

  constructor(server: Server, chainId: number) {
    this.#server = server
    this.chainId = chainId
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** Mines the pool (or nothing) into `count` blocks. */
  mine(count = 1, withPool = true): void {
    for (let i = 0; i < count; i++) {
      const txs: Tx[] = []
      if (withPool) {
        for (const tx of [...this.pool].sort((a, b) => a.nonce - b.nonce))
          if (tx.nonce === this.nonce(tx.from) + txs.filter(t => t.from === tx.from).length) txs.push(tx)
        this.pool = this.pool.filter(t => !txs.includes(t))
      }
      this.blocks.push({ hash: `0x${bytesToHex(sha256(new TextEncoder().encode(`${++this.#salt}`)))}`, txs })
    }
  }
  /** Replaces the last blocks by as many empty ones; their transactions return to the pool or are forgotten. */
  reorg(depth: number, keep: boolean): void {
    const gone = this.blocks.splice(Math.max(1, this.blocks.length - depth))
    if (keep) this.pool.push(...gone.flatMap(b => b.txs))
    this.mine(gone.length, false)
  }
  /** Another transaction of the same account takes a nonce. */
  mineForeign(from: string, nonce: number): void {
    this.pool = this.pool.filter(t => t.nonce !== nonce)
    const tx = {
      hash: `0x${bytesToHex(sha256(new TextEncoder().encode(`foreign ${++this.#salt}`)))}`,
      from,
      to: from,
      nonce,
      value: 0n,
      input: '0x',
      raw: ''
    }
    this.blocks.push({ hash: `0x${bytesToHex(sha256(new TextEncoder().encode(`${++this.#salt}`)))}`, txs: [tx] })
  }
  /** Transactions in the best chain. */
  get mined(): Tx[] {
    return this.blocks.flatMap(b => b.txs)
  }
  nonce(from: string, height: number = this.blocks.length - 1): number {
    return this.blocks
      .slice(0, height + 1)
      .flatMap(b => b.txs)
      .filter(t => t.from === from).length
  }

  async answer(method: string, params: readonly unknown[]): Promise<unknown> {
    const [a, b] = params as [string, string]
    const head = this.blocks.length - 1
    switch (method) {
      case 'eth_chainId':
        return q(this.chainId)
      case 'eth_blockNumber':
        return q(head)
      case 'eth_gasPrice':
        return q(1_000_000_000)
      case 'eth_getBalance':
        return q(this.balance)
      case 'eth_getCode':
        return '0x'
      case 'eth_getBlockByNumber': {
        const block = this.blocks[a === 'latest' ? head : Number(a)]
        return block ? { hash: block.hash } : null
      }
      case 'eth_getTransactionCount':
        if (b === 'pending') return q(this.nonce(a) + this.pool.filter(t => t.from === a).length)
        return q(this.nonce(a, b === 'latest' ? head : Number(b)))
      case 'eth_sendRawTransaction':
        return await this.#take(a as Hex)
      case 'eth_getTransactionByHash':
      case 'eth_getTransactionReceipt': {
        const number = this.blocks.findIndex(block => block.txs.some(t => t.hash === a))
        const tx = this.blocks[number]?.txs.find(t => t.hash === a)
        if (!tx) return null
        const named = this.namesOther === method ? `0x${'cd'.repeat(32)}` : a
        if (method === 'eth_getTransactionByHash') return { hash: named, from: tx.from, to: tx.to, value: q(tx.value), input: tx.input }
        return {
          transactionHash: named,
          status: this.failed.has(a) ? '0x0' : '0x1',
          blockNumber: q(number),
          blockHash: this.blocks[number]!.hash,
          gasUsed: q(21_512),
          logs: []
        }
      }
      default:
        throw new Error(`unexpected ${method}`)
    }
  }

  async #take(raw: Hex): Promise<string> {
    const serialized = raw as TransactionSerialized
    const t = parseTransaction(serialized)
    if (t.chainId !== this.chainId) throw new Error('signed for another chain')
    const from = (await recoverTransactionAddress({ serializedTransaction: serialized })).toLowerCase()
    const hash = `0x${bytesToHex(keccak_256(hexToBytes(raw.slice(2))))}`
    const nonce = t.nonce ?? 0
    if (this.mined.some(m => m.hash === hash) || this.pool.some(p => p.hash === hash)) throw new Error('already known')
    if (nonce < this.nonce(from)) throw new Error('nonce too low')
    this.pool.push({ hash, from, to: t.to ?? '', nonce, value: t.value ?? 0n, input: t.data ?? '0x', raw })
    return hash
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }
}

const q = (n: number | bigint): string => `0x${n.toString(16)}`

/** Listens on a free loopback port. */
export async function openFakeChain(chainId = 98765): Promise<FakeChain> {
  const server = createServer((req, res) => {
    let text = ''
    req.on('data', (b: Buffer) => (text += b.toString()))
    req.on('end', () => {
      const { id, method, params } = JSON.parse(text) as { id: number; method: string; params: unknown[] }
      chain.requests++
      const ok = (): void => {
        chain.answer(method, params).then(
          result => json(res, { jsonrpc: '2.0', id, result }),
          (error: Error) => json(res, { jsonrpc: '2.0', id, error: { code: -32000, message: error.message } })
        )
      }
      const fault = chain.fault(method)
      if (fault) fault(res, ok, id)
      else ok()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const chain = new FakeChain(server, chainId)
  return chain
}
