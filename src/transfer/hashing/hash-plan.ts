/**
 * How the hashing of one file is divided between workers. The SHA-256 of the whole is one long task, `whole`; everything else is cut into
 * ranges that any worker may take:
 *
 * | kind     | range                     | digests                                           |
 * | -------- | ------------------------- | ------------------------------------------------- |
 * | `chunks` | 4 MiB                     | SHA-256 of each 256 KiB chunk                     |
 * | `pieces` | 4 MiB                     | SHA-1 of each 256 KiB piece, BEP 52 subtree of it |
 * | `parts`  | four ed2k parts; the last | MD4, AICH blocks and their top                    |
 * |          | ones by themselves        |                                                   |
 *
 * `whole` and `chunks` come first. No range is taken before `whole` has read that far: so the disk is read once, in order, and the
 * ranges come out of the page cache; and when the disk is slower than hashing, a worker that has caught up goes on with the
 * other digests meanwhile. The workers divide the work by counters in shared memory; nobody hands it out.
 */
import { CHUNK_BYTES } from '../../wire/limits.ts'
import type { DigestWants } from '../digests.ts'
import { dataParts, PART_BYTES } from './ed2k-hash.ts'

/** What is to be made. */
export interface HashPlan extends DigestWants {
  readonly size: number
  /** SHA-256 of the whole and of the chunks. */
  readonly core: boolean
}

export type RangeKind = 'chunks' | 'pieces' | 'parts'

export interface HashTask {
  readonly kind: 'whole' | RangeKind
  /** Counted for each kind. */
  readonly unit: number
  readonly offset: number
  readonly length: number
}

const UNIT_BYTES = 4 * 1024 * 1024
/** How often `whole` tells how far it is. */
export const STEP_BYTES: number = 1024 * 1024

/** Full ed2k parts that are hashed together (md4-lanes.ts). */
export const PARTS_TOGETHER = 4

/** Digests that each byte goes through in ranges of this kind. */
export const digestsIn = (plan: HashPlan, kind: HashTask['kind']): number =>
  kind === 'pieces' ? Number(plan.sha1) + Number(plan.v2) : kind === 'parts' ? 2 * Number(plan.ed2k) : Number(plan.core)

const unitsOf = (plan: HashPlan, kind: RangeKind): number => {
  if (digestsIn(plan, kind) === 0) return 0
  return kind === 'parts' ? groupsOf(plan) + dataParts(plan.size) - PARTS_TOGETHER * groupsOf(plan) : Math.ceil(plan.size / UNIT_BYTES)
}

const groupsOf = (plan: HashPlan): number => Math.floor(plan.size / (PARTS_TOGETHER * PART_BYTES))

function rangeOf(plan: HashPlan, kind: RangeKind, unit: number): HashTask {
  const alone = unit - groupsOf(plan)
  const full = kind !== 'parts' ? UNIT_BYTES : alone < 0 ? PARTS_TOGETHER * PART_BYTES : PART_BYTES
  const offset = kind !== 'parts' || alone < 0 ? unit * full : (groupsOf(plan) * PARTS_TOGETHER + alone) * PART_BYTES
  return { kind, unit, offset, length: Math.min(full, plan.size - offset) }
}

/** Bytes that go through digests in all. */
export const workOf = (plan: HashPlan): number =>
  (['whole', 'chunks', 'pieces', 'parts'] as const).reduce((n, kind) => n + plan.size * digestsIn(plan, kind), 0)

/** Where the workers write what they make. Each digest is written by one worker only. */
export interface HashOutput {
  readonly counters: Int32Array<SharedArrayBuffer>
  /** SHA-256 of the whole, root, BEP 52 root: 32 bytes each; ed2k hash: 16; AICH root: 20. */
  readonly tops: Uint8Array<SharedArrayBuffer>
  readonly chunkHashes: Uint8Array<SharedArrayBuffer>
  readonly pieces: Uint8Array<SharedArrayBuffer>
  readonly v2Layer: Uint8Array<SharedArrayBuffer>
  readonly partHashes: Uint8Array<SharedArrayBuffer>
  readonly partTops: Uint8Array<SharedArrayBuffer>
}

/** Where each top stands in `tops`. */
export const topAt = { fileId: [0, 32], root: [32, 64], v2: [64, 96], ed2k: [96, 112], aich: [112, 132] } as const

const WHOLE_TAKEN = 0
/** Steps that `whole` has read. */
const WHOLE_AT = 1
const CORE_LEFT = 2
const NEXT = { chunks: 3, pieces: 5, parts: 7 } as const
const LEFT = { pieces: 6, parts: 8 } as const
const COUNTERS = 9
const EVERYTHING = 2 ** 31 - 1

/** Memory for the results, and the counters at their start. */
export function makeOutput(plan: HashPlan): HashOutput {
  const bytes = (n: number): Uint8Array<SharedArrayBuffer> => new Uint8Array(new SharedArrayBuffer(n))
  const [chunks, parts] = [Math.ceil(plan.size / CHUNK_BYTES), dataParts(plan.size)]
  const counters = new Int32Array(new SharedArrayBuffer(4 * COUNTERS))
  counters[WHOLE_AT] = plan.core ? 0 : EVERYTHING
  counters[CORE_LEFT] = 1 + unitsOf(plan, 'chunks')
  counters[LEFT.pieces] = unitsOf(plan, 'pieces')
  counters[LEFT.parts] = unitsOf(plan, 'parts')
  return {
    counters,
    tops: bytes(topAt.aich[1]),
    chunkHashes: bytes(plan.core ? 32 * chunks : 0),
    pieces: bytes(plan.sha1 ? 20 * chunks : 0),
    v2Layer: bytes(plan.v2 ? 32 * chunks : 0),
    partHashes: bytes(plan.ed2k ? 16 * parts : 0),
    partTops: bytes(plan.ed2k ? 20 * parts : 0)
  }
}

/** A worker's view of the work that is left. */
export class HashQueue {
  readonly #plan: HashPlan
  readonly #counters: Int32Array<SharedArrayBuffer>

  constructor(plan: HashPlan, counters: Int32Array<SharedArrayBuffer>) {
    this.#plan = plan
    this.#counters = counters
  }

  /** The next task for this worker; waits while nothing can be begun yet. undefined: everything is taken. */
  take(): HashTask | undefined {
    if (this.#plan.core && Atomics.compareExchange(this.#counters, WHOLE_TAKEN, 0, 1) === 0) {
      return { kind: 'whole', unit: 0, offset: 0, length: this.#plan.size }
    }
    for (;;) {
      const steps = Atomics.load(this.#counters, WHOLE_AT)
      const open = this.#open()
      if (open.length === 0) return undefined
      const ready = open.find(task => steps === EVERYTHING || task.offset + task.length <= steps * STEP_BYTES)
      if (!ready) Atomics.wait(this.#counters, WHOLE_AT, steps)
      else if (this.#claim(ready)) return ready
    }
  }

  /** `whole` has read so many bytes. */
  reached(bytes: number): void {
    Atomics.store(this.#counters, WHOLE_AT, bytes >= this.#plan.size ? EVERYTHING : Math.floor(bytes / STEP_BYTES))
    Atomics.notify(this.#counters, WHOLE_AT)
  }

  /** Says that a task is done. @returns what is complete by that: all of SHA-256, all pieces, all parts */
  finished(task: HashTask): 'core' | 'pieces' | 'parts' | undefined {
    const counter = task.kind === 'pieces' || task.kind === 'parts' ? LEFT[task.kind] : CORE_LEFT
    if (Atomics.sub(this.#counters, counter, 1) !== 1) return undefined
    return counter === CORE_LEFT ? 'core' : (task.kind as 'pieces' | 'parts')
  }

  /** The next range of each kind: chunks first, then what is nearest to the start of the file. */
  #open(): HashTask[] {
    const next = (['chunks', 'pieces', 'parts'] as const).flatMap(kind => {
      const unit = Atomics.load(this.#counters, NEXT[kind])
      return unit < unitsOf(this.#plan, kind) ? [rangeOf(this.#plan, kind, unit)] : []
    })
    return next.sort((a, b) => Number(b.kind === 'chunks') - Number(a.kind === 'chunks') || a.offset - b.offset)
  }

  #claim({ kind, unit }: HashTask): boolean {
    return kind !== 'whole' && Atomics.compareExchange(this.#counters, NEXT[kind], unit, unit + 1) === unit
  }
}
