/** What the standing of peers in the peer book means for the parts of messaging. */
import { systemClock } from '../../base/clock.ts'
import type { LegacyPeers } from '../../messaging/legacy.ts'
import type { Host } from '../../net/host.ts'
import type { PeerBook } from '../../trust/types.ts'

/** A ban holds for every protocol of the host, and for as long as it is one: until the stack is disposed of. */
export function refuseBanned(stack: AsyncDisposableStack, host: Pick<Host, 'refuse' | 'hangUp'>, book: PeerBook): void {
  stack.use(host.refuse(peerId => book.isRefused(peerId)))
  const over = new AbortController()
  stack.defer(() => over.abort())
  book.scores.onBanned(who => {
    if ('entityId' in who) for (const peerId of book.peer(who.entityId)?.peerIds ?? []) host.hangUp(peerId)
    else if (who.addressKey.startsWith('peer ')) host.hangUp(who.addressKey.slice('peer '.length))
  }, over.signal)
}

/** Whether the user verified or named a peer, or granted it something. */
export function isChosen(book: PeerBook, entityId: string): boolean {
  const peer = book.peer(entityId)
  return peer?.verified === true || peer?.name !== undefined || book.grants(entityId).length > 0
}

/** Who may use the old form of messages: whom the user allowed it, until it is met over libp2p or a session, which speak 1.1. */
export const legacyPeers = (book: PeerBook, isConnected: (id: string) => boolean): LegacyPeers => ({
  allowed: () => book.peers(1000).flatMap(p => (p.allowsLegacy ? [p.entityId] : [])),
  speaksNewer: id => (book.peer(id)?.peerIds.length ?? 0) > 0 || isConnected(id)
})

/** The same answer for a second: it is asked for each message. */
export function forASecond(ask: (id: string) => boolean): (id: string) => boolean {
  const answers = new Map<string, boolean>()
  let since = Number.NEGATIVE_INFINITY
  return id => {
    const now = systemClock.monotonic()
    if (now - since > 1000) {
      answers.clear()
      since = now
    }
    const known = answers.get(id) ?? ask(id)
    answers.set(id, known)
    return known
  }
}
