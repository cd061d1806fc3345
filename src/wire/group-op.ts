/**
 * Group operation: one change of who is in a group. Signed (signed.ts) with GROUP_OP_DOMAIN by its author. Its hash is SHA-256 of body ‖ signer;
 * the hash of the first one, which creates the group, is the group's id. Operations name those they follow, so that their hashes say what
 * their author had seen.
 *
 * | bytes | field   | notes                                                                        |
 * | ----: | ------- | ---------------------------------------------------------------------------- |
 * |     1 | version | 1                                                                            |
 * |    32 | group   | its id; zeros in `create`                                                    |
 * |     1 | kind    | 1 create, 2 add, 3 remove, 4 leave, 5 role                                   |
 * |     8 | lamport | one more than the highest among the parents; 0 in `create`                   |
 * |     8 | at      | ms since 1970 by the author's clock: decides nothing                         |
 * |     1 | parents | count ≤ 32, hashes in ascending order: the newest that the author knew        |
 * |       | create  | 16 random bytes, name text16 of 1 to 128 bytes                               |
 * |       | add, role | Ed25519 key of the member 32, role u8: 1 admin, 2 member                    |
 * |       | remove  | Ed25519 key of the member 32                                                 |
 *
 * Spec: docs/wire/groups.md §1
 */
import { bytesToHex, hexToBytes } from '../base/bytes.ts'
import { type Codec, expectVersion, type Reader } from '../base/codec.ts'
import { KithError } from '../base/errors.ts'
import { didOfKey, keyOfDid } from './did-key.ts'
import { MAX_GROUP_NAME_BYTES, MAX_GROUP_PARENTS } from './limits.ts'

export const GROUP_OP_DOMAIN = 'kith/group-op/1'

const ROLES = ['admin', 'member'] as const
export type GroupRole = (typeof ROLES)[number]

export type GroupChange =
  | { readonly kind: 'create'; readonly nonce: Uint8Array; readonly name: string }
  | { readonly kind: 'add' | 'role'; readonly member: string; readonly role: GroupRole }
  | { readonly kind: 'remove'; readonly member: string }
  | { readonly kind: 'leave' }

const KINDS = ['create', 'add', 'remove', 'leave', 'role'] as const

export interface GroupOp {
  /** 64 hex digits. */
  readonly group: string
  readonly lamport: number
  readonly at: number
  /** Hashes, 64 hex digits each. */
  readonly parents: readonly string[]
  readonly change: GroupChange
}

export const groupOpCodec: Codec<GroupOp> = {
  write(w, m) {
    w.u8(1)
    w.bytes(hexToBytes(m.group))
    w.u8(KINDS.indexOf(m.change.kind) + 1)
    w.u64(m.lamport)
    w.u64(m.at)
    w.u8(m.parents.length)
    for (const p of m.parents) w.bytes(hexToBytes(p))
    const c = m.change
    if (c.kind === 'create') {
      w.bytes(c.nonce)
      w.text16(c.name)
    } else if (c.kind !== 'leave') {
      w.bytes(keyOfDid(c.member) ?? new Uint8Array())
      if (c.kind !== 'remove') w.u8(ROLES.indexOf(c.role) + 1)
    }
  },
  read(r) {
    expectVersion(r, 1)
    const group = bytesToHex(r.bytes(32))
    const kind = KINDS[r.u8() - 1]
    const [lamport, at] = [r.u64(), r.u64()]
    const parents = readParents(r)
    if (!kind) throw new KithError('WIRE_RANGE', 'unknown kind of a group operation')
    const isFirst = kind === 'create'
    if (isFirst !== (parents.length === 0) || isFirst !== (lamport === 0) || isFirst !== /^0*$/.test(group))
      throw new KithError('WIRE_RANGE', 'only the operation that creates a group follows none')
    return { group, lamport, at, parents, change: readChange(r, kind) }
  }
}

function readParents(r: Reader): string[] {
  const n = r.u8()
  if (n > MAX_GROUP_PARENTS) throw new KithError('WIRE_RANGE', 'too many parents', { count: n })
  const parents = Array.from({ length: n }, () => bytesToHex(r.bytes(32)))
  if (parents.some((p, i) => i > 0 && p <= parents[i - 1]!)) throw new KithError('WIRE_RANGE', 'parents are not in order')
  return parents
}

function readChange(r: Reader, kind: GroupChange['kind']): GroupChange {
  if (kind === 'leave') return { kind }
  if (kind === 'create') {
    const [nonce, name] = [r.bytes(16), r.text16(MAX_GROUP_NAME_BYTES)]
    if (!isGroupName(name)) throw new KithError('WIRE_TEXT', 'not a name of a group')
    return { kind, nonce, name }
  }
  const member = didOfKey(r.bytes(32))
  if (kind === 'remove') return { kind, member }
  const role = ROLES[r.u8() - 1]
  if (!role) throw new KithError('WIRE_RANGE', 'unknown role')
  return { kind, member, role }
}

/** Whether a group may have this name: 1 to 128 bytes without control characters. */
export const isGroupName = (name: string): boolean =>
  name.length > 0 &&
  name.isWellFormed() &&
  new TextEncoder().encode(name).length <= MAX_GROUP_NAME_BYTES &&
  !/[\p{C}\p{Zl}\p{Zp}]/u.test(name)
