/**
 * From operations to members: a pure function of the set of operations, so that all who have the same ones agree, in whatever order they came
 * (threats RT6).
 *
 * Admins add members, and remove or change the role of those who joined after them; the creator comes first. Everybody may leave. When no
 * admin is left, the one who joined first of those who remain counts as one. What somebody does is judged by what they had seen when they
 * did it, and what they did while they were being removed or demoted, without having seen that, does not count: else a removed admin could
 * write operations into the past for ever. Of several such removals those by whoever joined earlier are looked at first.
 */
import { KithError } from '../../base/errors.ts'
import type { GroupChange, GroupRole } from '../../wire/group-op.ts'
import { MAX_CONTESTED_REMOVALS, MAX_GROUP_MEMBERS } from '../limits.ts'
import type { EntityId } from '../types.ts'

/** An operation whose signature, parents and lamport time are right. */
export interface GroupOpNode {
  readonly hash: string
  readonly author: EntityId
  readonly lamport: number
  readonly parents: readonly string[]
  readonly change: GroupChange
}

export interface Membership {
  readonly role: GroupRole
  /** Place of the operation that brought them in, among all: who joined earlier has the lower one. */
  readonly joined: number
}
export type Members = ReadonlyMap<EntityId, Membership>

export class GroupFold {
  /** In the order in which they are applied: parents come before those that follow them. */
  readonly order: readonly GroupOpNode[]
  readonly members: Members
  /** Newest operations: those that no other follows, in ascending order. */
  readonly heads: readonly string[]
  readonly #index: ReadonlyMap<string, number>
  /** By place: the places of all that an operation follows. */
  readonly #past: readonly Uint32Array[]
  readonly #valid: readonly boolean[]

  /** @param ops one that creates the group, and others whose parents are all there @throws GROUP_FULL (too many contested removals) */
  constructor(ops: Iterable<GroupOpNode>) {
    this.order = [...ops].sort((a, b) => a.lamport - b.lamport || (a.hash < b.hash ? -1 : 1))
    this.#index = new Map(this.order.map((op, i) => [op.hash, i]))
    this.#past = this.#pasts()
    const followed = new Set(this.order.flatMap(op => op.parents))
    this.heads = this.order
      .map(op => op.hash)
      .filter(h => !followed.has(h))
      .sort()
    this.#valid = this.#judge()
    this.members = this.#state(() => true)
  }

  has(hash: string): boolean {
    return this.#index.has(hash)
  }

  isValid(hash: string): boolean {
    return this.#valid[this.#index.get(hash) ?? -1] ?? false
  }

  /** Members as those see them who know these heads and nothing later; undefined when one of them is not known. */
  membersAt(heads: readonly string[]): Members | undefined {
    const seen = this.#seenBy(heads)
    return seen && this.#state(i => hasBit(seen, i))
  }

  /** Operations that somebody lacks who knows these heads, as far as they are known here. */
  after(heads: readonly string[]): readonly GroupOpNode[] {
    const seen = this.#seenBy(heads.filter(h => this.#index.has(h)))!
    return this.order.filter((_, i) => !hasBit(seen, i))
  }

  /** Who wrote operations of which neither follows the other: told different members different things, or lost their own memory. */
  forkedBy(): EntityId[] {
    const last = new Map<EntityId, number>()
    const forked = new Set<EntityId>()
    for (const [i, { author }] of this.order.entries()) {
      const before = last.get(author)
      if (before !== undefined && !hasBit(this.#past[i]!, before)) forked.add(author)
      last.set(author, i)
    }
    return [...forked]
  }

  #seenBy(heads: readonly string[]): Uint32Array | undefined {
    const seen = this.#bits()
    for (const head of heads) {
      const i = this.#index.get(head)
      if (i === undefined) return undefined
      setBit(seen, i)
      orBits(seen, this.#past[i]!)
    }
    return seen
  }

  #bits = (): Uint32Array => new Uint32Array(Math.ceil(this.order.length / 32))

  #pasts(): Uint32Array[] {
    const past: Uint32Array[] = []
    for (const op of this.order) {
      const bits = this.#bits()
      for (const parent of op.parents) {
        const p = this.#index.get(parent)!
        setBit(bits, p)
        orBits(bits, past[p]!)
      }
      past.push(bits)
    }
    return past
  }

  /** Which operations count. */
  #judge(): boolean[] {
    const cancelled = new Set<number>()
    const looked = new Set<number>()
    for (let contested = 0; ; contested++) {
      const { valid, pasts } = this.#authorise(cancelled)
      let next: { readonly at: number; readonly rank: number } | undefined
      for (const [i, op] of this.order.entries()) {
        if (!valid[i] || looked.has(i) || revoked(op) === undefined) continue
        // Most removals meet nothing unseen: those need no second look.
        if (this.#unseen(i).every(v => cancelled.has(v))) {
          looked.add(i)
          continue
        }
        const rank = pasts[i]!.get(op.author)!.joined
        if (!next || rank < next.rank) next = { at: i, rank }
      }
      if (!next) return valid
      if (contested >= MAX_CONTESTED_REMOVALS) throw new KithError('GROUP_FULL', 'too many removals that others did not know of')
      looked.add(next.at)
      for (const victim of this.#unseen(next.at)) cancelled.add(victim)
    }
  }

  /** What the one who is removed by operation `i` did without either having seen the other. */
  #unseen(i: number): number[] {
    const who = revoked(this.order[i]!)
    const found: number[] = []
    for (const [j, op] of this.order.entries())
      if (op.author === who && !hasBit(this.#past[i]!, j) && !hasBit(this.#past[j]!, i)) found.push(j)
    return found
  }

  /** Judges each operation by the members that its author knew of. */
  #authorise(cancelled: ReadonlySet<number>): { readonly valid: boolean[]; readonly pasts: Members[] } {
    const valid: boolean[] = []
    const pasts: Members[] = []
    const after: Members[] = []
    for (const [i, op] of this.order.entries()) {
      // One parent: what was known after it. Several: all that they follow, in order.
      const only = op.parents.length === 1 ? this.#index.get(op.parents[0]!)! : undefined
      const past = only === undefined ? this.#state(j => hasBit(this.#past[i]!, j), valid) : after[only]!
      pasts.push(past)
      valid.push(!cancelled.has(i) && isAllowed(op, past, i))
      after.push(valid[i] ? apply(past, op, i) : past)
    }
    return { valid, pasts }
  }

  #state(isSeen: (i: number) => boolean, valid: readonly boolean[] = this.#valid): Members {
    const members = new Map<EntityId, Membership>()
    for (const i of valid.keys()) if (valid[i] && isSeen(i)) change(members, this.order[i]!, i)
    return members
  }
}

/** Whether somebody may act as an admin. */
export function isAdmin(members: Members, who: EntityId): boolean {
  const own = members.get(who)
  if (!own) return false
  if (own.role === 'admin') return true
  for (const m of members.values()) if (m.role === 'admin' || m.joined < own.joined) return false
  return true
}

function isAllowed(op: GroupOpNode, members: Members, place: number): boolean {
  const { author, change: c } = op
  if (c.kind === 'create') return place === 0
  const own = members.get(author)
  if (!own || c.kind === 'leave') return own !== undefined
  if (c.kind === 'role' && c.member === author) return c.role === 'member'
  if (!isAdmin(members, author)) return false
  const other = members.get(c.member)
  if (c.kind === 'add') return other === undefined && members.size < MAX_GROUP_MEMBERS
  return other !== undefined && own.joined < other.joined
}

function apply(members: Members, op: GroupOpNode, place: number): Members {
  const next = new Map(members)
  change(next, op, place)
  return next
}

function change(members: Map<EntityId, Membership>, { author, change: c }: GroupOpNode, place: number): void {
  if (c.kind === 'create') members.set(author, { role: 'admin', joined: place })
  else if (c.kind === 'leave') members.delete(author)
  else if (c.kind === 'remove') members.delete(c.member)
  else {
    const known = members.get(c.member)
    if (c.kind === 'add' && !known) members.set(c.member, { role: c.role, joined: place })
    if (c.kind === 'role' && known) members.set(c.member, { ...known, role: c.role })
  }
}

/** Whose power ends by an operation of somebody else. */
function revoked({ author, change: c }: GroupOpNode): EntityId | undefined {
  if (c.kind === 'remove') return c.member
  return c.kind === 'role' && c.role === 'member' && c.member !== author ? c.member : undefined
}

const setBit = (bits: Uint32Array, i: number): void => {
  bits[i >>> 5]! |= 1 << (i & 31)
}
const hasBit = (bits: Uint32Array, i: number): boolean => (bits[i >>> 5]! & (1 << (i & 31))) !== 0
function orBits(bits: Uint32Array, other: Uint32Array): void {
  for (let w = 0; w < bits.length; w++) bits[w]! |= other[w]!
}
