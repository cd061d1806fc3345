/**
 * Configuration: defaults, file, environment and flags, merged once, checked, frozen. Nothing else reads the environment. Secrets are
 * not in here. The file is `config.json` in the config folder; it has a version.
 */
import { z } from 'zod'
import { KithError } from '../base/errors.ts'
import type { LogLevel } from '../base/log.ts'

/** Fixed, documented ports (docs/cli.md). `--port 0` takes any free ones instead. */
export const defaultPorts = { api: 4800, tcp: 4801, ws: 4802, http: 4803, bittorrent: 4804, rpc: 4805 } as const

/** Where this home keeps its files. */
export interface Folders {
  /** What was given as KITH_HOME, or the data folder: shown to people. */
  readonly home: string
  readonly config: string
  readonly data: string
  readonly state: string
}

export interface Config {
  readonly folders: Folders
  /** IP addresses to listen on for peers. */
  readonly listen: readonly string[]
  /** Ports; 0 takes a free one. A default that is taken falls back to a free one, a chosen one does not. */
  readonly ports: { readonly api: number; readonly tcp: number; readonly ws: number; readonly http: number; readonly bittorrent: number }
  /** True when the ports were chosen by the user. */
  readonly portsAreFixed: boolean
  /** multiaddrs with /p2p/ of nodes that introduce us to a private network. */
  readonly bootstrap: readonly string[]
  /** LAN discovery. */
  readonly mdns: boolean
  /** Bytes per second over all uploads; undefined: no limit. */
  readonly uploadLimit: number | undefined
  /** Storage this node means to offer, for `status`. */
  readonly capacityBytes: number | undefined
  readonly chain: {
    readonly chainId: number
    readonly rpcUrls: readonly string[]
    readonly settlement: { readonly address: string; readonly codeHash: string } | undefined
    readonly confirmations: number | undefined
  }
  readonly pay: {
    /** wei that all downloads of 24 hours may cost, decimal; undefined: only what --max-cost allows. */
    readonly budgetWeiPerDay: string | undefined
    /** Unpaid bytes a stranger may take; undefined: 1 MiB. */
    readonly creditBytes: number | undefined
    /** File (mode 0600) with the passphrase that the user chose for the wallet; undefined: it has none, or stays locked. */
    readonly passphraseFile: string | undefined
  }
  readonly logLevel: LogLevel
}

/** What the command line can say. Absent: not said. */
export interface ConfigFlags {
  readonly home?: string
  readonly listen?: readonly string[]
  /** 0: every port is a free one. Else the TCP port; the others follow it. */
  readonly port?: number
  readonly apiPort?: number
  readonly bootstrap?: readonly string[]
  readonly mdns?: boolean
  readonly uploadLimit?: number
  readonly chainRpc?: readonly string[]
  readonly walletPassphraseFile?: string
  readonly logLevel?: LogLevel
}

const port = z.int().min(0).max(65535)
/** The config file: everything optional but the version. */
export interface ConfigFile {
  readonly version: 1
  readonly listen?: readonly string[]
  readonly ports?: Partial<Config['ports']>
  readonly bootstrap?: readonly string[]
  readonly mdns?: boolean
  readonly uploadLimit?: number
  readonly capacityBytes?: number
  readonly chain?: {
    readonly chainId?: number
    readonly rpcUrls?: readonly string[]
    readonly settlement?: { readonly address: string; readonly codeHash: string }
    readonly confirmations?: number
  }
  readonly pay?: { readonly budgetWeiPerDay?: string; readonly creditBytes?: number }
  readonly logLevel?: LogLevel
}

const fileSchema: z.ZodType<ConfigFile> = z.strictObject({
  version: z.literal(1),
  listen: z.exactOptional(z.array(z.string()).min(1).max(16)),
  ports: z.exactOptional(
    z.strictObject({
      api: z.exactOptional(port),
      tcp: z.exactOptional(port),
      ws: z.exactOptional(port),
      http: z.exactOptional(port),
      bittorrent: z.exactOptional(port)
    })
  ),
  bootstrap: z.exactOptional(z.array(z.string().startsWith('/')).max(64)),
  mdns: z.exactOptional(z.boolean()),
  uploadLimit: z.exactOptional(z.int().min(1024)),
  capacityBytes: z.exactOptional(z.int().min(0)),
  chain: z.exactOptional(
    z.strictObject({
      chainId: z.exactOptional(z.int().min(1)),
      rpcUrls: z.exactOptional(z.array(z.url()).min(1).max(8)),
      settlement: z.exactOptional(
        z.strictObject({ address: z.string().regex(/^0x[0-9a-fA-F]{40}$/), codeHash: z.string().regex(/^0x[0-9a-f]{64}$/) })
      ),
      confirmations: z.exactOptional(z.int().min(1).max(1000))
    })
  ),
  pay: z.exactOptional(
    z.strictObject({
      budgetWeiPerDay: z.exactOptional(z.string().regex(/^(0|[1-9][0-9]{0,40})$/)),
      creditBytes: z.exactOptional(z.int().min(0))
    })
  ),
  logLevel: z.exactOptional(z.enum(['debug', 'info', 'warn', 'error', 'silent']))
})

/** Checks the text of a config file. @throws BAD_CONFIG naming the field */
export function parseConfigFile(text: string, path: string): ConfigFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new KithError('BAD_CONFIG', `${path} is not JSON`, { path }, { cause, hint: 'correct it, or move it away to use the defaults' })
  }
  const result = fileSchema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new KithError(
    'BAD_CONFIG',
    `${path}: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`,
    { path },
    { hint: 'docs/cli.md lists the settings' }
  )
}

/** The folders of a home: everything under KITH_HOME, or the XDG directories. */
export function foldersOf(home: string | undefined, env: Readonly<Record<string, string | undefined>>): Folders {
  const root = home ?? env['KITH_HOME']
  if (root) return { home: root, config: root, data: `${root}/data`, state: `${root}/state` }
  const user = env['HOME'] ?? env['USERPROFILE'] ?? '.'
  const xdg = (name: string, fallback: string): string => `${env[name] || `${user}/${fallback}`}/kith`
  const data = xdg('XDG_DATA_HOME', '.local/share')
  return { home: data, config: xdg('XDG_CONFIG_HOME', '.config'), data, state: xdg('XDG_STATE_HOME', '.local/state') }
}

/** Merges what the file and the flags say over the defaults. Pure. */
export function mergeConfig(
  folders: Folders,
  file: ConfigFile | undefined,
  flags: ConfigFlags,
  env: Readonly<Record<string, string | undefined>>
): Config {
  const { tcp: _, ...rest } = defaultPorts
  const base = { ...rest, tcp: defaultPorts.tcp, ...file?.ports }
  const ports =
    flags.port === undefined
      ? base
      : flags.port === 0
        ? { api: 0, tcp: 0, ws: 0, http: 0, bittorrent: 0 }
        : { ...base, tcp: flags.port, ws: flags.port + 1, http: flags.port + 2, bittorrent: flags.port + 3 }
  const level = flags.logLevel ?? (env['KITH_LOG_LEVEL'] as LogLevel | undefined) ?? file?.logLevel ?? 'warn'
  return Object.freeze({
    folders,
    listen: flags.listen ?? file?.listen ?? ['0.0.0.0'],
    ports: { api: flags.apiPort ?? ports.api, tcp: ports.tcp, ws: ports.ws, http: ports.http, bittorrent: ports.bittorrent },
    portsAreFixed: flags.port !== undefined || file?.ports !== undefined,
    bootstrap: [...(file?.bootstrap ?? []), ...(flags.bootstrap ?? [])],
    mdns: flags.mdns ?? file?.mdns ?? true,
    uploadLimit: flags.uploadLimit ?? file?.uploadLimit,
    capacityBytes: file?.capacityBytes,
    chain: {
      chainId: file?.chain?.chainId ?? 98765,
      rpcUrls: flags.chainRpc ?? file?.chain?.rpcUrls ?? [`http://127.0.0.1:${defaultPorts.rpc}`],
      settlement: file?.chain?.settlement,
      confirmations: file?.chain?.confirmations
    },
    pay: { budgetWeiPerDay: file?.pay?.budgetWeiPerDay, creditBytes: file?.pay?.creditBytes, passphraseFile: flags.walletPassphraseFile },
    logLevel: level
  })
}
