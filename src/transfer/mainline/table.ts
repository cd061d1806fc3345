/**
 * The routing table (BEP 5): for each number of leading bits that an id can share with ours, up to eight nodes that have answered us.
 * One node for each address (threats BT9), and ids that belong to their address (BEP 42) push out those that do not. Pure.
 */
import { equalBytes } from '../../base/bytes.ts'
import { classOfAddress } from '../address-filter.ts'
import { compareDistance, sharedBits } from '../kademlia/distance.ts'
import type { Contact } from './krpc.ts'
import { BUCKET_NODES, MAX_FAILURES, QUESTIONABLE_MS } from './limits.ts'
import { isIdOfAddress } from './node-id.ts'

export interface TableNode extends Contact {
  /** The id belongs to the address. */
  readonly verified: boolean
  lastAnswerMs: number
  failures: number
}

export class RoutingTable {
  readonly ownId: Uint8Array
  readonly #buckets = new Map<number, TableNode[]>()
  readonly #byAddress = new Map<string, TableNode>()

  constructor(ownId: Uint8Array) {
    this.ownId = ownId
  }

  get size(): number {
    return this.#byAddress.size
  }
  *[Symbol.iterator](): Iterator<TableNode> {
    yield* this.#byAddress.values()
  }

  /** Whether a node with this id and address could get a place: worth a ping. */
  wants(contact: Contact, nowMs: number): boolean {
    if (equalBytes(contact.id, this.ownId) || this.#byAddress.has(addressKey(contact))) return false
    const bucket = this.#bucket(contact.id)
    return bucket.length < BUCKET_NODES || worst(bucket, isIdOfAddress(contact.id, contact.host), nowMs) !== undefined
  }

  /** A node has answered. @returns whether it is in the table now and was not before */
  answered(contact: Contact, nowMs: number): boolean {
    const key = addressKey(contact)
    const known = this.#byAddress.get(key)
    if (known && equalBytes(known.id, contact.id) && known.port === contact.port) {
      known.lastAnswerMs = nowMs
      known.failures = 0
      return false
    }
    // Another id from an address that has a place: only when the old one is gone may it have that place.
    if (known && known.failures === 0) return false
    if (equalBytes(contact.id, this.ownId)) return false
    if (known) this.#remove(known)
    const node: TableNode = { ...contact, verified: isIdOfAddress(contact.id, contact.host), lastAnswerMs: nowMs, failures: 0 }
    const bucket = this.#bucket(contact.id)
    if (bucket.length >= BUCKET_NODES) {
      const leaving = worst(bucket, node.verified, nowMs)
      if (!leaving) return false
      this.#remove(leaving)
    }
    this.#bucket(contact.id).push(node)
    this.#byAddress.set(key, node)
    return true
  }

  /** A node has not answered; after three times in a row it is dropped. */
  failed({ id, host, port }: Contact): void {
    const node = this.#byAddress.get(addressKey({ host, port }))
    if (!node || !equalBytes(node.id, id) || node.port !== port) return
    if (++node.failures >= MAX_FAILURES) this.#remove(node)
  }

  /** The nodes closest to `target`, nearest first. */
  closest(target: Uint8Array, count: number = BUCKET_NODES): TableNode[] {
    return [...this.#byAddress.values()].sort((a, b) => compareDistance(target, a.id, b.id)).slice(0, count)
  }

  /** Nodes that have been silent for so long that they should be asked whether they are still there. */
  questionable(nowMs: number, count: number): TableNode[] {
    return [...this.#byAddress.values()]
      .filter(n => n.failures > 0 || nowMs - n.lastAnswerMs > QUESTIONABLE_MS)
      .sort((a, b) => a.lastAnswerMs - b.lastAnswerMs)
      .slice(0, count)
  }

  #bucket(id: Uint8Array): TableNode[] {
    const bits = sharedBits(this.ownId, id)
    const bucket = this.#buckets.get(bits) ?? []
    this.#buckets.set(bits, bucket)
    return bucket
  }

  #remove(node: TableNode): void {
    const bucket = this.#bucket(node.id)
    bucket.splice(bucket.indexOf(node), 1)
    this.#byAddress.delete(addressKey(node))
  }
}

/** Several nodes may run on this machine; elsewhere one address is one node. */
export const addressKey = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  classOfAddress(host) === 'loopback' ? `${host} ${port}` : host

/** Who of a full bucket makes room: one that fails, or one whose id is not its own when the new one's is. Old nodes stay (BEP 5). */
function worst(bucket: readonly TableNode[], verified: boolean, nowMs: number): TableNode | undefined {
  const failing = bucket.filter(n => n.failures > 0).sort((a, b) => b.failures - a.failures || a.lastAnswerMs - b.lastAnswerMs)[0]
  if (failing) return failing
  const oldest = bucket.toSorted((a, b) => a.lastAnswerMs - b.lastAnswerMs)
  return verified ? oldest.find(n => !n.verified) : oldest.find(n => !n.verified && nowMs - n.lastAnswerMs > QUESTIONABLE_MS)
}
