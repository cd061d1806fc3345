/** What users see of messages, tasks, peers and grants: entities get the names that the user gave them. */
import type { TaskView as OwnTask } from '../../agents/types.ts'
import { utf8 } from '../../base/bytes.ts'
import type { PeerStats } from '../../messaging/peer-figures.ts'
import type { EntityId, IncomingMessage, SentMessage } from '../../messaging/types.ts'
import type { Grant, PeerBook, PeerRecord } from '../../trust/types.ts'
import type * as T from '../ask-types.ts'
import { LISTED_TEXT_CHARS } from '../limits.ts'
import type { AskParts } from './ask-parts.node.ts'
import { longTextOf } from './long-texts.ts'
import type { SealedTexts } from './sealed-texts.node.ts'

export interface AskViewsDeps {
  readonly book: PeerBook
  readonly texts: Pick<SealedTexts, 'whole' | 'head'>
  nameOf(id: EntityId): string | undefined
  isConnected(id: EntityId): boolean
}

export class AskViews {
  readonly #deps: AskViewsDeps
  constructor(deps: AskViewsDeps) {
    this.#deps = deps
  }

  /** One that came. @param isWhole all of a long text; else its beginning */
  received(m: IncomingMessage, isWhole = false): T.MessageView {
    const long = longTextOf(m.body) && this.#longText(m, isWhole)
    const shown = shownOf(m.body, isWhole)
    return {
      id: m.id,
      direction: 'in',
      peer: m.from,
      peerName: this.#deps.nameOf(m.from),
      type: m.type,
      text: long ? long.text : shown.text,
      textBytes: long ? long.bytes : shown.textBytes,
      body: shown.body as Record<string, unknown>,
      file: long ? undefined : fileOf(m.body),
      state: 'received',
      reason: undefined,
      retry: undefined,
      legacy: m.via === 'legacy',
      group: undefined,
      createdAt: m.receivedAt,
      changedAt: m.receivedAt
    }
  }
  #longText({ from, id }: IncomingMessage, isWhole: boolean): { readonly text: string; readonly bytes: number | undefined } | undefined {
    try {
      const whole = isWhole ? this.#deps.texts.whole(from, id) : undefined
      if (whole !== undefined) return { text: whole, bytes: undefined }
      const head = isWhole ? undefined : this.#deps.texts.head(from, id)
      return head && { text: head.text, bytes: head.bytes }
    } catch {
      return undefined // damaged: its link is shown, as if it had not been fetched
    }
  }
  /** One of ours, with what was kept of it. */
  sent(m: SentMessage, body: IncomingMessage['body'] = {}, isWhole = false): T.MessageView {
    const shown = shownOf(body, isWhole)
    return {
      id: m.id,
      direction: 'out',
      peer: m.to,
      peerName: this.#deps.nameOf(m.to),
      type: m.type,
      text: shown.text,
      textBytes: shown.textBytes,
      body: shown.body as Record<string, unknown>,
      file: fileOf(body),
      state: m.state,
      reason: m.reason,
      retry: m.retry,
      legacy: false,
      group: undefined,
      createdAt: m.createdAt,
      changedAt: m.changedAt
    }
  }
  /** One that was given or taken. */
  task(t: OwnTask): T.TaskView {
    return {
      id: t.id,
      role: t.role,
      peer: t.peer,
      peerName: this.#deps.nameOf(t.peer),
      skill: t.skill,
      description: t.description,
      state: t.state,
      progress: t.state === 'IN_PROGRESS' ? t.progress : undefined,
      note: t.note === '' ? undefined : t.note,
      output: t.output,
      file: t.outputFile,
      error: t.error,
      createdAt: t.createdAt,
      deadline: t.deadline,
      finishedAt: t.finishedAt,
      attempts: t.attempts
    }
  }
  /** @param stats of its links; undefined: there were none */
  peer(p: PeerRecord, stats: PeerStats | undefined): T.KnownPeerView {
    const { book, isConnected } = this.#deps
    const { score, standing } = book.scores.view({ entityId: p.entityId })
    return {
      entityId: p.entityId,
      name: p.name,
      peerIds: p.peerIds,
      addresses: p.addresses,
      connected: isConnected(p.entityId),
      verified: p.verified,
      banned: standing === 'banned',
      score,
      capabilities: p.capabilities,
      status: p.status,
      firstSeen: p.firstSeen,
      lastSeen: p.lastSeen,
      sentMessages: stats?.sent ?? 0,
      receivedMessages: stats?.received ?? 0,
      latencyMs: stats?.ackP50Ms,
      grants: book.grants(p.entityId).map(g => g.what)
    }
  }
  /** `to` may be everybody: "*". */
  grant({ to, what, createdAt }: Grant): T.GrantView {
    return { to, name: to === '*' ? undefined : this.#deps.nameOf(to), what, createdAt }
  }
}

/** What the monitor measures, as spec 003 names it. */
export function networkView(monitor: AskParts['monitor']): T.NetworkView {
  const m = monitor.collect()
  const { p50_ms, p99_ms } = m.message_latency
  const { in_bytes_per_second, out_bytes_per_second } = m.bandwidth_usage
  return {
    connected_peers: m.connected_peers,
    message_latency: { p50_ms: p50_ms ?? undefined, p99_ms: p99_ms ?? undefined },
    bandwidth_usage: { in_bytes_per_second, out_bytes_per_second },
    agent_distribution: m.agent_distribution,
    network_load: { ...m.network_load }
  }
}

/** A text and its body; not whole: at most the beginning of a long one, so that a list of them stays small. */
function shownOf(body: IncomingMessage['body'], isWhole: boolean): Pick<T.MessageView, 'text' | 'textBytes'> & { readonly body: object } {
  const text = textOf(body)
  if (isWhole || text === undefined || text.length <= LISTED_TEXT_CHARS) return { text, textBytes: undefined, body }
  return { text: text.slice(0, LISTED_TEXT_CHARS).toWellFormed(), textBytes: utf8(text).length, body: {} }
}

function textOf(body: IncomingMessage['body']): string | undefined {
  const content = body['content'] as { readonly type?: unknown; readonly data?: { readonly text?: unknown } } | undefined
  return content?.type === 'text' && typeof content.data?.text === 'string' ? content.data.text : undefined
}

function fileOf(body: IncomingMessage['body']): T.MessageView['file'] {
  const content = body['content'] as { readonly data?: { readonly file?: { readonly [key: string]: unknown } } } | undefined
  const { link, name, size } = content?.data?.file ?? {}
  return typeof link === 'string' && typeof name === 'string' && typeof size === 'number' ? { link, name, size } : undefined
}
