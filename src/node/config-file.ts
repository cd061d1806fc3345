/** The config file: what may be in it, and its strict reader. */
import { z } from 'zod'
import { KithError } from '../base/errors.ts'
import type { LogLevel } from '../base/log.ts'
import { PROTOCOLS } from './protocols.ts'

/** Ports that peers may connect to, or that only this machine may (`api`). 0 takes a free one. */
export interface Ports {
  readonly api: number
  readonly tcp: number
  readonly ws: number
  readonly http: number
  /** TCP for peers and UDP for the DHT of BitTorrent. */
  readonly bittorrent: number
  readonly https: number
  readonly ed2k: number
  /** WebSocket tracker for WebTorrent in browsers. */
  readonly tracker: number
  /** HTTP server for messages (spec 001). */
  readonly message: number
}

/** A STUN or TURN server for WebRTC. */
export interface IceServer {
  /** `stun:host:port`, `turn:host:port?transport=tcp`. */
  readonly url: string
  readonly username?: string
  readonly credential?: string
}

/** The existing public networks that this node joins; private by default (DESIGN §6). */
export interface PublicNetworks {
  /** IPFS's DHT: provider records for the same CIDs. */
  readonly ipfs: boolean
  /** BitTorrent's mainline DHT. */
  readonly mainline: boolean
  /** ed2k's Kad. */
  readonly kad: boolean
}

const port = z.int().min(0).max(65535)
const hostPort = z.string().regex(/^[^\s/@]{1,253}:[0-9]{1,5}$/)
const iceServer = z.strictObject({
  url: z.string().regex(/^(stun|turns?):[^\s]{1,300}$/),
  username: z.exactOptional(z.string().max(256)),
  credential: z.exactOptional(z.string().max(256))
})
/** The config file: everything optional but the version. */
export interface ConfigFile {
  readonly version: 1
  readonly listen?: readonly string[]
  readonly ports?: Partial<Ports>
  readonly bootstrap?: readonly string[]
  readonly mdns?: boolean
  readonly uploadLimit?: number
  readonly downloadLimit?: number
  readonly reachability?: 'auto' | 'public' | 'private'
  readonly protocols?: readonly string[]
  readonly proxy?: string
  readonly restricted?: boolean
  readonly relays?: readonly string[]
  readonly public?: Partial<PublicNetworks>
  readonly bittorrent?: {
    readonly dhtBootstrap?: readonly string[]
    readonly lsd?: boolean
    readonly encryption?: 'off' | 'allowed' | 'required'
  }
  readonly webtorrent?: { readonly trackers?: readonly string[]; readonly iceServers?: readonly IceServer[] }
  readonly ed2k?: {
    readonly servers?: readonly string[]
    readonly kadBootstrap?: readonly string[]
    readonly serverMet?: string
    readonly nodesFile?: string
  }
  readonly messages?: { readonly tls?: boolean }
  readonly cacheBytes?: number
  readonly diskCacheBytes?: number
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
      bittorrent: z.exactOptional(port),
      https: z.exactOptional(port),
      ed2k: z.exactOptional(port),
      tracker: z.exactOptional(port),
      message: z.exactOptional(port)
    })
  ),
  bootstrap: z.exactOptional(z.array(z.string().startsWith('/')).max(64)),
  mdns: z.exactOptional(z.boolean()),
  uploadLimit: z.exactOptional(z.int().min(1024)),
  downloadLimit: z.exactOptional(z.int().min(1024)),
  reachability: z.exactOptional(z.enum(['auto', 'public', 'private'])),
  protocols: z.exactOptional(z.array(z.enum(PROTOCOLS)).min(1).max(16)),
  proxy: z.exactOptional(z.url({ protocol: /^http$/ })),
  restricted: z.exactOptional(z.boolean()),
  relays: z.exactOptional(z.array(z.string().startsWith('/')).max(8)),
  public: z.exactOptional(
    z.strictObject({ ipfs: z.exactOptional(z.boolean()), mainline: z.exactOptional(z.boolean()), kad: z.exactOptional(z.boolean()) })
  ),
  bittorrent: z.exactOptional(
    z.strictObject({
      dhtBootstrap: z.exactOptional(z.array(hostPort).max(64)),
      lsd: z.exactOptional(z.boolean()),
      encryption: z.exactOptional(z.enum(['off', 'allowed', 'required']))
    })
  ),
  webtorrent: z.exactOptional(
    z.strictObject({
      trackers: z.exactOptional(z.array(z.url({ protocol: /^wss?$/ })).max(16)),
      iceServers: z.exactOptional(z.array(iceServer).max(8))
    })
  ),
  ed2k: z.exactOptional(
    z.strictObject({
      servers: z.exactOptional(z.array(hostPort).max(16)),
      kadBootstrap: z.exactOptional(z.array(hostPort).max(64)),
      serverMet: z.exactOptional(z.string().startsWith('/')),
      nodesFile: z.exactOptional(z.string().startsWith('/'))
    })
  ),
  messages: z.exactOptional(z.strictObject({ tls: z.exactOptional(z.boolean()) })),
  cacheBytes: z.exactOptional(z.int().min(0)),
  diskCacheBytes: z.exactOptional(z.int().min(1024 * 1024)),
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
