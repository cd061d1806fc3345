/** Reading secrets and links: from a file, from stdin, or typed unseen on a terminal. Never from the command line. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { KithError } from '../base/errors.ts'

/** Characters of a line that is read: the longest address. */
const MAX_LINE_CHARS = 256 * 1024

/** The first line of stdin. @throws USAGE when there is none or it is too long */
export async function readStdinLine(): Promise<string> {
  let text = ''
  process.stdin.setEncoding('utf8')
  for await (const part of process.stdin) {
    text += part
    if (text.includes('\n') || text.length > MAX_LINE_CHARS) break
  }
  const line = text.split('\n', 1)[0]?.trim() ?? ''
  if (line === '' || line.length > MAX_LINE_CHARS) throw new KithError('USAGE', 'stdin has no line to read')
  return line
}

/** Bytes of a text on stdin: the longest message. */
const MAX_TEXT_BYTES = 10 * 1024 * 1024

/** All of stdin as text. @throws USAGE when it is empty, too long, or not UTF-8 */
export async function readStdinText(): Promise<string> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of process.stdin) {
    parts.push(part as Buffer)
    size += (part as Buffer).length
    if (size > MAX_TEXT_BYTES)
      throw new KithError('USAGE', 'that text is longer than 10 MiB', {}, { hint: 'share it as a file: kith share FILE' })
  }
  const bytes = Buffer.concat(parts)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new KithError('USAGE', 'stdin is not text', {}, { cause, hint: 'share it as a file: kith share FILE' })
  }
  if (text.trim() === '') throw new KithError('USAGE', 'stdin has no text to read')
  return text
}

/** The secret in the first line of a file that nobody else may read, or of a pipe. @throws FILE_NOT_FOUND, KEY_FILE_MODE, USAGE */
export function readFileLine(path: string): string {
  const text = readOwnText(path)
  const line = text.split('\n', 1)[0]?.trim() ?? ''
  if (line === '' || line.length > MAX_LINE_CHARS) throw new KithError('USAGE', `${path} has no line to read`)
  return line
}

function readOwnText(path: string): string {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    throw new KithError('FILE_NOT_FOUND', `cannot read ${path}`, { path }, { cause })
  }
  try {
    const stat = fstatSync(fd)
    // Windows has no such modes.
    if (stat.isFile() && (stat.mode & 0o077) !== 0 && process.platform !== 'win32')
      throw new KithError('KEY_FILE_MODE', `other users can read ${path}`, { path }, { hint: `chmod 600 '${path}'` })
    return readFileSync(fd, 'utf8')
  } catch (cause) {
    if (cause instanceof KithError) throw cause
    throw new KithError('FILE_NOT_FOUND', `cannot read ${path}`, { path }, { cause })
  } finally {
    closeSync(fd)
  }
}

/** Asks on the terminal without showing what is typed. @throws NO_TTY, INTERRUPTED */
export async function askSecret(question: string, hint: string, signal: AbortSignal): Promise<string> {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) {
    throw new KithError('NO_TTY', 'this asks for a secret, and there is no terminal to ask on', {}, { hint })
  }
  process.stderr.write(question)
  // Without an output the interface echoes nothing, though it edits the line.
  const reader = createInterface({ input: process.stdin, terminal: true })
  reader.on('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  try {
    return (await reader.question('', { signal })).trim()
  } catch (cause) {
    throw new KithError('INTERRUPTED', 'nothing was entered', {}, { cause })
  } finally {
    reader.close()
    process.stderr.write('\n')
  }
}

export interface PassphraseOptions {
  readonly passphrase?: boolean
  readonly passphraseFile?: string
}

/** The passphrase that the options ask for; nothing when they ask for none. @throws NO_TTY, FILE_NOT_FOUND, USAGE, INTERRUPTED */
export async function passphraseOf(
  options: PassphraseOptions,
  question: string,
  signal: AbortSignal
): Promise<{ readonly passphrase?: string }> {
  if (options.passphraseFile !== undefined) return { passphrase: readFileLine(options.passphraseFile) }
  if (!options.passphrase) return {}
  return { passphrase: await askSecret(`${question} (not shown): `, 'use --passphrase-file FILE', signal) }
}
