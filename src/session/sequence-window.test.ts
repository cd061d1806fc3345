import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { codeOf } from '../base/errors.ts'
import { AckRanges } from './ack-ranges.ts'
import { MAX_ACK_RANGES, MAX_REORDERED_BYTES, MAX_REORDERED_MESSAGES, MAX_SEQUENCE_GAP } from './limits.ts'
import { SequenceWindow } from './sequence-window.ts'

const code = (run: () => unknown): string => {
  try {
    run()
    return 'accepted'
  } catch (error) {
    return codeOf(error)
  }
}

/** The window as simply as it can be said: a set of what came, and how much of it was delivered. */
class Model {
  readonly came = new Map<number, number>()
  delivered = 0

  accept(n: number, bytes: number): { readonly code: string; readonly out: number[] } {
    const early = [...this.came].filter(([k]) => k > this.delivered)
    const next = this.delivered + 1
    const refuse = (code: string): { code: string; out: number[] } => ({ code, out: [] })
    if (n <= this.delivered || this.came.has(n)) return refuse('REPLAY_DETECTED')
    if (n - next > MAX_SEQUENCE_GAP) return refuse('SEQUENCE_ERROR')
    const isFull = early.length >= MAX_REORDERED_MESSAGES || early.reduce((sum, [, b]) => sum + b, bytes) > MAX_REORDERED_BYTES
    if (n > next && isFull) return refuse('SEQUENCE_ERROR')
    this.came.set(n, bytes)
    const out: number[] = []
    while (this.came.has(this.delivered + 1)) out.push(++this.delivered)
    return { code: 'accepted', out }
  }
}

test('whatever comes in whatever order, the window delivers as the model does (threats SM24)', () => {
  const near = fc.record({ ahead: fc.integer({ min: -3, max: 12 }), bytes: fc.constantFrom(1, 1000, 300_000) })
  const far = fc.record({ ahead: fc.integer({ min: -10, max: 2010 }), bytes: fc.constantFrom(1, 1000) })
  fc.assert(
    fc.property(fc.array(fc.oneof({ weight: 4, arbitrary: near }, far), { maxLength: 120 }), steps => {
      const [window, model] = [new SequenceWindow<number>(), new Model()]
      for (const { ahead, bytes } of steps) {
        const n = Math.max(0, window.next + ahead)
        const wanted = model.accept(n, bytes)
        assert.equal(
          code(() => window.check(n, bytes)),
          wanted.code
        )
        let out: number[] = []
        assert.equal(
          code(() => (out = window.accept(n, n, bytes))),
          wanted.code
        )
        assert.deepEqual(out, wanted.out)
        assert.equal(window.next, model.delivered + 1)
        assert.ok(window.waiting <= MAX_REORDERED_MESSAGES)
      }
    }),
    { numRuns: 300 }
  )
})

test('a gap of a thousand is waited for, 256 messages and 1 MiB at most; a gap above 2000 is refused (threats SM24)', () => {
  const window = new SequenceWindow<number>()
  assert.deepEqual(window.accept(1, 1, 1), [1])
  assert.deepEqual(window.accept(1002, 1002, 1), [])
  for (let n = 3; n <= MAX_REORDERED_MESSAGES + 1; n++) window.accept(n, n, 1)
  assert.equal(window.waiting, MAX_REORDERED_MESSAGES)
  assert.equal(
    code(() => window.accept(900, 900, 1)),
    'SEQUENCE_ERROR'
  )
  assert.equal(
    code(() => window.accept(2 + MAX_SEQUENCE_GAP + 1, 0, 1)),
    'SEQUENCE_ERROR'
  )
  assert.equal(
    code(() => window.accept(2 ** 53 - 2, 0, 1)),
    'SEQUENCE_ERROR'
  )
  assert.equal(
    code(() => window.accept(1, 1, 1)),
    'REPLAY_DETECTED'
  )
  assert.equal(
    code(() => window.accept(1002, 1, 1)),
    'REPLAY_DETECTED'
  )
  assert.deepEqual(window.missing(), [
    [2, 2],
    [MAX_REORDERED_MESSAGES + 2, 1001]
  ])
  assert.equal(window.accept(2, 2, 1).length, MAX_REORDERED_MESSAGES)
  const large = new SequenceWindow<number>()
  large.accept(2, 2, MAX_REORDERED_BYTES)
  assert.equal(
    code(() => large.accept(3, 3, 1)),
    'SEQUENCE_ERROR'
  )
  assert.deepEqual(large.accept(1, 1, 1), [1, 2])
})

test('a gap that is given up lets go of what waited, and what was missing is refused from then on', () => {
  const window = new SequenceWindow<number>()
  for (const n of [3, 4, 6]) window.accept(n, n, 1)
  assert.deepEqual(window.skipGap(), [3, 4])
  assert.equal(
    code(() => window.accept(2, 2, 1)),
    'REPLAY_DETECTED'
  )
  assert.deepEqual(window.accept(5, 5, 1), [5, 6])
  assert.deepEqual(window.skipGap(), [])
})

test('acknowledged ranges are what was added, joined and sorted; of too many the oldest go', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 100 }), numbers => {
      const ranges = new AckRanges()
      for (const n of numbers) ranges.add(n)
      const flat = ranges.list().flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i))
      assert.deepEqual(
        flat,
        [...new Set(numbers)].sort((a, b) => a - b)
      )
      for (const [i, [first]] of ranges.list().entries()) assert.ok(i === 0 || first > ranges.list()[i - 1]![1] + 1)
    })
  )
  const many = new AckRanges()
  for (let n = 1; n <= 1000; n += 2) many.add(n)
  assert.equal(many.list().length, MAX_ACK_RANGES)
  assert.deepEqual(many.list().at(-1), [999, 999])
})
