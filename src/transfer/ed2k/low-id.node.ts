/**
 * Clients that cannot be connected to, as a server names them: by a low id. The server has them connect to us instead, and their hello says
 * the same id. Spec: docs/wire/ed2k.md §10
 */
import { equalBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { type Hello, HIGH_ID_FROM } from './hello.ts'
import { CALLBACK_MS } from './limits.ts'
import { type Ed2kPeer, peerKey } from './peers.ts'
import type { PeerSession } from './session.node.ts'

/** What a server calls a client, and which server: as in its hello. */
export interface LowId {
  readonly lowId: number
  readonly serverIp: number
  readonly serverPort: number
}

/** Such a client that may have a file. */
export interface LowIdPeer extends LowId {
  /** 16 bytes, when the server said it. */
  readonly userHash?: Uint8Array | undefined
  /** Has the server tell it to connect to us; false when the server cannot be asked now. */
  call(): boolean
}

export type FoundPeer = Ed2kPeer | LowIdPeer

export const isLowId = (peer: FoundPeer): peer is LowIdPeer => 'lowId' in peer

/** Key in maps and logs: "192.0.2.1:4662" or "low id 5 of 16777343:4661". */
export const foundKey = (peer: FoundPeer): string =>
  isLowId(peer) ? `low id ${peer.lowId} of ${peer.serverIp}:${peer.serverPort}` : peerKey(peer)

/**
 * Whether a hello may be that of this client. A user hash decides alone: servers may have other addresses. Without it the server must be the
 * same, and the id not that of another one who cannot be connected to: aMule with an open port in Kad says its address instead.
 */
export function isHelloOf(hello: Hello, { lowId, serverIp, userHash }: LowId & { readonly userHash?: Uint8Array | undefined }): boolean {
  if (userHash) return equalBytes(hello.userHash, userHash)
  return hello.serverIp === serverIp && (hello.id === lowId || hello.id >= HIGH_ID_FROM)
}

export interface CallBackDeps {
  readonly clock: Clock
  /** The next session that this client opens to us is handed to `take`, until disposed. */
  awaitLowId(peer: LowId & { readonly userHash?: Uint8Array | undefined }, take: (session: PeerSession) => void): Disposable
}

/** A connection that a client has made to us, or is told to make now. @throws SOURCE_LOST when it does not within 20 s, or `signal` aborts */
export async function callBack({ clock, awaitLowId }: CallBackDeps, peer: LowIdPeer, signal: AbortSignal): Promise<PeerSession> {
  const arrived = Promise.withResolvers<PeerSession>()
  arrived.promise.catch(() => {})
  const over = new AbortController()
  const fail = (why: string): void => arrived.reject(new KithError('SOURCE_LOST', why))
  let isHere = false
  const take = (session: PeerSession): void => {
    isHere = true
    arrived.resolve(session)
  }
  using _ = awaitLowId(peer, take)
  const late = clock.sleep(CALLBACK_MS, AbortSignal.any([signal, over.signal])).then(
    () => fail('the client did not connect to us'),
    () => fail('waiting for the client was given up')
  )
  try {
    if (!isHere && !peer.call()) fail('the server cannot be asked now')
    return await arrived.promise
  } finally {
    over.abort()
    await late
  }
}
