/**
 * Envelopes that passed through here lately, and what became of each: an envelope is forwarded once, and whoever brings it again is told the
 * same (threats RT11). Known by head and content, not by id alone, so that nobody can block another's envelope by using its id.
 */
import { sha256 } from '#hash'
import { bytesToHex, concatBytes } from '../base/bytes.ts'
import type { RelayAnswer } from '../wire/relay-answer.ts'
import { envelopeHeadBytes, type SealedEnvelope } from '../wire/sealed-envelope.ts'

export class SeenEnvelopes {
  readonly #max: number
  /** Oldest first. */
  readonly #answers = new Map<string, Promise<RelayAnswer> | RelayAnswer>()

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#answers.size
  }

  /** What became of it; a promise while that is being found out; undefined: new. */
  get(key: string): Promise<RelayAnswer> | RelayAnswer | undefined {
    return this.#answers.get(key)
  }

  /** Remembers what `work` answers; one that fails may be tried again. */
  run(key: string, work: () => Promise<RelayAnswer>): Promise<RelayAnswer> {
    const task = work()
    this.#put(key, task)
    task.then(
      answer => this.#answers.has(key) && this.#answers.set(key, answer),
      () => this.#answers.delete(key)
    )
    return task
  }

  #put(key: string, task: Promise<RelayAnswer>): void {
    this.#answers.set(key, task)
    for (const [old, answer] of this.#answers) {
      if (this.#answers.size <= this.#max) return
      // What is under way is bounded elsewhere.
      if (!(answer instanceof Promise)) this.#answers.delete(old)
    }
  }
}

/** What tells one envelope from another, whoever carried it. */
export const envelopeKey = async (envelope: SealedEnvelope): Promise<string> =>
  bytesToHex(await sha256(concatBytes(envelopeHeadBytes(envelope), envelope.sealed)))
