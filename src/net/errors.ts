/** Error codes of this folder. */
export const netErrors = {
  PEER_UNREACHABLE: 'no connection to the peer could be made: no permitted address, nobody answers, or it is somebody else',
  PEER_TIMEOUT: 'the peer did not answer in time',
  PEER_PROTOCOL: 'the peer broke the framing or answered more than was asked for',
  PEER_REFUSED: 'the peer answered an error; its code is in data.code',
  RATE_LIMITED: 'the peer wants fewer requests',
  REQUEST_TOO_LARGE: 'a request is larger than the method allows',
  UNKNOWN_METHOD: 'the peer does not know this method',
  METHOD_EXISTS: 'two handlers for one method in this process',
  FORBIDDEN_ADDRESS: 'an address may not be dialled: nobody entitled to named it',
  BAD_ADDRESS: 'not a multiaddr that Kith can use',
  LISTEN_FAILED: 'a port could not be opened',
  STREAM_CLOSED: 'a stream was closed by this side',
  HOST_CLOSED: 'the host has been closed'
} as const
