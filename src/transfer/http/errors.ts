/** Error codes of this folder and of ../address-filter.ts; those that every protocol shares are in ../errors.ts. */
export const httpErrors = {
  URL_FORBIDDEN: 'a URL that is not followed: another scheme, a user name, a service port, a spelling made to deceive',
  FORBIDDEN_ADDRESS: 'an address that is not followed: private, local, or of no use',
  ENCODING_FORBIDDEN: 'the server compressed or transformed the bytes that were asked for as they are',
  SOURCE_CHANGED: 'the file on the server is no longer the one that was probed',
  TICKET_REFUSED: 'the seeder does not know this ticket (any more); ask for a new one',
  REDIRECT_FORBIDDEN: 'a redirect that is not followed: too many, to plain http, or to a private address',
  HTTP_STATUS: 'a URL answered with a status that is not success',
  HTTP_HEAD: 'the head of an answer is malformed or too large',
  HTTP_RANGE: 'a Range header is malformed',
  PROXY_INVALID: 'the proxy setting is not http://host:port',
  PROXY_REFUSED: 'the proxy wants other credentials',
  HTTP_LISTEN: 'the listener could not be opened'
} as const
