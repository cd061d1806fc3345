/**
 * Links of others that are being greeted: so many at a time, in all and from one place. When there are too many the oldest of the network
 * that has most makes room, so that nobody's silence takes the places of all (threats HS3).
 */
import { mostCrowded } from '../../base/crowding.ts'
import { MAX_ACCEPTING, MAX_ACCEPTING_PER_ORIGIN } from '../limits.ts'
import type { MessageLink } from '../link.ts'
import { originKey, originNetwork } from './origin-key.ts'

export interface Greeting extends Disposable {
  /** It made room for another: its link has ended, and that was not its fault. */
  readonly isDisplaced: boolean
}

class Held implements Greeting {
  isDisplaced = false
  readonly link: MessageLink
  readonly origin: string
  readonly network: string
  readonly #leave: (held: Held) => void

  constructor(link: MessageLink, leave: (held: Held) => void) {
    this.link = link
    this.origin = originKey(link)
    this.network = originNetwork(link)
    this.#leave = leave
  }

  [Symbol.dispose](): void {
    this.#leave(this)
  }
}

export class Greetings {
  /** Oldest first. */
  readonly #held = new Set<Held>()

  /** Takes a place, to be disposed when the greeting is over; undefined: there is none for this origin. */
  begin(link: MessageLink): Greeting | undefined {
    const held = new Held(link, h => this.#held.delete(h))
    if ([...this.#held].filter(h => h.origin === held.origin).length >= MAX_ACCEPTING_PER_ORIGIN) return undefined
    if (this.#held.size >= MAX_ACCEPTING) this.#displace()
    this.#held.add(held)
    return held
  }

  #displace(): void {
    const crowd = mostCrowded(this.#held, h => h.network)
    if (!crowd) return
    crowd.oldest.isDisplaced = true
    this.#held.delete(crowd.oldest)
    void crowd.oldest.link[Symbol.asyncDispose]()
  }
}
