/** Why a message waits, in words for whoever sent it. The codes are for programs. */
import type { SentMessage } from '../types.ts'

type Reason = NonNullable<SentMessage['reason']>

const REFUSED: Readonly<Record<string, string>> = {
  RATE_LIMITED: 'they take no more messages from this node for the moment',
  QUEUE_FULL: 'their node has no room for more for the moment',
  DISK_FULL: 'their disk is full',
  INTERNAL: 'their node could not store it'
}
const NOT_REACHED: Readonly<Record<string, string>> = {
  PEER_UNREACHABLE: 'they cannot be reached',
  UNKNOWN_PEER: 'nobody this node is connected to knows where they are',
  PEER_TIMEOUT: 'their node does not answer',
  PEER_SILENT: 'their node does not answer',
  PEER_PROTOCOL: 'the connection to them broke',
  STREAM_CLOSED: 'the connection to them broke',
  LINK_REPLACED: 'the connection to them is made anew',
  IDENTITY_MISMATCH: 'somebody else answers at their address',
  CIRCUIT_OPEN: 'they could not be reached many times in a row',
  TOO_MANY_LINKS: 'this node has as many connections as it may',
  BANNED: 'you have banned them, or they have misbehaved'
}

/** The recipient has put it off. */
export const putOffReason = (code: string): Reason => ({ code, message: REFUSED[code] ?? 'their node does not take it for the moment' })

/** The recipient is not there. `message`: what is said of a code that is not known here. */
export const notReachedReason = (code: string, message: string): Reason => ({ code, message: NOT_REACHED[code] ?? message })

/** Nor can it be left with somebody else. @param code why not */
export const notCarriedReason = ({ code, message }: Reason, why: string): Reason =>
  why === 'NO_PREKEY'
    ? { code, message: `${message}, and no key is known with which it could be sealed and left with others` }
    : { code, message }
