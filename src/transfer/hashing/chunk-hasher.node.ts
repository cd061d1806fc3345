/**
 * Hashes chunks, several at a time when it can: four equal SHA-256 chunks go through sha256-lanes.ts where that is faster than OpenSSL.
 * Which is faster depends on the processor (SHA instructions or not), so it is measured on the work itself, not guessed.
 */
import { hash } from 'node:crypto'
import { equalBytes } from '../../base/bytes.ts'
import { Sha256Lanes } from './sha256-lanes.ts'

/** OpenSSL at more than 0.9 GB/s has SHA instructions: four lanes cannot reach it. */
const FAST_NS_PER_BYTE = 1.1
/** Groups after which the lanes must have been faster once. (The first ones run before the engine has optimised them.) */
const TRIAL_GROUPS = 256
/** Each so-manieth group goes to OpenSSL all the same: on a busy machine its first runs may have been slow. */
const RECHECK_GROUPS = 32
/** The first time soon. */
const RECHECK_FIRST = 4
const GROUP = 4

export interface ChunkHasherOptions {
  /** `always` and `never` are for tests and benchmarks. */
  readonly lanes?: 'measured' | 'always' | 'never'
}

export class ChunkHasher {
  readonly #choice: Required<ChunkHasherOptions>['lanes']
  #lanes: Sha256Lanes | undefined
  #state: 'unknown' | 'trial' | 'on' | 'off'
  #groups = 0
  #asked = 0
  /** Best ns per byte so far: a slow run says more about other work on the machine than about the method. */
  #single = Number.POSITIVE_INFINITY
  #grouped = Number.POSITIVE_INFINITY

  constructor(options: ChunkHasherOptions = {}) {
    this.#choice = options.lanes ?? 'measured'
    this.#state = this.#choice === 'never' ? 'off' : 'unknown'
  }

  /** Digests in the order of the chunks. Chunks may be in shared memory. */
  hash(algorithm: 'sha256' | 'sha1', chunks: readonly Uint8Array[]): Uint8Array[] {
    const out: Uint8Array[] = []
    let at = 0
    while (at < chunks.length) {
      const group = chunks.slice(at, at + GROUP)
      const together = algorithm === 'sha256' && isEven(group) && this.#mayGroup()
      if (together) out.push(...this.#together(group))
      else for (const chunk of group) out.push(this.#one(algorithm, chunk))
      at += group.length
    }
    return out
  }

  #mayGroup(): boolean {
    if (this.#state === 'unknown') {
      if (this.#choice !== 'always' && this.#single === Number.POSITIVE_INFINITY) return false // measure OpenSSL first
      this.#state = 'trial'
    }
    if (this.#state === 'off' || this.#choice === 'always') return this.#state !== 'off'
    if (this.#single < FAST_NS_PER_BYTE) this.#state = 'off'
    return this.#single >= FAST_NS_PER_BYTE && ++this.#asked % RECHECK_GROUPS !== RECHECK_FIRST
  }

  #one(algorithm: 'sha256' | 'sha1', chunk: Uint8Array): Uint8Array {
    if (algorithm === 'sha1' || this.#state === 'off') return hash(algorithm, chunk, 'buffer') // nothing to be measured
    const began = process.hrtime.bigint()
    const digest = hash(algorithm, chunk, 'buffer')
    this.#single = Math.min(this.#single, Number(process.hrtime.bigint() - began) / chunk.length)
    return digest
  }

  #together(group: readonly Uint8Array[]): Uint8Array[] {
    const began = process.hrtime.bigint()
    let digests: Uint8Array[]
    try {
      this.#lanes ??= new Sha256Lanes(copy)
      digests = this.#lanes.hash(group)
    } catch {
      this.#state = 'off' // no vectors here
      return group.map(chunk => this.#one('sha256', chunk))
    }
    this.#grouped = Math.min(this.#grouped, Number(process.hrtime.bigint() - began) / (GROUP * group[0]!.length))
    if (this.#state === 'trial') this.#judge(group, digests)
    return digests
  }

  /** On trial: the first group must agree with OpenSSL, and one of the next must be faster. */
  #judge(group: readonly Uint8Array[], digests: Uint8Array[]): void {
    if (this.#groups++ === 0) {
      const right = group.map(chunk => this.#one('sha256', chunk))
      if (!right.every((digest, i) => equalBytes(digest, digests[i]!))) {
        this.#state = 'off'
        digests.splice(0, digests.length, ...right)
        return
      }
    }
    if (this.#choice === 'always' || this.#grouped < 0.9 * this.#single) this.#state = 'on'
    else if (this.#groups >= TRIAL_GROUPS) this.#state = 'off'
  }
}

const isEven = (group: readonly Uint8Array[]): boolean =>
  group.length === GROUP && Sha256Lanes.takes(group[0]!.length) && group.every(c => c.length === group[0]!.length)

/** Three times as fast as `set` out of shared memory. */
function copy(target: Uint8Array, at: number, source: Uint8Array): void {
  Buffer.from(source.buffer, source.byteOffset, source.length).copy(target, at)
}
