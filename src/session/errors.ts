/** Error codes of this folder. Readers of `wire` add theirs (MALFORMED, INVALID_SIGNATURE, UNKNOWN_SENDER, …). */
export const sessionErrors = {
  INVALID_VERSION: 'no version of messages is spoken on both sides, or a message has another than its session',
  INVALID_SIGNATURE: 'a message or the answer to a challenge is not signed by whom it should be',
  DECRYPTION_FAILED: 'keys could not be agreed on, or a message does not decrypt; why is not said',
  DOWNGRADE: 'a message that should be encrypted is not; the session has ended',
  IDENTITY_MISMATCH: 'a certificate, key or PeerId belongs to somebody else than the sender',
  MISROUTED: 'a message is for somebody else',
  SESSION_EXPIRED: 'there is no such session of this sender, or its time is over',
  SEQUENCE_ERROR: 'a message comes before it may, or too far ahead',
  REPLAY_DETECTED: 'a message was received before, or is older than what was',
  NONCE_REUSE: 'the peer encrypted two messages under one nonce; the session has ended',
  CLOCK_SKEW: 'a message is dated too far from our time, which is in the data',
  RATE_LIMITED: 'more handshakes than one may begin',
  UNKNOWN_PREKEY: 'a sealed message names a prekey that is not kept (any more)',
  EXPIRED: 'a prekey may not be used (any more)'
} as const
