/** Errors of the API: RFC 9457 problem documents with the code and hint of a KithError. */
import { codeOf, KithError, textOf } from '../base/errors.ts'

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly hint?: string
}

/** `detail` must be our own words, or cleaned by `textOf`. */
export function problem(status: number, code: string, detail: string, hint?: string): Problem {
  const title = TITLES[status] ?? 'Error'
  return { type: `urn:kith:error:${code}`, title, status, code, detail, ...(hint === undefined ? {} : { hint }) }
}

/** What a client hears about something thrown. Faults of ours become INTERNAL without their text. */
export function problemOf(error: unknown): Problem {
  if (error instanceof KithError) return problem(statusOf(error.code), error.code, textOf(error), error.hint)
  const code = codeOf(error)
  // A system error (EACCES, ENOENT) says what the user can mend; any other is a bug and stays in the log.
  if (/^E[A-Z0-9]{2,}$/.test(code)) return problem(500, code, textOf(error))
  return problem(500, 'INTERNAL', 'a fault in the node', 'its log has the details')
}

/** The status of a code; 500 for those not listed. */
export function statusOf(code: string): number {
  return STATUS[code] ?? (code.startsWith('UNKNOWN_') ? 404 : code.startsWith('BAD_') || code.startsWith('WIRE_') ? 400 : 500)
}

const STATUS: Readonly<Record<string, number>> = {
  FILE_NOT_FOUND: 404,
  NOT_A_FILE: 400,
  FILE_EMPTY: 400,
  INVALID_ADDRESS: 400,
  PATH_FORBIDDEN: 403,
  METHOD_NOT_ALLOWED: 405,
  PAYMENTS_OFF: 402,
  OVER_BUDGET: 402,
  LOW_FUNDS: 402,
  DOWNLOAD_RUNNING: 409,
  WALLET_EXISTS: 409,
  ALREADY_RUNNING: 409,
  TOO_MANY_DOWNLOADS: 503,
  API_BODY_TOO_LARGE: 413,
  API_BUSY: 503,
  PAYMENT_FAILED: 502,
  RPC_ERROR: 502,
  WRONG_CHAIN: 502,
  CHAIN_UNREACHABLE: 502,
  DISK_FAILED: 507,
  DISK_FULL: 507
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  507: 'Insufficient Storage'
}
