/** Error codes that the API itself gives; those of the node pass through unchanged. */
export const apiErrors = {
  API_HOST_REFUSED: 'the Host of a request is not this listener: another site may be behind it',
  API_ORIGIN_REFUSED: 'a web page of another origin sent the request',
  API_TOKEN_MISSING: 'the request carries no bearer token',
  API_TOKEN_WRONG: 'the bearer token is not the one of this node',
  API_TOKEN_IN_URL: 'a token in a URL ends up in logs and histories, so it is refused even when it is right',
  API_TOO_MANY_ATTEMPTS: 'too many wrong tokens within a minute',
  API_CONTENT_TYPE: 'the body is not declared as application/json',
  API_BODY_TOO_LARGE: 'the body is above 64 KiB',
  BAD_REQUEST: 'the path, query or body of a request does not fit the schema',
  UNKNOWN_ROUTE: 'there is no such path',
  METHOD_NOT_ALLOWED: 'the path exists, but not with this method',
  UNKNOWN_DOWNLOAD: 'no download has this id',
  API_BUSY: 'too many event streams or hashing jobs at once',
  API_NOT_LOOPBACK: 'the API listens on loopback addresses only',
  API_PORT_IN_USE: 'another program listens on the port asked for',
  NODE_UNREACHABLE: 'the node does not answer, or closed the connection',
  API_TIMEOUT: 'the node took too long to answer; what was asked may still happen',
  API_ANSWER: 'the answer is not what an API of this version sends',
  INTERNAL: 'a fault in the program; the log has the details'
} as const
