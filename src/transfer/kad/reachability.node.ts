/**
 * Whether TCP ports can be reached: other nodes are asked to try ours, and we try theirs. Only at the address from which they ask, after it has
 * answered us, and never at ports of services.
 */
import { randomBytes } from '#crypto'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import { asUserHash, readCrypt } from '../ed2k/hello.ts'
import { emule } from '../ed2k/opcodes.ts'
import { probeClient } from '../ed2k/server-probe.node.ts'
import type { NamedScope } from '../ed2k/server-scope.ts'
import type { Address } from './kad-socket.node.ts'
import { CHECKERS, MAX_PROBES } from './limits.ts'
import type { KadMessage } from './messages.ts'

export interface ReachabilityDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly scope: NamedScope
  /** UDP port of our node. */
  readonly port: () => number
  /** Whether somebody is really at this address. */
  prove(from: Address): Promise<boolean>
  say(message: KadMessage, to: Address): void
}

export class Reachability {
  readonly #deps: ReachabilityDeps
  /** Hosts that we asked to try our port. */
  readonly #asked = new Set<string>()
  /** Not the one that clients see: aMule would take the connection, which ends, for the one over which it can ask us for files. */
  readonly #probeHash = asUserHash(randomBytes(16))
  #probes = 0
  #open = false

  constructor(deps: ReachabilityDeps) {
    this.#deps = deps
  }

  /** Somebody whom we asked has reached our port. */
  get isOpen(): boolean {
    return this.#open
  }

  asking(host: string): void {
    this.#asked.add(host)
    if (this.#asked.size > 2 * CHECKERS) this.#asked.delete(this.#asked.values().next().value!)
  }

  /** A node, or a client over TCP, says that it reached us. Counts when it was asked. */
  reached(host: string): void {
    if (this.#open || !this.#asked.has(host)) return
    this.#open = true
    this.#deps.log.info('clients can connect to our port')
  }

  /** Tries the port of who asks, and tells it when that worked. */
  async check({ tcpPort, client, crypt }: Extract<KadMessage, { kind: 'check' }>, from: Address, signal: AbortSignal): Promise<void> {
    const { clock, scope, port, prove, say } = this.#deps
    if (this.#probes >= MAX_PROBES || !scope.isUsable({ host: from.host, port: tcpPort })) return
    this.#probes++
    try {
      if (!(await prove(from))) return
      const target = { host: from.host, port: tcpPort, userHash: client, crypt: readCrypt(crypt) }
      const isReached = await probeClient(target, { clock, ownHash: this.#probeHash, ownPort: port(), thenSay: emule.portReached }, signal)
      if (isReached) say({ kind: 'reached' }, from)
    } finally {
      this.#probes--
    }
  }
}
