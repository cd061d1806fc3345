/** The digests of one file, range by range: what each task of hash-plan.ts means. Reads with pread into one buffer. */
import { createHash, hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { KithError } from '../../base/errors.ts'
import { CHUNK_BYTES } from '../../wire/limits.ts'
import { AICH_BLOCK_BYTES, aichRoot, partLength, partTop } from './aich.ts'
import { CHUNK_HEIGHT, heightOf, rootOfLayer, treeTop, V2_BLOCK_BYTES, v2Blocks } from './bep52-tree.ts'
import { ChunkHasher } from './chunk-hasher.node.ts'
import { fileHashOf, makeHashSet, PART_BYTES } from './ed2k-hash.ts'
import { type HashOutput, type HashPlan, type HashTask, PARTS_TOGETHER, STEP_BYTES, topAt } from './hash-plan.ts'
import type { FastMd4 } from './md4-fast.ts'
import type { Md4Lanes } from './md4-lanes.ts'
import { merkleRoot } from './merkle.ts'

/** Fits a core's cache beside the code's own data, so that a second digest of the same bytes finds them there. */
const PIECES_BYTES = 2 * CHUNK_BYTES
/** Whole AICH blocks. */
const PARTS_BYTES = 5 * AICH_BLOCK_BYTES

export interface Md4s {
  readonly one: FastMd4
  /** Much faster, for four parts; undefined where there are no vectors. */
  readonly four: Md4Lanes | undefined
}

export interface RangeDeps {
  readonly fd: number
  readonly plan: HashPlan
  readonly output: HashOutput
  /** Told how far the SHA-256 of the whole has read. */
  readonly reached: (bytes: number) => void
  /** Told of each stretch of bytes that went through a digest. */
  readonly worked: (bytes: number) => void
}

export class RangeHasher {
  readonly #deps: RangeDeps
  readonly #buffer: Buffer<ArrayBuffer> = Buffer.alloc(STEP_BYTES)
  readonly #chunkHasher = new ChunkHasher()
  /** One AICH block of each of the parts that are hashed together. */
  #blocks: Buffer<ArrayBuffer>[] = []
  /** Another one: whether four together are faster depends on the length. */
  readonly #blockHasher = new ChunkHasher()

  constructor(deps: RangeDeps) {
    this.#deps = deps
  }

  /**
   * @param md4s needed for parts
   * @throws FILE_CHANGED when the file is shorter than it was; system errors of reading
   */
  run(task: HashTask, md4s?: Md4s): void {
    if (task.kind === 'whole') this.#whole()
    else if (task.kind === 'chunks') this.#chunks(task)
    else if (task.kind === 'pieces') this.#pieces(task)
    else if (md4s) this.#parts(task, md4s)
  }

  /** What follows from all ranges of a kind. */
  complete(what: 'core' | 'pieces' | 'parts'): void {
    const { plan, output } = this.#deps
    const set = (top: keyof typeof topAt, value: Uint8Array): void => output.tops.set(value, topAt[top][0])
    if (what === 'core') set('root', merkleRoot(plan.size, output.chunkHashes))
    if (what === 'pieces' && plan.v2) set('v2', rootOfLayer(output.v2Layer, Math.min(CHUNK_HEIGHT, heightOf(v2Blocks(plan.size)))))
    if (what === 'parts') {
      set('ed2k', fileHashOf(makeHashSet(plan.size, output.partHashes)))
      set('aich', aichRoot(plan.size, output.partTops))
    }
  }

  #whole(): void {
    const { plan, output, reached, worked } = this.#deps
    const whole = createHash('sha256')
    this.#read({ offset: 0, length: plan.size }, STEP_BYTES, (bytes, at) => {
      whole.update(bytes)
      worked(bytes.length)
      reached(at + bytes.length)
    })
    output.tops.set(whole.digest(), topAt.fileId[0])
  }

  #chunks(task: HashTask): void {
    const { output, worked } = this.#deps
    this.#read(task, STEP_BYTES, (bytes, at) => {
      const digests = this.#chunkHasher.hash('sha256', cut(bytes, CHUNK_BYTES))
      for (const [i, digest] of digests.entries()) output.chunkHashes.set(digest, (at / CHUNK_BYTES + i) * 32)
      worked(bytes.length)
    })
  }

  #pieces(task: HashTask): void {
    const { plan, output, worked } = this.#deps
    this.#read(task, PIECES_BYTES, (bytes, at) => {
      for (const [i, piece] of cut(bytes, CHUNK_BYTES).entries()) {
        const index = at / CHUNK_BYTES + i
        if (plan.sha1) output.pieces.set(hash('sha1', piece, 'buffer'), index * 20)
        if (plan.v2) output.v2Layer.set(this.#subtree(piece), index * 32)
      }
      worked(bytes.length * (Number(plan.sha1) + Number(plan.v2)))
    })
  }

  /** BEP 52's node over one chunk; of a file of one chunk it is the root. */
  #subtree(chunk: Uint8Array): Uint8Array {
    const leaves = Buffer.concat(this.#blockHasher.hash('sha256', cut(chunk, V2_BLOCK_BYTES)))
    return this.#deps.plan.size > CHUNK_BYTES ? treeTop(leaves, 0, CHUNK_HEIGHT) : treeTop(leaves)
  }

  #parts(task: HashTask, { one, four }: Md4s): void {
    const first = task.offset / PART_BYTES
    const count = Math.ceil(task.length / PART_BYTES)
    if (count === PARTS_TOGETHER && four) this.#partsTogether(first, four)
    else for (let part = first; part < first + count; part++) this.#part(part, one)
  }

  #part(part: number, md4: FastMd4): void {
    const { plan, worked } = this.#deps
    const aich: Uint8Array[] = []
    md4.begin()
    this.#read({ offset: part * PART_BYTES, length: partLength(plan.size, part) }, PARTS_BYTES, bytes => {
      md4.update(bytes)
      for (const block of cut(bytes, AICH_BLOCK_BYTES)) aich.push(hash('sha1', block, 'buffer'))
      worked(2 * bytes.length)
    })
    this.#keepPart(part, md4.digest(), aich)
  }

  /** Full parts side by side, block by block. */
  #partsTogether(first: number, lanes: Md4Lanes): void {
    if (this.#blocks.length === 0) this.#blocks = Array.from({ length: PARTS_TOGETHER }, () => Buffer.alloc(AICH_BLOCK_BYTES))
    const aich = this.#blocks.map((): Uint8Array[] => [])
    lanes.begin()
    for (let at = 0; at < PART_BYTES; at += AICH_BLOCK_BYTES) {
      const blocks = this.#blocks.map(b => b.subarray(0, Math.min(AICH_BLOCK_BYTES, PART_BYTES - at)))
      for (const [i, block] of blocks.entries()) {
        this.#fill(block, (first + i) * PART_BYTES + at)
        aich[i]!.push(hash('sha1', block, 'buffer'))
      }
      lanes.update(blocks)
      this.#deps.worked(2 * PARTS_TOGETHER * blocks[0]!.length)
    }
    for (const [i, digest] of lanes.digest().entries()) this.#keepPart(first + i, digest, aich[i]!)
  }

  #keepPart(part: number, md4: Uint8Array, aich: readonly Uint8Array[]): void {
    const { plan, output } = this.#deps
    output.partHashes.set(md4, part * 16)
    output.partTops.set(partTop(plan.size, part, Buffer.concat(aich)), part * 20)
  }

  #read(range: { readonly offset: number; readonly length: number }, step: number, take: (bytes: Buffer, at: number) => void): void {
    const end = range.offset + range.length
    for (let at = range.offset; at < end; at += step) {
      const bytes = this.#buffer.subarray(0, Math.min(step, end - at))
      this.#fill(bytes, at)
      take(bytes, at)
    }
  }

  #fill(bytes: Buffer, at: number): void {
    for (let n = 0; n < bytes.length; ) {
      const got = readSync(this.#deps.fd, bytes, n, bytes.length - n, at + n)
      if (got === 0) throw new KithError('FILE_CHANGED', 'the file became shorter')
      n += got
    }
  }
}

function cut(bytes: Buffer | Uint8Array, size: number): Uint8Array[] {
  const out: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) out.push(bytes.subarray(at, at + size))
  return out
}
