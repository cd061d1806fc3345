/**
 * The one error class. Callers compare `code`, never messages or class names.
 *
 * Codes are listed in each folder's `errors.ts`; `hint` says what a person can do next and is shown by the CLI and the API.
 */
export type ErrorData = Readonly<Record<string, string | number | boolean>>

export interface KithErrorOptions extends ErrorOptions {
  /** What the user can do about it: one sentence. */
  readonly hint?: string
}

export class KithError<C extends string = string> extends Error {
  override readonly name: string = 'KithError'
  readonly code: C
  readonly data: ErrorData
  readonly hint: string | undefined
  constructor(code: C, message: string, data: ErrorData = {}, options: KithErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.data = data
    this.hint = options.hint
  }
}

/** True when `error` is a KithError with exactly this code. */
export const hasCode = (error: unknown, code: string): boolean => error instanceof KithError && error.code === code

/** The code of any thrown value: a KithError's own, a system error's (`ECONNREFUSED`), else `INTERNAL`. */
export function codeOf(error: unknown): string {
  if (error instanceof KithError) return error.code
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : 'INTERNAL'
}

/** One line of text for a log or a screen; control characters are replaced, so remote text cannot move the cursor. */
export function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '�').slice(0, 500)
}

/** A path from the root, as errors of files and stores name one. */
const OWN_PATH = /(?:^|[\s"'(])(?:\/[^\s/]+\/|[A-Za-z]:\\|\\\\)/

/** The message of an error of ours as others may read it: nothing of the folders of this machine, whose names tell who uses it. */
export const toldMessageOf = ({ message }: KithError): string =>
  OWN_PATH.test(message) ? 'this node cannot do that at the moment' : message

/** The same as one line, as `textOf`. */
export const toldTextOf = (error: KithError): string => textOf(toldMessageOf(error))

/** What the user can do about any thrown value, in one sentence; undefined when nobody knows. */
export const hintOf = (error: unknown): string | undefined => (error instanceof KithError ? error.hint : FOREIGN_HINTS[codeOf(error)])

/** For errors of the system, and for faults of ours. */
const FOREIGN_HINTS: Readonly<Record<string, string>> = {
  INTERNAL: 'this is a bug; run again with --log-level debug to see more',
  EMFILE: 'this process may open too few files: ulimit -n 1024, then run it again',
  ENFILE: 'the machine has too many files open: end other programs',
  ENOSPC: 'make room on the disk, then run it again',
  EDQUOT: 'your quota on this disk is used up: make room, then run it again',
  EROFS: 'that disk can only be read: choose another folder',
  EACCES: 'look at the permissions of that file or folder',
  EPERM: 'look at the permissions of that file or folder'
}
