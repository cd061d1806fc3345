/**
 * Which link a request belongs to. A client of ours names its link in a header; any other is known by its session_id. The first frame
 * must be a handshake with a right signature, and so must every later handshake message: nobody but the client can then disturb a
 * handshake, and in a session what others send fails to decrypt.
 */
import { ed25519Verify } from '#crypto'
import type { Clock } from '../../base/clock.ts'
import { mostCrowded } from '../../base/crowding.ts'
import { KithError } from '../../base/errors.ts'
import { rateKeyOf } from '../../net/address-scope.ts'
import type { ReceivedSecureMessage } from '../../wire/secure-message.ts'
import { originNetwork } from '../delivery/origin-key.ts'
import { MAX_HTTP_LINKS, MAX_HTTP_LINKS_PER_ADDRESS } from '../limits.ts'
import type { MessageLink } from '../link.ts'
import { HttpLink } from './link.ts'
import type { StrangerChecks } from './stranger-checks.ts'

export interface HttpLinksDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly strangers: StrangerChecks
  /** Takes a new link; it is served until it ends. */
  accept(link: MessageLink): unknown
}

export class HttpLinks implements AsyncDisposable {
  readonly #deps: HttpLinksDeps
  /** By name; unused for longest is found by looking. */
  readonly #links = new Map<string, HttpLink>()

  constructor(deps: HttpLinksDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#links.size
  }

  /** The link with this name, for one that only collects. */
  named(name: string): HttpLink | undefined {
    return this.#links.get(`name ${name}`)
  }

  /**
   * The link a message belongs to, opened by a handshake.
   * @param name what the client calls its link, if it does
   * @throws SESSION_EXPIRED, INVALID_SIGNATURE, RATE_LIMITED
   */
  async linkFor(message: ReceivedSecureMessage, name: string | undefined, address: string): Promise<HttpLink> {
    const key = name === undefined ? `session ${message.sessionId}` : `name ${name}`
    const isGreeting = message.type === 'handshake' || message.type === 'handshake_ack' || message.type === 'handshake_confirm'
    const link = this.#links.get(key)
    // The same for a session that is unknown and one of somebody else (threats SM23).
    if (link ? link.senderId !== message.senderId : message.type !== 'handshake') throw expired()
    if (isGreeting) await this.#check(message, address)
    return link ?? this.#links.get(key) ?? this.#open(key, message.senderId, address)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#links.values()].map(link => link[Symbol.asyncDispose]()))
  }

  async #check(message: ReceivedSecureMessage, address: string): Promise<void> {
    if (!this.#deps.strangers.allow(rateKeyOf(address))) throw new KithError('RATE_LIMITED', 'too many handshakes')
    if (await ed25519Verify(message.senderKey, message.signedBytes, message.signature)) return
    throw new KithError('INVALID_SIGNATURE', 'the signature is not that of the sender')
  }

  #open(key: string, senderId: string, address: string): HttpLink {
    this.#makeRoom(rateKeyOf(address))
    const link = new HttpLink(this.#deps, { senderId, address })
    this.#links.set(key, link)
    link.closed.addEventListener('abort', () => this.#links.get(key) === link && this.#links.delete(key), { once: true })
    this.#deps.accept(link)
    return link
  }

  /** Threats CO16: idle links go first; then who has many makes room among its own, by address and by network. */
  #makeRoom(addressKey: string): void {
    for (const link of this.#links.values()) if (link.isIdle) void link[Symbol.asyncDispose]()
    const all = [...this.#links.values()].sort((a, b) => a.lastUsed - b.lastUsed)
    const own = all.filter(l => rateKeyOf(l.address) === addressKey)
    if (own.length >= MAX_HTTP_LINKS_PER_ADDRESS) void own[0]![Symbol.asyncDispose]()
    else if (all.length >= MAX_HTTP_LINKS) void mostCrowded(all, originNetwork)?.oldest[Symbol.asyncDispose]()
  }
}

const expired = (): KithError => new KithError('SESSION_EXPIRED', 'there is no such session: begin with a handshake')
