/**
 * Configuration: defaults, file, environment and flags, merged once, checked, frozen. Nothing else reads the environment. Secrets are
 * not in here. The file is `config.json` in the config folder; it has a version.
 */
import type { LogLevel } from '../base/log.ts'
import type { ConfigFile, IceServer, Ports, PublicNetworks } from './config-file.ts'

/** Fixed, documented ports (docs/cli.md). `--port 0` takes any free ones instead. */
export const defaultPorts = {
  api: 4800,
  tcp: 4801,
  ws: 4802,
  http: 4803,
  bittorrent: 4804,
  rpc: 4805,
  https: 4806,
  ed2k: 4807,
  tracker: 4808,
  message: 4809
} as const

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
  readonly ports: Ports
  /** True when the ports were chosen by the user. */
  readonly portsAreFixed: boolean
  /** multiaddrs with /p2p/ of nodes that introduce us to a private network. */
  readonly bootstrap: readonly string[]
  /** LAN discovery. */
  readonly mdns: boolean
  /** Bytes per second over all uploads; undefined: no limit. */
  readonly uploadLimit: number | undefined
  /** Bytes per second over all downloads; undefined: no limit. */
  readonly downloadLimit: number | undefined
  /** Whether others can reach our ports: found out, or said by the user. */
  readonly reachability: 'auto' | 'public' | 'private'
  /** Protocols that `share` offers when it is not told; undefined: what fits the reachability. */
  readonly protocols: readonly string[] | undefined
  /** `http://host:port` of a proxy for outgoing HTTP(S). */
  readonly proxy: string | undefined
  /** True: this network lets nothing but HTTP(S) through (spec 004's restricted network). */
  readonly restricted: boolean
  /** multiaddrs of relays at which this node can be reached. */
  readonly relays: readonly string[]
  readonly public: PublicNetworks
  readonly bittorrent: {
    /** "host:port" of nodes that introduce us to a private BitTorrent DHT. */
    readonly dhtBootstrap: readonly string[]
    /** Announce to BitTorrent clients on the local network. */
    readonly lsd: boolean
    readonly encryption: 'off' | 'allowed' | 'required'
  }
  readonly webtorrent: {
    /** ws(s) trackers that every WebTorrent share is announced to. */
    readonly trackers: readonly string[]
    readonly iceServers: readonly IceServer[]
  }
  readonly ed2k: {
    /** "host:port" of servers to log in at. */
    readonly servers: readonly string[]
    /** "host:port" of Kad nodes that introduce us to a private Kad. */
    readonly kadBootstrap: readonly string[]
    /** Paths of a server.met and a nodes.dat of other programs. */
    readonly serverMet: string | undefined
    readonly nodesFile: string | undefined
  }
  readonly messages: {
    /** The message server speaks HTTPS (TLS 1.3, a key of this node's own) instead of HTTP. */
    readonly tls: boolean
  }
  /** Memory for chunks that are asked for often. */
  readonly cacheBytes: number | undefined
  /** Disk for chunks of shares on slower media, in the state folder; undefined: none. */
  readonly diskCacheBytes: number | undefined
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
  readonly downloadLimit?: number
  readonly public?: boolean
  readonly proxy?: string
  readonly relays?: readonly string[]
  readonly dhtBootstrap?: readonly string[]
  readonly chainRpc?: readonly string[]
  readonly walletPassphraseFile?: string
  readonly logLevel?: LogLevel
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

/** Merges what the file and the flags say over the defaults. Pure. @param hasIpv6 whether this machine can listen over IPv6 */
export function mergeConfig(
  folders: Folders,
  file: ConfigFile | undefined,
  flags: ConfigFlags,
  env: Readonly<Record<string, string | undefined>>,
  hasIpv6 = false
): Config {
  return Object.freeze({
    folders,
    listen: flags.listen ?? file?.listen ?? (hasIpv6 ? ['0.0.0.0', '::'] : ['0.0.0.0']),
    ports: mergePorts(file, flags),
    portsAreFixed: flags.port !== undefined || file?.ports !== undefined,
    bootstrap: [...(file?.bootstrap ?? []), ...(flags.bootstrap ?? [])],
    mdns: flags.mdns ?? file?.mdns ?? true,
    uploadLimit: flags.uploadLimit ?? file?.uploadLimit,
    downloadLimit: flags.downloadLimit ?? file?.downloadLimit,
    reachability: file?.reachability ?? 'auto',
    protocols: file?.protocols,
    proxy: flags.proxy ?? file?.proxy,
    restricted: file?.restricted ?? false,
    relays: [...(file?.relays ?? []), ...(flags.relays ?? [])],
    public: mergePublic(file, flags),
    bittorrent: {
      dhtBootstrap: [...(file?.bittorrent?.dhtBootstrap ?? []), ...(flags.dhtBootstrap ?? [])],
      lsd: file?.bittorrent?.lsd ?? false,
      encryption: file?.bittorrent?.encryption ?? 'allowed'
    },
    webtorrent: { trackers: file?.webtorrent?.trackers ?? [], iceServers: file?.webtorrent?.iceServers ?? [] },
    ed2k: {
      servers: file?.ed2k?.servers ?? [],
      kadBootstrap: file?.ed2k?.kadBootstrap ?? [],
      serverMet: file?.ed2k?.serverMet,
      nodesFile: file?.ed2k?.nodesFile
    },
    messages: { tls: file?.messages?.tls ?? false },
    cacheBytes: file?.cacheBytes,
    diskCacheBytes: file?.diskCacheBytes,
    capacityBytes: file?.capacityBytes,
    chain: {
      chainId: file?.chain?.chainId ?? 98765,
      rpcUrls: flags.chainRpc ?? file?.chain?.rpcUrls ?? [`http://127.0.0.1:${defaultPorts.rpc}`],
      settlement: file?.chain?.settlement,
      confirmations: file?.chain?.confirmations
    },
    pay: { budgetWeiPerDay: file?.pay?.budgetWeiPerDay, creditBytes: file?.pay?.creditBytes, passphraseFile: flags.walletPassphraseFile },
    logLevel: flags.logLevel ?? (env['KITH_LOG_LEVEL'] as LogLevel | undefined) ?? file?.logLevel ?? 'warn'
  })
}

function mergePorts(file: ConfigFile | undefined, flags: ConfigFlags): Ports {
  const { rpc: _, ...defaults } = defaultPorts
  const base = { ...defaults, ...file?.ports }
  const tcp = flags.port
  const named = tcp === undefined ? base : tcp === 0 ? FREE_PORTS : followPort(base, tcp)
  return { ...named, api: flags.apiPort ?? named.api }
}
const FREE_PORTS: Ports = { api: 0, tcp: 0, ws: 0, http: 0, bittorrent: 0, https: 0, ed2k: 0, tracker: 0, message: 0 }
/** `--port` moves all of them together; one in the middle is the local chain's. */
const followPort = (base: Ports, tcp: number): Ports => ({
  ...base,
  tcp,
  ws: tcp + 1,
  http: tcp + 2,
  bittorrent: tcp + 3,
  https: tcp + 5,
  ed2k: tcp + 6,
  tracker: tcp + 7,
  message: tcp + 8
})

function mergePublic(file: ConfigFile | undefined, flags: ConfigFlags): PublicNetworks {
  if (flags.public === true) return { ipfs: true, mainline: true, kad: true }
  return { ipfs: file?.public?.ipfs ?? false, mainline: file?.public?.mainline ?? false, kad: file?.public?.kad ?? false }
}
