/**
 * What a fault costs (threats §B), and whom. A code that may come of a restart, a slow clock, a full disk or of somebody in between costs
 * nothing: an honest peer must not lose its standing by what others do.
 */
import type { Penalty } from '../trust/scores.ts'

const COSTS: ReadonlyMap<string, Penalty> = new Map([
  // Nobody does this by mistake, and only with the keys of the session.
  ['DOWNGRADE', 'fatal'],
  ['NONCE_REUSE', 'fatal'],
  ['IDENTITY_MISMATCH', 'fatal'],
  ['DECRYPTION_FAILED', 'low'],
  ['INVALID_SIGNATURE', 'low'],
  ['REPLAY_DETECTED', 'low'],
  ['TOO_DEEP', 'low'],
  ['TOO_LARGE', 'low'],
  ['MALFORMED_JSON', 'low'],
  ['MALFORMED', 'mid'],
  ['BAD_PAYLOAD', 'mid'],
  ['UNKNOWN_SENDER', 'mid'],
  ['UNKNOWN_TASK', 'mid'],
  ['SEQUENCE_ERROR', 'mid'],
  ['MISROUTED', 'mid'],
  ['UNSUPPORTED', 'high'],
  ['INVALID_VERSION', 'high'],
  ['NOT_AUTHORISED', 'high'],
  ['NOT_MEMBER', 'high'],
  ['PEER_PROTOCOL', 'mid'],
  ['PEER_TIMEOUT', 'high']
])

/** undefined: nobody's fault, or not known whose. */
export const costOf = (code: string): Penalty | undefined => COSTS.get(code)
