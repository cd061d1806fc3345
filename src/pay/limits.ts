/** Every number of this folder that a peer, an RPC endpoint or a file could otherwise choose. */

/** An answer of an RPC endpoint. */
export const MAX_RPC_RESPONSE_BYTES: number = 1024 * 1024
/** One RPC call, from dialling to the last byte. */
export const RPC_TIMEOUT_MS = 10_000
/** Nesting of JSON from an RPC endpoint or in a keystore. */
export const MAX_JSON_DEPTH = 16
/** Logs read from one transaction receipt. */
export const MAX_LOGS = 512
/** Deployed code of a contract, EIP-170. */
export const MAX_CODE_BYTES = 24_576

/** Payees in one settlement: 32 × 95,000 + 50,000 gas fits spec 004's 4,700,000 even if every payee burns all it gets. */
export const MAX_PAYEES = 32
/** Receipts in one invoice. */
export const MAX_INVOICE_RECEIPTS = 128
/** Chunk ranges in one part of a receipt we write; more become a further receipt. */
export const MAX_RECEIPT_RANGES = 2048
/** Chunks in one receipt we write (16 GiB), so that its proof stays below 6 MiB of JSON. */
export const MAX_RECEIPT_CHUNKS = 65_536
/** Transactions tried for one invoice. */
export const MAX_ATTEMPTS = 5

/** Keystore v3 file. */
export const MAX_KEYSTORE_BYTES: number = 64 * 1024
export const MAX_SCRYPT_N: number = 2 ** 18
/** scrypt's memory: 128 × N × r. */
export const MAX_SCRYPT_BYTES: number = 256 * 1024 * 1024
export const MAX_PBKDF2_ROUNDS = 10_000_000

/** Request bodies of our two RPC methods, and how often a peer may call them. */
export const MAX_RECEIPT_REQUEST_BYTES: number = 256 * 1024 + 128
export const MAX_PAID_REQUEST_BYTES: number = 16 * 1024
export const PAY_RPC_PER_SECOND = 10
/** Countersignatures are asked for this long: the seeder may be dead, and paying does not wait for it. */
export const COUNTERSIGN_TIMEOUT_MS = 3_000
export const TELL_TIMEOUT_MS = 15_000
/** Open receipts kept of one payer that has not paid them. */
export const MAX_OPEN_RECEIPTS_PER_PAYER = 1024
/** Chain look-ups that `paid` requests may have under way at once. */
export const MAX_PAYMENT_CHECKS = 16

/** Unpaid bytes a stranger may take (DESIGN §7): per (PeerId, wallet), and per address whatever the identity. */
export const CREDIT_BYTES: number = 1024 * 1024
/** The same for all strangers of one day together. */
export const DAILY_STRANGER_CREDIT_BYTES: number = 64 * 1024 * 1024
/** What credit may grow to. */
export const MAX_CREDIT_BYTES: number = 64 * 1024 * 1024
/** Credit is made durable in steps, so that serving does not wait for the disk at every chunk; a crash costs at most one step. The smallest, … */
export const CREDIT_STEP_BYTES: number = 512 * 1024
/** … and the largest, for credit of 1 GiB and more. */
export const MAX_CREDIT_STEP_BYTES: number = 16 * 1024 * 1024
/** Accounts in memory; the one unused longest is written and dropped. */
export const MAX_LIVE_ACCOUNTS = 4096
/** How long an address is remembered for what its strangers left unpaid. */
export const ADDRESS_MEMORY_MS: number = 24 * 60 * 60 * 1000

/** Depth at which a payment is final; until then it is watched for reorgs. */
export const FINAL_DEPTH = 12
/** How long payees that cannot be reached are told about a payment. */
export const TELL_FOR_MS: number = 7 * 24 * 60 * 60 * 1000
