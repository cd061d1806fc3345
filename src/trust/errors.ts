/** Error codes of this folder. */
export const trustErrors = {
  BAD_ENTITY: 'not an id of a peer: did:key of an Ed25519 key is expected',
  BAD_ALIAS: 'not a name that a peer can be given',
  ALIAS_TAKEN: 'another peer has this name',
  BAD_GRANT: 'not something that can be granted',
  TOO_MANY_GRANTS: 'there are as many grants as there may be'
} as const
