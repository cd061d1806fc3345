/** The signed operations of one group: read and checked, in whatever order they come, and written. */
import { sha256 } from '#hash'
import { bytesToHex, concatBytes, hexToBytes } from '../../base/bytes.ts'
import { decode, encode } from '../../base/codec.ts'
import { KithError } from '../../base/errors.ts'
import { openSigned } from '../../identity/signing.ts'
import { didOfKey } from '../../wire/did-key.ts'
import { GROUP_OP_DOMAIN, type GroupChange, type GroupOp, groupOpCodec } from '../../wire/group-op.ts'
import { MAX_GROUP_OPS, MAX_GROUP_PARENTS } from '../../wire/limits.ts'
import { type Signed, signedCodec } from '../../wire/signed.ts'
import { MAX_WAITING_OPS } from '../limits.ts'
import { GroupFold, type GroupOpNode } from './fold.ts'

/** An operation with its bytes, to keep and to hand on. */
export interface LoggedOp extends GroupOpNode {
  readonly group: string
  readonly at: number
  /** The encoded Signed. */
  readonly bytes: Uint8Array
}

/** Reads an operation and checks its signature, unless it is known. @returns undefined: known @throws WIRE_SIGNATURE or any WIRE_ code */
export async function readGroupOp(bytes: Uint8Array, isKnown: (hash: string) => boolean = () => false): Promise<LoggedOp | undefined> {
  const signed = decode(signedCodec, bytes)
  const hash = bytesToHex(await sha256(concatBytes(signed.body, signed.signer)))
  if (isKnown(hash)) return undefined
  const op = await openSigned(groupOpCodec, GROUP_OP_DOMAIN, signed)
  return { ...op, group: op.change.kind === 'create' ? hash : op.group, hash, author: didOfKey(signed.signer), bytes }
}

export class GroupLog {
  readonly id: string
  readonly #ops = new Map<string, LoggedOp>()
  /** Operations that follow others which are not here, oldest first. */
  readonly #waiting = new Map<string, LoggedOp>()
  #fold: GroupFold | undefined

  constructor(id: string) {
    this.id = id
  }

  get size(): number {
    return this.#ops.size
  }
  get(hash: string): LoggedOp | undefined {
    return this.#ops.get(hash)
  }
  /** @throws UNKNOWN_GROUP while the operation that creates it is not here */
  get fold(): GroupFold {
    if (!this.#ops.has(this.id)) throw new KithError('UNKNOWN_GROUP', 'the beginning of the group is not known', { group: this.id })
    this.#fold ??= new GroupFold(this.#ops.values())
    return this.#fold
  }

  /** A log of its own with the same operations, to try what others would change. */
  copy(): GroupLog {
    const copy = new GroupLog(this.id)
    for (const op of this.#ops.values()) copy.#ops.set(op.hash, op)
    for (const op of this.#waiting.values()) copy.#waiting.set(op.hash, op)
    copy.#fold = this.#fold
    return copy
  }

  /**
   * Adds operations whose signatures are right, those that follow unknown ones later, when these have come.
   * @returns those that are in the log now and were not before, parents first @throws BAD_GROUP_OP (another group, wrong lamport time), GROUP_FULL
   */
  add(ops: readonly LoggedOp[]): LoggedOp[] {
    for (const op of ops) {
      if (op.group !== this.id) throw new KithError('BAD_GROUP_OP', 'an operation of another group', { group: this.id })
      if (!this.#ops.has(op.hash)) this.#waiting.set(op.hash, op)
    }
    const added: LoggedOp[] = []
    for (let found = true; found; ) {
      found = false
      for (const op of this.#waiting.values()) {
        if (!op.parents.every(p => this.#ops.has(p))) continue
        this.#waiting.delete(op.hash)
        const lamport = Math.max(-1, ...op.parents.map(p => this.#ops.get(p)!.lamport)) + 1
        if (op.lamport !== lamport) throw new KithError('BAD_GROUP_OP', 'an operation does not count on', { lamport: op.lamport })
        if (this.#ops.size >= MAX_GROUP_OPS) throw new KithError('GROUP_FULL', 'as many operations as a group may have', { group: this.id })
        this.#ops.set(op.hash, op)
        added.push(op)
        found = true
      }
    }
    for (const hash of this.#waiting.keys()) {
      if (this.#waiting.size <= MAX_WAITING_OPS) break
      this.#waiting.delete(hash)
    }
    if (added.length > 0) this.#fold = undefined
    return added
  }

  /** Bytes of what somebody lacks who knows these heads. */
  after(heads: readonly string[]): Uint8Array[] {
    return this.fold.after(heads).map(op => this.#ops.get(op.hash)!.bytes)
  }
}

export type SignGroupOp = (domain: string, body: Uint8Array) => Promise<Signed>

/** Writes and signs the operation that comes after all that the log has. It is not in the log yet. @throws GROUP_FULL */
export async function writeGroupOp(log: GroupLog, change: GroupChange, at: number, sign: SignGroupOp): Promise<LoggedOp> {
  if (log.size >= MAX_GROUP_OPS) throw new KithError('GROUP_FULL', 'as many operations as a group may have', { group: log.id })
  const parents = log.fold.heads.slice(0, MAX_GROUP_PARENTS)
  const lamport = Math.max(...parents.map(p => log.get(p)!.lamport)) + 1
  return signGroupOp({ group: log.id, lamport, at, parents, change }, sign)
}

/** The operation that creates a group; its hash is the group's id. @throws BAD_GROUP_NAME */
export const createGroupOp = (name: string, nonce: Uint8Array, at: number, sign: SignGroupOp): Promise<LoggedOp> =>
  signGroupOp({ group: '0'.repeat(64), lamport: 0, at, parents: [], change: { kind: 'create', nonce, name } }, sign)

async function signGroupOp(op: GroupOp, sign: SignGroupOp): Promise<LoggedOp> {
  // What is read back is what others will see, checked as they check it.
  return (await readGroupOp(encode(signedCodec, await sign(GROUP_OP_DOMAIN, encode(groupOpCodec, op)))))!
}

/** What two members compare: the same for the same history (threats RT7). */
export const transcriptOf = async (heads: readonly string[]): Promise<string> =>
  bytesToHex(await sha256(concatBytes(...heads.map(hexToBytes))))
