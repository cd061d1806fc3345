/**
 * The routing table: for each number of leading bits that an id can share with ours, up to ten nodes that have answered us. One node for
 * each address, and two of a bucket whose addresses are neighbours (threats ED6). Pure.
 */
import { equalBytes } from '../../base/bytes.ts'
import { compareDistance, sharedBits } from '../kademlia/distance.ts'
import { addressKey } from '../mainline/table.ts'
import { BUCKET_NODES, MAX_FAILURES, MAX_SAME_NETWORK, QUESTIONABLE_MS } from './limits.ts'
import type { Contact } from './messages.ts'

export interface TableNode extends Contact {
  lastAnswerMs: number
  failures: number
}
type Address = Pick<Contact, 'host' | 'port'>

export class KadTable {
  readonly ownId: Uint8Array
  readonly #isPublic: (host: string) => boolean
  readonly #buckets = new Map<number, TableNode[]>()
  readonly #byAddress = new Map<string, TableNode>()

  /** @param isPublic whether the rule for neighbours holds for an address */
  constructor(ownId: Uint8Array, isPublic: (host: string) => boolean) {
    this.ownId = ownId
    this.#isPublic = isPublic
  }

  get size(): number {
    return this.#byAddress.size
  }
  *[Symbol.iterator](): Iterator<TableNode> {
    yield* this.#byAddress.values()
  }

  /** The node at this address, if it is here. */
  at(address: Address): TableNode | undefined {
    return this.#byAddress.get(addressKey(address))
  }

  /** Whether a node could get a place: worth a hello. */
  wants(contact: Contact): boolean {
    return !this.at(contact) && this.#hasRoom(contact)
  }

  /** A node has answered. @returns whether it is in the table now and was not before */
  answered(contact: Contact, nowMs: number): boolean {
    const known = this.at(contact)
    if (known && equalBytes(known.id, contact.id) && known.port === contact.port) {
      known.lastAnswerMs = nowMs
      known.failures = 0
      return false
    }
    // Another id from an address that has a place: only when the old one fails may it have that place.
    if (known && known.failures === 0) return false
    if (known) this.#remove(known)
    if (!this.#hasRoom(contact)) return false
    const bucket = this.#bucket(contact.id)
    if (bucket.length >= BUCKET_NODES) this.#remove(bucket.find(n => n.failures > 0)!)
    const node: TableNode = { ...contact, lastAnswerMs: nowMs, failures: 0 }
    this.#bucket(contact.id).push(node)
    this.#byAddress.set(addressKey(contact), node)
    return true
  }

  /** A node has not answered; after two times in a row it is dropped. */
  failed(address: Address): void {
    const node = this.at(address)
    if (node && node.port === address.port && ++node.failures >= MAX_FAILURES) this.#remove(node)
  }

  /** The nodes closest to `target`, nearest first. */
  closest(target: Uint8Array, count: number): TableNode[] {
    return [...this.#byAddress.values()].sort((a, b) => compareDistance(target, a.id, b.id)).slice(0, count)
  }

  /** Nodes that have been silent for so long that they should be asked whether they are still there. */
  questionable(nowMs: number, count: number): TableNode[] {
    return [...this.#byAddress.values()]
      .filter(n => n.failures > 0 || nowMs - n.lastAnswerMs > QUESTIONABLE_MS)
      .sort((a, b) => a.lastAnswerMs - b.lastAnswerMs)
      .slice(0, count)
  }

  /** Old nodes stay: only one that fails makes room. */
  #hasRoom(contact: Contact): boolean {
    if (equalBytes(contact.id, this.ownId)) return false
    const bucket = this.#bucket(contact.id)
    if (bucket.some(n => equalBytes(n.id, contact.id))) return false
    const network = networkOf(contact.host)
    const neighbours = this.#isPublic(contact.host) ? bucket.filter(n => networkOf(n.host) === network).length : 0
    return neighbours < MAX_SAME_NETWORK && (bucket.length < BUCKET_NODES || bucket.some(n => n.failures > 0))
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

const networkOf = (host: string): string => host.slice(0, host.lastIndexOf('.'))
