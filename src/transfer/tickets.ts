/**
 * Tickets (DESIGN §6): handed out over libp2p to whoever proved a PeerId and an instance key, and shown by HTTP and BitTorrent, which do
 * not say who asks. Bounded per peer, per address and in all; the oldest end first.
 */
import { randomBytes } from '#crypto'
import { bytesToHex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { rateKeyOf } from '../net/address-scope.ts'
import { TICKET_LIFETIME_MS } from '../wire/limits.ts'
import { MAX_TICKETS, MAX_TICKETS_PER_ADDRESS, MAX_TICKETS_PER_PEER } from './limits.ts'
import type { Customer, Ticket } from './protocol.ts'

interface Issued {
  readonly customer: Customer
  readonly fileId: string
}

export class TicketBook {
  readonly #clock: Pick<Clock, 'now'>
  /** By hex id, in the order of issue. */
  readonly #byId = new Map<string, Issued>()
  /** Hex ids by "peer PEERID" and by "address GROUP", in the order of issue. */
  readonly #byHolder = new Map<string, Set<string>>()

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  /** A fresh ticket for one file. */
  issue(who: Omit<Customer, 'ticket'>, fileId: Uint8Array): Ticket {
    const ticket: Ticket = { id: randomBytes(16), key: randomBytes(32), expiresAt: this.#clock.now() + TICKET_LIFETIME_MS }
    const id = bytesToHex(ticket.id)
    this.#byId.set(id, { customer: { ...who, ticket }, fileId: bytesToHex(fileId) })
    const [peer, address] = holdersOf(who)
    this.#hold(peer, id, MAX_TICKETS_PER_PEER)
    this.#hold(address, id, MAX_TICKETS_PER_ADDRESS)
    if (this.#byId.size > MAX_TICKETS) this.#remove(this.#byId.keys().next().value!)
    return ticket
  }

  /** Who holds this ticket for this file; undefined when unknown, expired or for another file. */
  customerOf(ticketId: Uint8Array, fileId: Uint8Array): Customer | undefined {
    const id = bytesToHex(ticketId)
    const issued = this.#byId.get(id)
    if (!issued || issued.fileId !== bytesToHex(fileId)) return undefined
    if (issued.customer.ticket.expiresAt > this.#clock.now()) return issued.customer
    this.#remove(id)
    return undefined
  }

  get size(): number {
    return this.#byId.size
  }

  #hold(holder: string, id: string, most: number): void {
    const ids = this.#byHolder.get(holder) ?? new Set<string>()
    this.#byHolder.set(holder, ids.add(id))
    if (ids.size > most) this.#remove(ids.keys().next().value!)
  }

  #remove(id: string): void {
    const issued = this.#byId.get(id)
    if (!issued) return
    this.#byId.delete(id)
    for (const holder of holdersOf(issued.customer)) {
      const ids = this.#byHolder.get(holder)
      ids?.delete(id)
      if (ids?.size === 0) this.#byHolder.delete(holder)
    }
  }
}

const holdersOf = (who: Pick<Customer, 'peerId' | 'address'>): readonly [peer: string, address: string] => [
  `peer ${who.peerId}`,
  `address ${rateKeyOf(who.address)}`
]
