/** One UDP socket of BitTorrent's DHT: our questions with their answers, and the questions of others. */
import { createSocket, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { randomBytes } from '#crypto'
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import type { PeerAddress } from '../bittorrent/urls.ts'
import { RateByAddress } from './guards.ts'
import { type Answer, decodeKrpc, encodeKrpc, type KrpcMessage, type Question } from './krpc.ts'
import {
  ALL_QUERIES_BURST,
  ALL_QUERIES_PER_SECOND,
  ANSWER_MS,
  MAX_DATAGRAM_BYTES,
  MAX_TRANSACTIONS,
  QUERIES_BURST,
  QUERIES_PER_SECOND
} from './limits.ts'

export type Asked = Extract<KrpcMessage, { kind: 'question' | 'refused' }>
export interface Answered {
  readonly id: Uint8Array
  readonly answer: Answer
  /** Our address as the other node sees it. */
  readonly seenAs: PeerAddress | undefined
}

export interface KrpcSocketDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly ownId: () => Uint8Array
  /** Says in each question that we answer none (BEP 43). */
  readonly readOnly: boolean
  /** A question that is within the rates. */
  onQuestion(message: Asked, from: PeerAddress, bytes: number): void
  /** A node has answered: it is where it says. */
  onAnswer(from: PeerAddress, answered: Answered): void
}

interface Transaction {
  readonly to: PeerAddress
  readonly done: PromiseWithResolvers<Answered>
}

export class KrpcSocket implements AsyncDisposable {
  readonly #deps: KrpcSocketDeps
  readonly #socket: Socket
  readonly #stop = new AbortController()
  readonly #transactions = new Map<string, Transaction>()
  readonly #rates: RateByAddress
  readonly #allQuestions: TokenBucket

  private constructor(deps: KrpcSocketDeps, socket: Socket) {
    this.#deps = deps
    this.#socket = socket
    this.#rates = new RateByAddress(deps.clock, QUERIES_PER_SECOND, QUERIES_BURST)
    this.#allQuestions = new TokenBucket(deps.clock, ALL_QUERIES_PER_SECOND, ALL_QUERIES_BURST)
    socket.on('error', error => deps.log.debug('the DHT socket failed', { error }))
    socket.on('message', (bytes, from) => this.#receive(bytes, { host: from.address.replace(/^::ffff:/, ''), port: from.port }))
  }

  /** @throws PORT_UNAVAILABLE */
  static async open(deps: KrpcSocketDeps, host: string, port: number): Promise<KrpcSocket> {
    const v6 = isIPv6(host)
    const socket = createSocket({ type: v6 ? 'udp6' : 'udp4', ipv6Only: v6 })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', cause => {
        socket.close()
        reject(new KithError('PORT_UNAVAILABLE', `cannot use UDP port ${port}`, { port }, { cause, hint: 'choose another port, or 0' }))
      })
      socket.bind(port, host, resolve)
    })
    socket.removeAllListeners('error')
    return new KrpcSocket(deps, socket)
  }

  get port(): number {
    return this.#socket.address().port
  }

  /** @throws DHT_NO_ANSWER, DHT_REFUSED */
  async ask(to: PeerAddress, question: Question, signal: AbortSignal = this.#stop.signal): Promise<Answered> {
    if (this.#transactions.size >= MAX_TRANSACTIONS || this.#stop.signal.aborted) throw noAnswer('too many questions are under way')
    const transaction = randomBytes(4)
    const key = bytesToHex(transaction)
    const done = Promise.withResolvers<Answered>()
    done.promise.catch(() => {})
    this.#transactions.set(key, { to, done })
    const over = new AbortController()
    const wait = this.#deps.clock.sleep(ANSWER_MS, AbortSignal.any([signal, this.#stop.signal, over.signal]))
    wait.then(
      () => done.reject(noAnswer('a node did not answer')),
      () => done.reject(noAnswer('asking was given up'))
    )
    try {
      const { readOnly, ownId } = this.#deps
      this.send(encodeKrpc({ transaction, kind: 'question', id: ownId(), readOnly, question }), to)
      return await done.promise
    } finally {
      over.abort()
      this.#transactions.delete(key)
    }
  }

  /** Sends a datagram, or does not: as the network does. */
  send(bytes: Uint8Array, { host, port }: PeerAddress): void {
    if (!this.#stop.signal.aborted) this.#socket.send(bytes, port, host, () => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    await new Promise<void>(resolve => this.#socket.close(resolve))
  }

  #receive(bytes: Uint8Array, from: PeerAddress): void {
    if (bytes.length > MAX_DATAGRAM_BYTES || from.port === 0 || this.#stop.signal.aborted) return
    // Answers to us are few; everything else costs the sender before it costs us.
    if (!this.#awaits(from) && !(this.#rates.tryTake(from.host) && this.#allQuestions.tryTake())) return
    let message: KrpcMessage
    try {
      message = decodeKrpc(bytes)
    } catch {
      return // BAD_KRPC: whoever it was, there is nothing to say
    }
    if (message.kind === 'question' || message.kind === 'refused') {
      if (!this.#deps.readOnly) this.#deps.onQuestion(message, from, bytes.length)
    } else this.#settle(message, from)
  }

  #awaits(from: PeerAddress): boolean {
    for (const { to } of this.#transactions.values()) if (to.host === from.host && to.port === from.port) return true
    return false
  }

  /** An answer counts only from where the question went, with its transaction (threats BT8). */
  #settle(message: Extract<KrpcMessage, { kind: 'answer' | 'error' }>, from: PeerAddress): void {
    const transaction = this.#transactions.get(bytesToHex(message.transaction))
    if (!transaction || transaction.to.host !== from.host || transaction.to.port !== from.port) return
    if (message.kind === 'error') {
      transaction.done.reject(new KithError('DHT_REFUSED', `a node refused: ${message.why}`, { code: message.code }))
      return
    }
    if (equalBytes(message.id, this.#deps.ownId())) {
      transaction.done.reject(noAnswer('we asked ourselves'))
      return
    }
    const { id, answer, seenAs } = message
    this.#deps.onAnswer(from, { id, answer, seenAs })
    transaction.done.resolve({ id, answer, seenAs })
  }
}

const noAnswer = (why: string): KithError => new KithError('DHT_NO_ANSWER', why)
