/**
 * The places for WebRTC connections that others began: in all, so that there is room for those that we begin, and from one address (an IPv6
 * /64 counts as one; this machine is not counted). Pure. (threats BT13)
 */
import { rateKeyOf, scopeOfIp } from '../../net/address-scope.ts'
import { MAX_ANSWERED_CONNECTIONS, MAX_ANSWERED_PER_ADDRESS } from './limits.ts'

export class AnsweredPlaces {
  readonly #byAddress = new Map<string, number>()
  #total = 0

  get isFull(): boolean {
    return this.#total >= MAX_ANSWERED_CONNECTIONS
  }

  /** @param address "192.0.2.1:40000" @returns what gives the place back, once; undefined when there is none */
  enter(address: string): (() => void) | undefined {
    const ip = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
    const key = rateKeyOf(ip)
    const held = this.#byAddress.get(key) ?? 0
    if (this.isFull || (held >= MAX_ANSWERED_PER_ADDRESS && scopeOfIp(ip) !== 'loopback')) return undefined
    this.#byAddress.set(key, held + 1)
    this.#total++
    let gone = false
    return () => {
      if (gone) return
      gone = true
      this.#total--
      const left = this.#byAddress.get(key)! - 1
      if (left > 0) this.#byAddress.set(key, left)
      else this.#byAddress.delete(key)
    }
  }
}
