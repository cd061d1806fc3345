/**
 * Which addresses that a server or Kad node names may be connected to: public ones, and those of the kind at which the user said that the
 * server is. So one on the internet cannot point us at our own network. Pure.
 */
import { type AddressClass, classOfAddress, isFilePort } from '../address-filter.ts'

const ORDER = ['public', 'private', 'loopback'] as const

export class NamedScope {
  readonly #classOf: (address: string) => AddressClass
  #widest = 0

  /** @param classOf for tests, where addresses for documentation stand for public ones */
  constructor(classOf: (address: string) => AddressClass = classOfAddress) {
    this.#classOf = classOf
  }

  /** The user gave this address: others of its kind are in the same network. */
  widen(host: string): void {
    this.#widest = Math.max(this.#widest, ORDER.indexOf(this.classOf(host) as (typeof ORDER)[number]))
  }

  classOf(host: string): AddressClass {
    return this.#classOf(host)
  }
  /** Strangers' rules hold for it; false in the user's own network. */
  isPublic(host: string): boolean {
    return this.#classOf(host) === 'public'
  }

  allows({ host, port }: { readonly host: string; readonly port: number }): boolean {
    const at = ORDER.indexOf(this.#classOf(host) as (typeof ORDER)[number])
    return at !== -1 && at <= this.#widest && isFilePort(port)
  }
  /** Something that has sent us a datagram from there. */
  isUsable({ host, port }: { readonly host: string; readonly port: number }): boolean {
    return this.#classOf(host) !== 'never' && isFilePort(port)
  }
}
