/** What every command gets: its global options, where to say things, how long to live, and the ways to a node. */
import type { Command } from 'commander'
import type { LogLevel } from '../base/log.ts'
import type { Config, ConfigFlags } from '../node/config.ts'
import type { CliDeps } from './deps.ts'
import type { Lifetime } from './lifetime.ts'
import type { Output } from './output.ts'

/** Options that every command takes. */
export interface GlobalOptions {
  readonly json?: boolean
  readonly home?: string
  readonly port?: number
  readonly apiPort?: number
  readonly listen?: readonly string[]
  readonly bootstrap?: readonly string[]
  /** False after --no-lan. */
  readonly lan?: boolean
  readonly public?: boolean
  readonly relay?: readonly string[]
  readonly proxy?: string
  readonly dhtBootstrap?: readonly string[]
  readonly chainRpc?: readonly string[]
  readonly walletPassphraseFile?: string
  readonly logLevel?: LogLevel
}

export interface Context {
  readonly options: GlobalOptions
  readonly output: Output
  readonly lifetime: Lifetime
  readonly deps: CliDeps
  /** Read once. @throws BAD_CONFIG */
  config(): Promise<Config>
}

/** Wraps a command's work into a commander action. The work may return an exit code; 0 otherwise. */
export type Act = <A extends unknown[]>(
  work: (context: Context, ...args: A) => Promise<number | undefined>
) => (...args: [...A, Command]) => Promise<void>

/** Adds a command to the program. */
export type Register = (program: Command, act: Act) => void

export function flagsOf(options: GlobalOptions, extra: ConfigFlags = {}): ConfigFlags {
  const { home, port, apiPort, listen, bootstrap, lan, relay, proxy, dhtBootstrap, chainRpc, walletPassphraseFile, logLevel } = options
  return {
    ...(home === undefined ? {} : { home }),
    ...(port === undefined ? {} : { port }),
    ...(apiPort === undefined ? {} : { apiPort }),
    ...(listen === undefined ? {} : { listen }),
    ...(bootstrap === undefined ? {} : { bootstrap }),
    ...(lan === false ? { mdns: false } : {}),
    ...(options.public === undefined ? {} : { public: options.public }),
    ...(relay === undefined ? {} : { relays: relay }),
    ...(proxy === undefined ? {} : { proxy }),
    ...(dhtBootstrap === undefined ? {} : { dhtBootstrap }),
    ...(chainRpc === undefined ? {} : { chainRpc }),
    ...(walletPassphraseFile === undefined ? {} : { walletPassphraseFile }),
    ...(logLevel === undefined ? {} : { logLevel }),
    ...extra
  }
}
