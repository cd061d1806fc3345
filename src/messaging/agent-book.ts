/** Which agents are logged in from which peer. */
import { KithError } from '../base/errors.ts'
import { MAX_AGENTS_PER_PEER, MAX_LOGGED_IN_AGENTS } from './limits.ts'

export class AgentBook {
  readonly #agentsByPeer = new Map<string, Set<string>>()
  #count = 0

  /** @throws TOO_MANY_AGENTS when one more has no place */
  checkRoom(peerId: string, agentId: string): void {
    const agents = this.#agentsByPeer.get(peerId)
    if (agents?.has(agentId)) return
    if ((agents?.size ?? 0) >= MAX_AGENTS_PER_PEER || this.#count >= MAX_LOGGED_IN_AGENTS)
      throw new KithError('TOO_MANY_AGENTS', 'no place for another agent', { peer: peerId })
  }

  /** @returns whether it is new @throws TOO_MANY_AGENTS */
  add(peerId: string, agentId: string): boolean {
    this.checkRoom(peerId, agentId)
    const agents = this.#agentsByPeer.get(peerId) ?? new Set()
    if (agents.has(agentId)) return false
    agents.add(agentId)
    this.#agentsByPeer.set(peerId, agents)
    this.#count++
    return true
  }

  /** Forgets a peer. @returns the agents that it had */
  remove(peerId: string): readonly string[] {
    const agents = [...(this.#agentsByPeer.get(peerId) ?? [])]
    this.#agentsByPeer.delete(peerId)
    this.#count -= agents.length
    return agents
  }

  agentsOf(peerId: string): readonly string[] {
    return [...(this.#agentsByPeer.get(peerId) ?? [])]
  }
  peersOf(agentId: string): readonly string[] {
    return [...this.#agentsByPeer].filter(([, agents]) => agents.has(agentId)).map(([peerId]) => peerId)
  }
}
