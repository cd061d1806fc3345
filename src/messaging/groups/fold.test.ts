import assert from 'node:assert/strict'
import test from 'node:test'
import type { GroupChange } from '../../wire/group-op.ts'
import { MAX_GROUP_OPS } from '../../wire/limits.ts'
import { MAX_WAITING_OPS } from '../limits.ts'
import { GroupFold, type GroupOpNode, isAdmin } from './fold.ts'
import { GroupLog, type LoggedOp } from './log.ts'

/** A small generator of chance whose runs can be repeated by their seed. */
function chance(seed: number): (n: number) => number {
  let s = (seed * 2_654_435_761 + 1) >>> 0
  return n => {
    s ^= s << 13
    s >>>= 0
    s ^= s >>> 17
    s ^= s << 5
    s >>>= 0
    return s % n
  }
}

/** Writes operations without keys: hashes are numbers that chance gave. */
class Writer {
  readonly ops = new Map<string, GroupOpNode>()
  readonly #next: (n: number) => number
  constructor(next: (n: number) => number) {
    this.#next = next
  }
  write(author: string, change: GroupChange, parents: readonly string[]): string {
    const lamport = Math.max(-1, ...parents.map(p => this.ops.get(p)!.lamport)) + 1
    const hash = `${this.#next(2 ** 31).toString(16)}-${this.ops.size}`
    this.ops.set(hash, { hash, author, lamport, parents: [...parents].sort(), change })
    return hash
  }
  fold(hashes: Iterable<string> = this.ops.keys()): GroupFold {
    return new GroupFold([...hashes].map(h => this.ops.get(h)!))
  }
}
const start = (seed = 1): { w: Writer; root: string } => {
  const w = new Writer(chance(seed))
  return { w, root: w.write('A', { kind: 'create', nonce: new Uint8Array(16), name: 'g' }, []) }
}
const add = (member: string, role: 'admin' | 'member' = 'member'): GroupChange => ({ kind: 'add', member, role })
const remove = (member: string): GroupChange => ({ kind: 'remove', member })
const names = (fold: GroupFold): string => [...fold.members.keys()].sort().join('')

/** Some people with views of their own, who write what they may and what they may not, honest about what they saw or not. */
function randomGroup(seed: number): { readonly w: Writer; readonly next: (n: number) => number } {
  const next = chance(seed)
  const w = new Writer(next)
  const people = ['A', 'B', 'C', 'D', 'E']
  const root = w.write('A', { kind: 'create', nonce: new Uint8Array(16), name: 'g' }, [])
  const views = new Map(people.map(p => [p, new Set([root])]))
  const pick = <T>(list: readonly T[]): T => list[next(list.length)]!
  for (let step = 0; step < 14; step++) {
    const author = pick(people)
    const view = views.get(author)!
    // One in four writes into the past: after something older than the newest it knows.
    const followed = new Set([...view].flatMap(h => w.ops.get(h)!.parents))
    const parents = next(4) === 0 ? [pick([...view])] : [...view].filter(h => !followed.has(h))
    const member = pick(people)
    const role = next(2) === 0 ? 'admin' : 'member'
    const change = pick<GroupChange>([
      add(member, role),
      add(member, role),
      remove(member),
      { kind: 'role', member, role },
      { kind: 'leave' }
    ])
    const hash = w.write(author, change, parents)
    view.add(hash)
    // Views mix now and then: what somebody knows comes with all that it follows.
    if (next(2) === 0) for (const h of views.get(pick(people))!) view.add(h)
  }
  return { w, next }
}

test('RT6: whatever was done at the same time, and in whatever order it came, all agree', () => {
  for (let seed = 1; seed <= 10_000; seed++) {
    const { w, next } = randomGroup(seed)
    const all = w.fold()
    // Any order of arrival: a map that was filled in another order.
    const shuffled = [...w.ops.keys()].map(h => [next(2 ** 30), h] as const).sort((a, b) => a[0] - b[0])
    const other = w.fold(shuffled.map(([, h]) => h))
    const members = JSON.stringify([...all.members])
    assert.ok(JSON.stringify([...other.members]) === members && other.heads.join() === all.heads.join(), `seed ${seed}`)
    assert.ok(JSON.stringify([...all.membersAt(all.heads)!]) === members, `seed ${seed}`)
    // Nobody can do away with who began, and nobody is there who was not brought in by somebody entitled to.
    const valid = all.order.filter(op => all.isValid(op.hash))
    if (!all.members.has('A'))
      assert.ok(
        valid.some(op => op.author === 'A' && op.change.kind === 'leave'),
        `seed ${seed}`
      )
    for (const who of all.members.keys())
      assert.ok(who === 'A' || valid.some(op => op.change.kind === 'add' && op.change.member === who), `seed ${seed}`)
    if (all.members.size > 0)
      assert.ok(
        [...all.members.keys()].some(m => isAdmin(all.members, m)),
        `seed ${seed}`
      )
  }
})

test('two additions, and an addition beside a removal, at the same time both count', () => {
  const { w, root } = start()
  const b = w.write('A', add('B', 'admin'), [root])
  const c = w.write('A', add('C'), [b])
  w.write('A', add('D'), [c])
  w.write('B', add('E'), [c])
  w.write('B', remove('C'), [c])
  assert.equal(names(w.fold()), 'ABDE')
})

test('who is removed cannot undo it by operations that pretend not to have seen it', () => {
  const { w, root } = start()
  const b = w.write('A', add('B', 'admin'), [root])
  const c = w.write('A', add('C'), [b])
  const gone = w.write('A', remove('B'), [c])
  assert.equal(names(w.fold()), 'AC')
  const late = w.write('B', add('X', 'admin'), [b])
  w.write('X', remove('C'), [late, c])
  w.write('B', remove('C'), [c])
  w.write('B', add('B', 'admin'), [gone])
  assert.equal(names(w.fold()), 'AC')
  assert.equal(names(w.fold([root, b, c, late])), 'ABCX', 'without the removal it counts')
})

test('of two admins that remove each other the one stays who was there first', () => {
  for (const swap of [false, true]) {
    const { w, root } = start(swap ? 7 : 8)
    const b = w.write('A', add('B', 'admin'), [root])
    const c = w.write('B', add('C', 'admin'), [b])
    for (const [x, y] of swap ? ['BC', 'CB'] : ['CB', 'BC']) w.write(x!, remove(y!), [c])
    assert.equal(names(w.fold()), 'AB')
  }
})

test('nobody removes who was there earlier, members change nothing, and the last admin leaves an heir', () => {
  const { w, root } = start()
  const b = w.write('A', add('B', 'admin'), [root])
  const c = w.write('A', add('C'), [b])
  const refused = [w.write('B', remove('A'), [c]), w.write('C', add('D'), [c]), w.write('Z', add('Z'), [c])]
  const fold = w.fold()
  assert.deepEqual(
    refused.map(h => fold.isValid(h)),
    [false, false, false]
  )
  const left = w.write('B', { kind: 'leave' }, [w.write('A', { kind: 'leave' }, [c])])
  w.write('C', add('E'), [left])
  assert.equal(names(w.fold()), 'CE')
})

test('who tells different members different things is named', () => {
  const { w, root } = start()
  const b = w.write('A', add('B', 'admin'), [root])
  assert.deepEqual(w.fold().forkedBy(), [])
  w.write('B', add('C'), [b])
  w.write('B', add('D'), [b])
  assert.deepEqual(w.fold().forkedBy(), ['B'])
})

test('a thousand operations, each beside others, are folded in reasonable time', () => {
  const { w, root } = start()
  let heads = [w.write('A', add('B', 'admin'), [root])]
  for (let i = 0; i < 250; i++)
    heads = [w.write('A', add(`a${i}`), heads), w.write('B', add(`b${i}`), heads), w.write('A', remove(`a${i}`), heads)]
  assert.equal(w.fold().order.length, 752)
})

test('a history made to be looked at again and again is refused, not judged for seconds', () => {
  const { w, root } = start()
  let base = root
  for (let i = 0; i < 200; i++) base = w.write('A', add(`B${i}`, 'admin'), [base])
  const sides = Array.from({ length: 200 }, (_, i) => w.write(`B${i}`, add(`C${i}`), [base]))
  let head = base
  const folds = [w.fold()]
  for (let i = 0; i < 200; i++) {
    head = w.write('A', { kind: 'remove', member: `B${i}` }, [head])
    if (i === 15) folds.push(w.fold())
  }
  for (const [i, side] of sides.entries()) head = w.write('A', add(`D${i}`), [head, side])
  assert.equal(folds[1]!.members.has('C15'), false, 'as many as honest groups have are judged')
  assert.equal(folds[1]!.members.has('C16'), true)
  assert.throws(() => w.fold(), { code: 'GROUP_FULL' })
})

test('RT6: a log takes operations of its own group, that count on, after their parents, and so many', () => {
  const hashOf = (n: number): string => n.toString(16).padStart(64, '0')
  const id = hashOf(0)
  const op = (n: number, change: Partial<LoggedOp> = {}): LoggedOp => ({
    ...{ hash: hashOf(n), group: id, author: 'A', lamport: n, at: 0, bytes: new Uint8Array(), parents: n === 0 ? [] : [hashOf(n - 1)] },
    change: n === 0 ? { kind: 'create', nonce: new Uint8Array(16), name: 'g' } : add(`M${n}`),
    ...change
  })
  const log = new GroupLog(id)
  assert.throws(() => log.fold, { code: 'UNKNOWN_GROUP' })
  assert.deepEqual(log.add([op(1)]), [], 'it waits for its parent')
  assert.deepEqual(
    log.add([op(0)]).map(o => o.lamport),
    [0, 1]
  )
  assert.throws(() => log.add([op(2, { group: hashOf(9) })]), { code: 'BAD_GROUP_OP' })
  for (const lamport of [1, 3]) assert.throws(() => log.copy().add([op(2, { lamport })]), { code: 'BAD_GROUP_OP' })
  log.add(Array.from({ length: MAX_GROUP_OPS - 2 }, (_, i) => op(i + 2)))
  assert.equal(log.size, MAX_GROUP_OPS)
  assert.throws(() => log.copy().add([op(MAX_GROUP_OPS)]), { code: 'GROUP_FULL' })
  // Of those that wait for ever the oldest go.
  const waiting = new GroupLog(id)
  waiting.add(Array.from({ length: MAX_WAITING_OPS + 1 }, (_, i) => op(i + 1)))
  assert.deepEqual(
    waiting.add([op(0)]).map(o => o.lamport),
    [0]
  )
})
