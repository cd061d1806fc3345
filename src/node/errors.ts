/** Error codes of requests to a node that no part of it could carry out. */
export const nodeErrors = {
  GROUP_EXISTS: 'this node is in a group of this name already',
  BAD_NAME: 'a name is empty or too long',
  BAD_RATE: 'a limit is lower than one chunk in four minutes',
  UNKNOWN_PROTOCOL: 'there is no such protocol, or it cannot fetch this kind of address'
} as const
