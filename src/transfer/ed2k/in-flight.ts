/** The ranges that one client was asked for and has not sent yet. Pure. */
import { concatBytes } from '../../base/bytes.ts'
import { wireError } from './bytes.ts'
import { ASKED_RANGES_KEPT, RANGES_PER_REQUEST } from './limits.ts'
import type { ByteRange, CompressedPiece, PartHead } from './parts.ts'
import { newPending, type OpenChunk, type Pending, type Run, type Stretch } from './wanted.ts'

export class InFlight {
  /** In the order in which they were asked for, which is that of the answers. */
  readonly #pending: Pending[] = []
  #new: ByteRange[] = []
  readonly #asked = new Set<string>()
  #mayRepeat = false

  /** A connection begins. `mayRepeat`: the client sends a range again that it has sent; aMule sends it only once. */
  begin(mayRepeat: boolean): void {
    this.clear()
    this.#mayRepeat = mayRepeat
  }
  get count(): number {
    return this.#pending.length
  }
  /** Bytes that are still to come. */
  get bytes(): number {
    return this.#pending.reduce((n, p) => n + p.end - p.at, 0)
  }

  /** Asks for a range; one that may not be repeated is cut in two. */
  add(stretches: readonly Stretch[]): void {
    const p = newPending([...stretches])
    for (let cut = this.#isTaken(p) ? p.start + Math.ceil((p.end - p.start) / 2) : p.end; cut < p.end; cut++) {
      if (this.#isTaken({ start: p.start, end: cut }) || this.#isTaken({ start: cut, end: p.end })) continue
      this.#put(newPending(between(stretches, p.start, cut)))
      this.#put(newPending(between(stretches, cut, p.end)))
      return
    }
    this.#put(p)
  }

  /** The next packet's worth of ranges that were added and not sent for. */
  takeNew(): ByteRange[] {
    return this.#new.splice(0, RANGES_PER_REQUEST)
  }

  /** A stretch that was asked for by a run that has ended, and has not begun to come, is taken over. */
  adopt(chunk: OpenChunk): boolean {
    for (const p of this.#pending) {
      const fits = (s: Stretch): boolean => s.start === chunk.asked && s.end <= chunk.end && p.at <= s.start && p.partEnd <= s.start
      const s = p.zlib ? undefined : p.stretches.find(x => !x.owner && fits(x))
      if (!s) continue
      s.owner = chunk
      chunk.asked = s.end
      return true
    }
    return false
  }

  /** The range that a packet belongs to. @throws ED2K_WIRE when it was not asked for, or is out of order */
  part({ start, end }: PartHead): Pending {
    const p = this.#pending.find(x => !x.zlib && x.at === start && end <= x.end)
    if (!p) throw wireError('data that was not asked for', { start, end })
    p.partEnd = end
    return p
  }

  /**
   * Takes a piece of a compressed range. @returns the range, and its zlib stream once that is whole
   * @throws ED2K_WIRE when it was not asked for, or claims to be longer than the range
   */
  compressed({ start, total, piece }: CompressedPiece): { readonly range: Pending; readonly whole: Uint8Array | undefined } {
    const p = this.#pending.find(x => x.start === start && (x.zlib !== undefined || x.at === start))
    if (!p || total > p.end - p.start || (p.zlibTotal !== undefined && p.zlibTotal !== total) || p.zlibBytes + piece.length > total)
      throw wireError('compressed data that was not asked for', { start, total })
    p.zlib ??= []
    p.zlib.push(piece)
    p.zlibTotal = total
    p.zlibBytes += piece.length
    if (p.zlibBytes < total) return { range: p, whole: undefined }
    this.remove(p)
    return { range: p, whole: concatBytes(...p.zlib) }
  }

  remove(p: Pending): void {
    this.#pending.splice(this.#pending.indexOf(p), 1)
  }

  /** These will not come (all, if none is named): their chunks ask for them again. @returns the runs that wanted them */
  giveBack(ranges: readonly ByteRange[]): Set<Run> {
    const runs = new Set<Run>()
    const isMeant = (p: Pending): boolean =>
      ranges.length === 0 || ranges.some(r => r.end === p.end && r.start >= p.start && r.start <= p.at)
    for (const p of this.#pending.filter(isMeant)) {
      this.remove(p)
      for (const { owner, start, end } of p.stretches) {
        if (!owner || end <= p.at) continue
        owner.again.push({ start: Math.max(start, p.at), end })
        runs.add(owner.run)
      }
    }
    return runs
  }

  /** A run has ended: what comes for it is thrown away. @returns its chunks */
  orphan(run: Run): Set<OpenChunk> {
    const chunks = new Set<OpenChunk>()
    for (const p of run.open.size > 0 ? this.#pending : []) {
      for (const s of p.stretches) {
        if (s.owner?.run !== run) continue
        chunks.add(s.owner)
        s.owner = undefined
      }
    }
    return chunks
  }

  clear(): void {
    this.#pending.length = 0
    this.#new = []
  }

  #isTaken(r: ByteRange): boolean {
    return this.#mayRepeat ? this.#pending.some(x => x.start === r.start && x.end === r.end) : this.#asked.has(keyOf(r))
  }

  #put(p: Pending): void {
    this.#pending.push(p)
    this.#new.push(p)
    if (this.#mayRepeat) return
    this.#asked.add(keyOf(p))
    if (this.#asked.size > ASKED_RANGES_KEPT) this.#asked.delete(this.#asked.keys().next().value!)
  }
}

const keyOf = (r: ByteRange): string => `${r.start}-${r.end}`
const between = (stretches: readonly Stretch[], from: number, to: number): Stretch[] =>
  stretches
    .filter(s => s.start < to && s.end > from)
    .map(s => ({ start: Math.max(s.start, from), end: Math.min(s.end, to), owner: s.owner }))
