/** Exit codes of the commands. docs/cli.md shows them to users; scripts may rely on them. */
export const exitCodes = {
  ok: 0,
  /** Anything that has no number of its own. */
  failed: 1,
  /** The command line, or something given in it, does not make sense. */
  usage: 2,
  /** The file, share, download or receipt does not exist, or nobody has it. */
  notFound: 3,
  /** Over budget, no funds, no wallet, or a payment that did not go through. */
  payment: 4,
  /** Bytes, proofs or signatures that do not match. */
  integrity: 5,
  /** Disk full, damaged store, key files with wrong modes, forbidden paths. */
  store: 6,
  /** Nobody answers: peers, the node's API, the chain's RPC. */
  network: 7,
  /** Something this needs is absent or taken: another process holds the home, no chain binary. As sysexits' EX_UNAVAILABLE. */
  unavailable: 69,
  hangup: 129,
  interrupted: 130,
  terminated: 143
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** The exit code of an error code. */
export function exitCodeOf(code: string): ExitCode {
  const exact = EXACT[code]
  if (exact !== undefined) return exitCodes[exact]
  for (const [pattern, kind] of PATTERNS) if (pattern.test(code)) return exitCodes[kind]
  return exitCodes.failed
}

type Kind = keyof typeof exitCodes

const EXACT: Readonly<Record<string, Kind>> = {
  USAGE: 'usage',
  NO_TTY: 'usage',
  API_BODY_TOO_LARGE: 'usage',
  INVALID_ADDRESS: 'usage',
  NOT_A_FILE: 'usage',
  AMBIGUOUS_ID: 'usage',
  FILE_EMPTY: 'usage',
  FILE_NOT_FOUND: 'notFound',
  NO_SOURCE: 'notFound',
  NO_SOURCES: 'notFound',
  NO_PHRASE: 'notFound',
  NO_ROOT: 'notFound',
  UNKNOWN_PROTOCOL: 'usage',
  PROXY_INVALID: 'usage',
  URL_FORBIDDEN: 'usage',
  FORBIDDEN_ADDRESS: 'usage',
  BENCODE_ERROR: 'usage',
  FREE_ONLY: 'usage',
  WRONG_KEY: 'usage',
  NOT_ENCRYPTED: 'usage',
  DECRYPTION_FAILED: 'integrity',
  OVER_BUDGET: 'payment',
  OVERCHARGE: 'payment',
  LOW_FUNDS: 'payment',
  WRONG_CHAIN: 'payment',
  RPC_REFUSED: 'payment',
  FEE_TOO_HIGH: 'payment',
  INVOICE_TOO_LARGE: 'payment',
  SETTLEMENT_MISMATCH: 'payment',
  UNDERPAID: 'payment',
  ALREADY_USED: 'payment',
  NOT_CONFIRMED: 'payment',
  HASH_MISMATCH: 'integrity',
  FILE_CHANGED: 'integrity',
  SOURCE_LIED: 'integrity',
  INVALID_OFFER: 'integrity',
  INVALID_PROOF: 'integrity',
  INVALID_CERTIFICATE: 'integrity',
  INVALID_SIGNATURE: 'integrity',
  WIRE_SIGNATURE: 'integrity',
  BAD_KEYSTORE: 'store',
  DISK_FAILED: 'store',
  DISK_FULL: 'store',
  PATH_FORBIDDEN: 'store',
  EMFILE: 'unavailable',
  ENFILE: 'unavailable',
  ENOSPC: 'store',
  EDQUOT: 'store',
  EROFS: 'store',
  EACCES: 'store',
  EPERM: 'store',
  ENOENT: 'notFound',
  RPC_ERROR: 'network',
  PROXY_REFUSED: 'network',
  HTTP_STATUS: 'network',
  HTTP_HEAD: 'network',
  REDIRECT_FORBIDDEN: 'network',
  NODE_UNREACHABLE: 'network',
  API_TIMEOUT: 'network',
  API_PORT_IN_USE: 'unavailable',
  EADDRINUSE: 'unavailable',
  ALREADY_RUNNING: 'unavailable',
  API_BUSY: 'unavailable',
  DOWNLOAD_RUNNING: 'unavailable',
  TOO_MANY_DOWNLOADS: 'unavailable',
  CHAIN_RUNNING: 'unavailable',
  CHAIN_START_FAILED: 'unavailable',
  CHAIN_BINARY_MISSING: 'unavailable',
  CANCELLED: 'interrupted',
  INTERRUPTED: 'interrupted'
}

const PATTERNS: readonly (readonly [RegExp, Kind])[] = [
  [/^UNKNOWN_/, 'notFound'],
  [/^(PAYMENT|WALLET|RECEIPT)/, 'payment'],
  [/MISMATCH|CORRUPT_CHUNK/, 'integrity'],
  [/^(STORE|KEY_FILE|IDENTITY|PART)_/, 'store'],
  [/PORT_IN_USE|BINARY_MISSING$|LISTEN|_UNAVAILABLE$/, 'unavailable'],
  [/UNREACHABLE|TIMEOUT|^(PEER|SOURCE)_|^E(CONN|HOST|NET|TIMEDOUT|PIPE|AI_)/, 'network'],
  [/^(BAD|WIRE)_/, 'usage']
]
