/** Money while a download runs: which offers are taken, and what is done about a seeder that wants to be paid before it goes on (DESIGN §7). */
import type { Clock } from '../../base/clock.ts'
import { KithError, textOf } from '../../base/errors.ts'
import { NO_SOURCE_MS, RETRY_MS, RETRY_PAYMENT_MS } from '../limits.ts'
import type { FetchedOffer } from '../offers.ts'
import type { Bill, SettlementView } from '../payment-gate.ts'
import type { Plan } from '../plan.node.ts'
import type { Source } from '../protocol.ts'
import { SettlePace } from '../settle-pace.ts'

export interface PayingDeps {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** What the user is told at the moment, and how that is changed. */
  shown(): string
  waiting(message: string): void
  fetching(message: string): void
  onSettled(result: SettlementView): void
}

/** What a payment needs of the attempt that runs. */
export interface Account {
  readonly plan: Plan
  readonly bill: Bill
}

export class Paying {
  readonly #deps: PayingDeps
  /** wei per MB, by seeder. */
  readonly #admitted = new Map<string, bigint>()
  readonly #pace = new SettlePace()
  #refusal: KithError | undefined

  constructor(deps: PayingDeps) {
    this.#deps = deps
  }

  /** Why the last seeder was left over money: what a download with nobody left ends with. */
  get refusal(): KithError | undefined {
    return this.#refusal
  }

  /** Asks the bill before anything is opened. @throws NO_ROOT, OVERCHARGE and what `Bill.admit` throws */
  admit({ plan, bill }: Account, offer: FetchedOffer): void {
    const { pricePerMb } = offer.offer
    if (pricePerMb !== 0n && !plan.rootIsTrusted) {
      throw new KithError(
        'NO_ROOT',
        'a bare file id cannot be paid for before the whole file is checked',
        {},
        { hint: 'use the full kith: link for paid seeders' }
      )
    }
    const known = this.#admitted.get(offer.seeder)
    if (known !== undefined && known < pricePerMb) throw new KithError('OVERCHARGE', 'it raised its price during the download')
    try {
      bill.admit(offer)
    } catch (error) {
      if (error instanceof KithError) this.#refusal = error
      throw error
    }
    this.#admitted.set(offer.seeder, pricePerMb)
  }

  /** A chunk of a paid seeder was verified. */
  delivered(bill: Bill, source: Source & { readonly seeder: string }, chunk: number, bytes: number): void {
    bill.delivered(source.seeder, source.protocol, chunk, bytes)
    this.#pace.delivered(source.seeder, bytes)
  }

  /** A seeder's credit is used up: pay what is owed to it and go on. @returns whether it is used on */
  async onUnpaid({ plan, bill }: Account, { seeder }: Source, error: KithError): Promise<boolean> {
    if (seeder === undefined || !plan.rootIsTrusted) return false
    const { clock, signal, waiting, onSettled } = this.#deps
    const asked = textOf(error.data['reason'] ?? error)
    const pace = this.#pace.decide(seeder, clock.monotonic())
    if (pace === 'leave') return this.#leave(`a seeder asks to be paid for too little: ${asked}`)
    if (pace === 'wait') {
      await clock.sleep(RETRY_MS, signal).catch(() => {})
      return !signal.aborted
    }
    const before = this.#deps.shown()
    waiting(`paying a seeder what is owed so far: ${textOf(error)}`)
    const result = await this.#settleSoFar(bill, seeder)
    if (signal.aborted) return false
    this.#deps.fetching(before)
    if (result.state === 'nothing-owed') return this.#leave(`a seeder is owed nothing and wants to be paid: ${asked}`)
    this.#pace.settled(seeder, clock.monotonic())
    onSettled(result)
    if (result.state === 'queued') return this.#leave(`a seeder could not be paid: ${result.reason ?? 'the chain is not reachable'}`)
    return true
  }

  #leave(why: string): false {
    this.#refusal = new KithError('PAYMENT_REQUIRED', why, {}, { hint: UNPAID_HINT })
    return false
  }

  /** A chain that is away, or a wallet that is being filled, is waited for as long as seeders are. */
  async #settleSoFar(bill: Bill, seeder: string): Promise<SettlementView> {
    const { clock, signal, waiting } = this.#deps
    const until = clock.monotonic() + NO_SOURCE_MS
    for (;;) {
      const result = await bill.settle(seeder, signal)
      if (result.state !== 'queued' || clock.monotonic() > until || signal.aborted) return result
      waiting(`a seeder waits for its payment: ${result.reason ?? 'the chain is not reachable'}`)
      await clock.sleep(RETRY_PAYMENT_MS, signal).catch(() => {})
    }
  }
}

const UNPAID_HINT = 'what arrived is kept: kith wallet show says what is in the way; then run the same command again'
