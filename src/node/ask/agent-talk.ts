/** What agents say to all or to one peer, in spec 003's kinds: said, shown, and kept while the node runs. */

import { utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { agentForm, readAgentForm } from '../../messaging/agent-forms.ts'
import type { AgentMessageEvent, Broadcasts } from '../../messaging/broadcast-types.ts'
import type { EntityId } from '../../messaging/types.ts'
import { type JsonObject, parseJson } from '../../wire/strict-json.ts'
import type { AgentMessageView, SayRequest } from '../ask-types.ts'
import { MAX_KEPT_AGENT_MESSAGES } from '../limits.ts'

export interface AgentTalkDeps {
  /** Undefined: this node does not stay up, and takes no part. */
  readonly broadcasts: Broadcasts | undefined
  readonly self: EntityId
  readonly nameOf: (entityId: EntityId) => string | undefined
}

export class AgentTalk {
  readonly #deps: AgentTalkDeps
  /** Newest last. */
  readonly #kept: AgentMessageView[] = []

  constructor(deps: AgentTalkDeps) {
    this.#deps = deps
  }

  onMessage(listener: (message: AgentMessageView) => void, signal: AbortSignal): void {
    this.#deps.broadcasts?.events.on(
      'agent:message',
      event => {
        const view = this.#view(event)
        this.#kept.push(view)
        if (this.#kept.length > MAX_KEPT_AGENT_MESSAGES) this.#kept.shift()
        listener(view)
      },
      signal
    )
  }

  all(): AgentMessageView[] {
    return [...this.#kept].reverse()
  }

  /** @throws BAD_PAYLOAD, NOT_CONNECTED */
  async say({ kind, data, topic }: SayRequest, to: EntityId | undefined): Promise<{ readonly id: string; readonly recipients: number }> {
    const { broadcasts, self } = this.#deps
    if (!broadcasts) {
      const hint = 'run kith up, and this command again'
      throw new KithError('NOT_CONNECTED', 'only a node that stays up takes part in what agents say to all', {}, { hint })
    }
    const body = parseJson(utf8(JSON.stringify({ from: self, content: { type: kind, data } }))) as JsonObject
    const message = readAgentForm('network_broadcast', body)
    if (!message) throw new KithError('BAD_PAYLOAD', `agents have no messages of the kind "${kind}"`)
    if (to !== undefined) return { id: (await broadcasts.tell(to, message.content)).id, recipients: 1 }
    const { id, recipients } = await broadcasts.say(message.content, topic === undefined ? {} : { topic })
    return { id, recipients }
  }

  #view(e: AgentMessageEvent): AgentMessageView {
    return {
      id: e.id,
      from: e.from,
      fromName: this.#deps.nameOf(e.from),
      agentId: e.agentId,
      to: e.targetId,
      via: e.via,
      topic: e.topic,
      ...contentOf(e),
      sentAt: e.sentAt
    }
  }
}

function contentOf({ content, agentId }: AgentMessageEvent): { readonly kind: string; readonly data: Record<string, unknown> } {
  if (content.kind === 'network_state' || content.kind === 'block_proposal' || content.kind === 'consensus_vote')
    return { kind: content.kind, data: plain(content.body) as Record<string, unknown> }
  const { type, data } = agentForm({ agentId, targetId: '', content }).body['content'] as { readonly type: string; readonly data?: object }
  return { kind: type, data: { ...data } as Record<string, unknown> }
}

/** Bytes as hex, so that JSON can carry them. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value].map(b => b.toString(16).padStart(2, '0')).join('')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
  return value
}
