/** What messaging is opened with, and its open parts, as open-ask.node.ts hands them on. */
import type { Presence } from '../../agents/handlers.ts'
import type { TaskFiles, Tasks } from '../../agents/types.ts'
import type { Logger } from '../../base/log.ts'
import type { DhtFinder } from '../../discovery/dht-finder.ts'
import type { PeerRegistry } from '../../discovery/peer-registry.ts'
import type { Identity } from '../../identity/identity.ts'
import type { Broadcasts } from '../../messaging/broadcast-types.ts'
import type { Groups } from '../../messaging/groups-types.ts'
import type { MessageHttp } from '../../messaging/http-server.node.ts'
import type { OpenMessenger } from '../../messaging/messenger.ts'
import type { NetworkMonitor } from '../../messaging/monitor.ts'
import type { Host } from '../../net/host.ts'
import type { ScopeGate } from '../../net/scope-gate.ts'
import type { PeerBook } from '../../trust/types.ts'
import type { Config } from '../config.ts'
import type { PeerDirectory } from './peer-directory.node.ts'

export interface AskDeps {
  readonly config: Config
  readonly log: Logger
  readonly identity: Identity
  readonly host: Host
  readonly gate: ScopeGate
  readonly finder: DhtFinder
  /** Brings files of tasks to the other side. */
  readonly files: TaskFiles
  /** Opens /peers and /stats of the message server to the owner; undefined: only peers that were granted it. */
  readonly token: string | undefined
  /** A node that stays up: others may write to it over HTTP. */
  readonly staysUp: boolean
}

export interface OpenedServer {
  readonly http: MessageHttp
  /** For others to type. With TLS the fragment is the hash of the server's key, in hex, which is what they trust. */
  readonly url: string
}

export interface AskParts {
  readonly book: PeerBook
  readonly messenger: OpenMessenger
  readonly registry: PeerRegistry
  readonly directory: PeerDirectory
  readonly groups: Groups
  readonly tasks: Tasks
  readonly presence: Presence
  readonly monitor: NetworkMonitor
  /** Undefined in a node that does not stay up. */
  readonly broadcasts: Broadcasts | undefined
  /** The message server; undefined in a node that does not stay up. */
  readonly server: OpenedServer | undefined
  /** Says anew what this node is, after something of it has changed. */
  announce(): Promise<void>
}
