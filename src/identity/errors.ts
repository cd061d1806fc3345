/** Error codes of this folder. Key files add KEY_FILE_MODE and KEY_FILE_EMPTY (platform/files.node.ts). */
export const identityErrors = {
  IDENTITY_DAMAGED: 'a file of the identity is missing, cut short or does not fit its keys; nothing was replaced',
  IDENTITY_NEWER: 'a newer version of Kith wrote the identity',
  IDENTITY_EXISTS: 'there is an identity already where a restored one should go',
  BAD_PHRASE: 'not a recovery phrase: a word is unknown, the number of words is wrong, or the checksum fails',
  BAD_ID_FILE: 'not an .id.json file',
  BAD_PEER_ID: 'not a libp2p PeerId',
  INVALID_CERTIFICATE: 'a certificate is not signed by whom it should be, or is for somebody else'
} as const
