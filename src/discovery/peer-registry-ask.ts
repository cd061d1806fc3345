/** Asks peers for records, one request each, and answers such requests for this instance. Nothing here believes an answer. */
import type { Clock } from '../base/clock.ts'
import { decode, encode } from '../base/codec.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { PeerTarget, Rpc } from '../net/rpc.ts'
import { PEER_RECORD_METHOD, type PeerRecordRequest, peerRecordRequest } from '../wire/peer-record-request.ts'
import { RECORD_QUESTIONS_BURST, RECORD_QUESTIONS_PER_SECOND, RECORD_TIMEOUT_MS } from './limits.ts'
import { type CheckedRecord, checkPeerRecord, MAX_SIGNED_RECORD_BYTES } from './peer-registry-check.ts'

export interface AskDeps {
  readonly clock: Clock
  readonly rpc: Rpc
}

/**
 * The record that a peer tells, checked; undefined when it knows none.
 * @throws BAD_RECORD, INVALID_CERTIFICATE, any WIRE_ code, PEER_UNREACHABLE, PEER_TIMEOUT, PEER_PROTOCOL, PEER_REFUSED, RATE_LIMITED
 */
export async function askForRecord(
  { clock, rpc }: AskDeps,
  target: PeerTarget,
  request: PeerRecordRequest,
  signal: AbortSignal
): Promise<CheckedRecord | undefined> {
  // Each further peer takes time of its own.
  const timeoutMs = RECORD_TIMEOUT_MS * (1 + ('depth' in request ? request.depth : 0) / 2)
  const options = { maxResponseBytes: MAX_SIGNED_RECORD_BYTES, timeoutMs, signal }
  const bytes = await rpc.request(target, PEER_RECORD_METHOD, encode(peerRecordRequest, request), options)
  return bytes.length === 0 ? undefined : checkPeerRecord(bytes, clock.now())
}

export interface RecordAnswers {
  /** This instance's own, encoded. */
  own(): Uint8Array
  /** Somebody asks who we are, and says of which sequence its own record is. */
  asked(peerId: string, sequence: number): void
  /** Of an instance by its key, as far as it is known here. */
  known(key: Uint8Array): Uint8Array | undefined
  /** Asks others; not the peer who asks. */
  search(key: Uint8Array, depth: number, asker: string, signal: AbortSignal): Promise<Uint8Array | undefined>
}

/** Answers `peer-record` until disposed. What costs requests to others is limited for all askers together. */
export function serveRecords({ clock, rpc }: AskDeps, answers: RecordAnswers): Disposable {
  const searches = new TokenBucket(clock, RECORD_QUESTIONS_PER_SECOND, RECORD_QUESTIONS_BURST)
  const none = new Uint8Array()
  return rpc.handle(PEER_RECORD_METHOD, { maxRequestBytes: 64, perSecond: 10 }, async (body, { peerId, signal }) => {
    const request = decode(peerRecordRequest, body)
    if ('sequence' in request) {
      answers.asked(peerId, request.sequence)
      return answers.own()
    }
    const known = answers.known(request.key)
    if (known) return known
    if (request.depth === 0 || !searches.tryTake()) return none
    return (await answers.search(request.key, request.depth - 1, peerId, signal)) ?? none
  })
}
