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
  INVALID_PROOF: 'a Merkle proof or hash page does not belong to the root'
} as const
