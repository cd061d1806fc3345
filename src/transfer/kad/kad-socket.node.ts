/** One UDP socket of Kad: our questions with their answers, and the questions of others. There are no numbers on them: an answer is known by its sender, kind and target. */
import { createSocket, type Socket } from 'node:dgram'
import { bytesToHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { inflateExactly } from '../ed2k/unpack.node.ts'
import { addressKey } from '../mainline/table.ts'
import {
  ALL_DATAGRAMS_BURST,
  ALL_DATAGRAMS_PER_SECOND,
  ANSWER_MS,
  DATAGRAMS_BURST,
  DATAGRAMS_PER_SECOND,
  MAX_DATAGRAM_BYTES,
  MAX_INFLATED_BYTES,
  MAX_QUESTIONS
} from './limits.ts'
import { decodeKad, encodeKad, type KadKind, type KadMessage, kindOf, PACKED, PLAIN } from './messages.ts'
import { AskedRates, AskingPace, type FindPurpose, QUESTIONS, type QuestionKind, Rates } from './pace.ts'

export interface Address {
  readonly host: string
  readonly port: number
}
export type Question = Extract<KadMessage, { kind: QuestionKind }>

/** Kind of the answer to each question. */
interface Answers extends Record<QuestionKind, KadKind> {
  readonly first: 'firstAnswer'
  readonly hello: 'helloAnswer'
  readonly find: 'found'
  readonly search: 'results'
  readonly publish: 'published'
  readonly check: 'yourAddress'
  readonly ping: 'pong'
}
const ANSWERS: Answers = {
  first: 'firstAnswer',
  hello: 'helloAnswer',
  find: 'found',
  search: 'results',
  publish: 'published',
  check: 'yourAddress',
  ping: 'pong'
}
export type AnswerTo<Q extends QuestionKind> = Extract<KadMessage, { kind: Answers[Q] }>

export interface KadSocketDeps {
  readonly clock: Clock
  readonly log: Logger
  /** A question that is within the rates, or a notice (helloHeard, reached). */
  onQuestion(message: KadMessage, from: Address): void
  /** Somebody answered what we asked: it is where it says. */
  onAnswer(from: Address, message: KadMessage): void
}

interface Waiting {
  readonly done: PromiseWithResolvers<KadMessage>
  /** Every datagram of the answer. */
  readonly each: ((message: KadMessage) => void)[]
}

export class KadSocket implements AsyncDisposable {
  readonly #deps: KadSocketDeps
  readonly #socket: Socket
  readonly #stop = new AbortController()
  readonly #waiting = new Map<string, Waiting>()
  readonly #datagrams: Rates
  readonly #allDatagrams: TokenBucket
  readonly #asked: AskedRates
  readonly #pace: AskingPace

  private constructor(deps: KadSocketDeps, socket: Socket) {
    const { clock } = deps
    this.#deps = deps
    this.#socket = socket
    this.#datagrams = new Rates(clock, DATAGRAMS_PER_SECOND, DATAGRAMS_BURST)
    this.#allDatagrams = new TokenBucket(clock, ALL_DATAGRAMS_PER_SECOND, ALL_DATAGRAMS_BURST)
    this.#asked = new AskedRates(clock)
    this.#pace = new AskingPace(clock)
    socket.on('error', error => deps.log.debug('the Kad socket failed', { error }))
    socket.on('message', (bytes, from) => this.#receive(bytes, { host: from.address, port: from.port }))
  }

  /** @throws PORT_UNAVAILABLE */
  static async open(deps: KadSocketDeps, host: string, port: number): Promise<KadSocket> {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve, reject) => {
      socket.once('error', cause => {
        socket.close()
        reject(new KithError('PORT_UNAVAILABLE', `cannot use UDP port ${port}`, { port }, { cause, hint: 'choose another port, or 0' }))
      })
      socket.bind(port, host, resolve)
    })
    socket.removeAllListeners('error')
    return new KadSocket(deps, socket)
  }

  get port(): number {
    return this.#socket.address().port
  }

  /**
   * Asks when the pace allows, and waits for the (first) answer.
   * @param each gets every datagram of the answer, for as long as others may come
   * @throws KAD_NO_ANSWER
   */
  async ask<Q extends Question>(
    to: Address,
    question: Q,
    signal: AbortSignal,
    { purpose = 'looking', each }: { readonly purpose?: FindPurpose; readonly each?: (answer: AnswerTo<Q['kind']>) => void } = {}
  ): Promise<AnswerTo<Q['kind']>> {
    const all = AbortSignal.any([signal, this.#stop.signal])
    await this.#pace.take(question.kind, addressKey(to), purpose, all).catch(() => {
      throw noAnswer('asking was given up')
    })
    const key = keyOf(to, ANSWERS[question.kind], 'target' in question ? question.target : undefined)
    const before = this.#waiting.get(key)
    if (this.#waiting.size >= MAX_QUESTIONS && !before) throw noAnswer('too many questions are under way')
    const mine: Waiting = before ?? { done: Promise.withResolvers<KadMessage>(), each: [] }
    if (each) mine.each.push(each as (message: KadMessage) => void)
    this.#waiting.set(key, mine)
    mine.done.promise.catch(() => {})
    const over = new AbortController()
    const slept = this.#deps.clock.sleep(ANSWER_MS, AbortSignal.any([all, over.signal])).catch(() => {})
    try {
      this.send(question, to)
      const answer = await Promise.race([mine.done.promise, slept.then(() => Promise.reject(noAnswer('a node of Kad did not answer')))])
      if (each) await slept // more may come
      return answer as AnswerTo<Q['kind']>
    } finally {
      over.abort()
      if (this.#waiting.get(key) === mine) this.#waiting.delete(key)
    }
  }

  /** Sends a datagram, or does not: as the network does. */
  send(message: KadMessage, { host, port }: Address): void {
    if (!this.#stop.signal.aborted) this.#socket.send(encodeKad(message), port, host, () => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    await new Promise<void>(resolve => this.#socket.close(resolve))
  }

  #receive(bytes: Uint8Array, from: Address): void {
    const kind = bytes.length >= 2 && bytes.length <= MAX_DATAGRAM_BYTES ? kindOf(bytes[1]!) : undefined
    if (kind === undefined || from.port === 0 || this.#stop.signal.aborted || (bytes[0] !== PLAIN && bytes[0] !== PACKED)) return
    // Answers to us are few; everything else costs the sender before it costs us.
    if (!this.#awaits(from, kind) && !(this.#datagrams.of(addressKey(from)).tryTake() && this.#allDatagrams.tryTake())) return
    try {
      const payload = bytes[0] === PACKED ? inflateExactly(bytes.subarray(2), MAX_INFLATED_BYTES) : bytes.subarray(2)
      this.#take(decodeKad(kind, payload), from)
    } catch (error) {
      this.#deps.log.debug('a datagram was no message of Kad', { host: from.host, error }) // whoever it was, there is nothing to say
    }
  }

  #awaits(from: Address, kind: KadKind): boolean {
    const start = keyOf(from, kind, undefined)
    for (const key of this.#waiting.keys()) if (key.startsWith(start)) return true
    return false
  }

  #take(message: KadMessage, from: Address): void {
    const { kind } = message
    if (kind in QUESTIONS) {
      if (this.#asked.tryTake(kind as QuestionKind, addressKey(from))) this.#deps.onQuestion(message, from)
      return
    }
    if (kind === 'helloHeard' || kind === 'reached') {
      this.#deps.onQuestion(message, from)
      return
    }
    // What nobody asked for is dropped (threats ED6).
    const waiting = this.#waiting.get(keyOf(from, kind, 'target' in message ? message.target : undefined))
    if (!waiting) return
    this.#deps.onAnswer(from, message)
    for (const each of waiting.each) each(message)
    waiting.done.resolve(message)
  }
}

const keyOf = ({ host, port }: Address, kind: KadKind, target: Uint8Array | undefined): string =>
  `${host}:${port} ${kind} ${target ? bytesToHex(target) : ''}`

const noAnswer = (why: string): KithError => new KithError('KAD_NO_ANSWER', why)
