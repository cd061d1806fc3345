/** What this node says of itself in the registry: what it can do, for whom it relays, who keeps its messages. */
import type { Tasks } from '../../agents/types.ts'
import type { PeerRegistry } from '../../discovery/peer-registry.ts'
import type { PeerBook } from '../../trust/types.ts'

/** @returns publishes the record with this prekey, and answers for those whose messages are kept here */
export function recordTeller({
  book,
  registry,
  tasks
}: {
  readonly book: PeerBook
  readonly registry: PeerRegistry
  readonly tasks: Pick<Tasks, 'skills'>
}): (prekey: Uint8Array) => Promise<void> {
  const keepers = new Set<string>()
  return async prekey => {
    // Those whose messages are kept here are found by asking this node.
    const owners = new Set(book.grants().flatMap(g => (g.what === 'mailbox' && g.to !== '*' ? [g.to] : [])))
    for (const id of keepers) if (!owners.has(id)) await registry.keep(id, { keep: false })
    for (const id of owners) await registry.keep(id, { answerFor: true })
    keepers.clear()
    for (const id of owners) keepers.add(id)
    const via = book.peers(1000).filter(p => p.isMailbox && p.peerIds[0] !== undefined)
    const relaysFor = book.grants('*').some(g => g.what === 'relay')
      ? 'everyone'
      : book.grants().some(g => g.what === 'relay')
        ? 'contacts'
        : 'nobody'
    await registry.publish({
      relaysFor,
      prekey,
      capabilities: tasks.skills().map(s => `task:${s.name}`),
      via: via.map(p => ({ peerId: p.peerIds[0]!, entityId: p.entityId }))
    })
  }
}
