/** Error codes of readers in this folder. A reader throws nothing else. */
export const wireErrors = {
  WIRE_TRUNCATED: 'the message ends before a field does',
  WIRE_TRAILING: 'bytes are left after the message',
  WIRE_RANGE: 'a number or length is outside its limits',
  WIRE_TEXT: 'text is not well-formed UTF-8 or holds forbidden characters',
  WIRE_VERSION: 'the layout has a version this program does not know',
  WIRE_SIGNATURE: 'a signature does not match the received bytes',
  BAD_PRICE: 'a price or amount is not a decimal string of wei',
  BAD_LINK: 'not an address Kith understands',
  NOT_ENCRYPTED: 'a file is not one that Kith encrypted',
  BAD_KDF: 'an encrypted file names key parameters that are not used',
  INVALID_PROOF: 'a Merkle proof or hash page does not belong to the root',
  MALFORMED_JSON: 'not JSON as strict-json.ts reads it',
  TOO_DEEP: 'JSON is nested too deeply',
  TOO_LARGE: 'a message, or a part of one, is larger than its limit',
  MALFORMED: 'a field of a message is missing or has a wrong form',
  BAD_PAYLOAD: 'the payload of a message is not one of its type',
  INVALID_VERSION: 'a message has a version that is not spoken here',
  INVALID_SIGNATURE: 'a message has no signature of its sender',
  UNKNOWN_SENDER: 'a message does not say by a did:key of Ed25519 who sends it',
  SEQUENCE_ERROR: 'the sequence number of a message is not one that may follow',
  UNSUPPORTED: 'a message is of a kind, or asks for an extension, that is not known here'
} as const
