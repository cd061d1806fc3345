/** Structured log: a constant message, facts as fields. Secrets and payloads never go in; remote text not above `debug`. */
export type LogFields = Readonly<Record<string, unknown>>

export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger whose lines carry `name`, for example `kith:net:dial`. */
  child(name: string): Logger
}

export const logLevels = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 } as const
export type LogLevel = keyof typeof logLevels

const MAX_VALUE = 256

/** JSON lines to `write`; values are cut to 256 characters and errors become {code, message}. */
export function createLogger(write: (line: string) => void, level: LogLevel = 'warn', name = 'kith', now: () => number = Date.now): Logger {
  const at =
    (lv: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (logLevels[lv] < logLevels[level]) return
      const line: Record<string, unknown> = { time: new Date(now()).toISOString(), level: lv, name, message }
      for (const [k, v] of Object.entries(fields)) line[k] = plain(v)
      write(JSON.stringify(line))
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: part => createLogger(write, level, `${name}:${part}`, now)
  }
}

export const silentLogger: Logger = createLogger(() => {}, 'silent')

function plain(v: unknown): unknown {
  if (v instanceof Error) return { code: (v as { code?: unknown }).code ?? v.name, message: cut(v.message) }
  if (typeof v === 'bigint') return v.toString()
  if (typeof v === 'string') return cut(v)
  if (v === null || typeof v === 'number' || typeof v === 'boolean' || v === undefined) return v
  return cut(JSON.stringify(v, (_, x: unknown) => (typeof x === 'bigint' ? x.toString() : x)) ?? '')
}
const cut = (s: string): string => (s.length > MAX_VALUE ? s.slice(0, MAX_VALUE) + '…' : s)
