/** Opens spec 001's HTTP server for a node that stays up. */
import { join } from 'node:path'
import { bytesToHex } from '../../base/bytes.ts'
import { systemClock } from '../../base/clock.ts'
import type { MessageHttp } from '../../messaging/http-server.node.ts'
import type { MessageLink } from '../../messaging/link.ts'
import type { OpenMessenger } from '../../messaging/messenger.ts'
import type { NetworkMonitor } from '../../messaging/monitor.ts'
import { type Scope, scopeOfIp } from '../../net/address-scope.ts'
import { openTlsIdentity } from '../../platform/x509.node.ts'
import type { PeerBook } from '../../trust/types.ts'
import { tcpHost } from '../listen-hosts.ts'
import { withFreePorts } from '../with-free-ports.ts'
import type { AskDeps, OpenedServer } from './ask-parts.node.ts'

export interface MessageServerParts {
  readonly book: PeerBook
  readonly messenger: OpenMessenger
  readonly monitor: NetworkMonitor
  readonly accept: (link: MessageLink) => Promise<void>
}

/** @throws HTTP_LISTEN */
export async function openMessageServer(stack: AsyncDisposableStack, deps: AskDeps, parts: MessageServerParts): Promise<OpenedServer> {
  const { openMessageHttp } = await import('../../messaging/http-server.node.ts')
  const { config, identity, token } = deps
  const { book, messenger, monitor, accept } = parts
  const server = {
    clock: systemClock,
    log: deps.log.child('http'),
    accept,
    self: { entityId: identity.instance.did, publicKey: identity.instance.key },
    peers: () => book.peers(1000).map(p => ({ entityId: p.entityId, address: p.addresses[0], hasPublicKey: true })),
    stats: () => ({ network: monitor.collect(), peers: messenger.stats() }),
    isGranted: (id: string) => book.allowed(id, 'stats') !== undefined,
    isBanned: (addressKey: string) => book.scores.isBanned({ addressKey }),
    penalise: (addressKey: string, ...how: [Parameters<PeerBook['scores']['penalise']>[1], string]) =>
      void book.scores.penalise({ addressKey }, ...how),
    outside: async (body: Uint8Array, address: string) => {
      await messenger.receive(body, { via: 'http', address })
      return { verification: 'verified' }
    }
  }
  const host = tcpHost(config.listen)
  const tls = config.messages.tls ? openTlsIdentity(join(config.folders.data, 'identity', 'tls.key')) : undefined
  const open = (free: boolean): Promise<MessageHttp> => openMessageHttp(server, { host, port: free ? 0 : config.ports.message, token, tls })
  const http = stack.use(await withFreePorts(config, 'HTTP_LISTEN', open))
  return {
    http,
    // Looked up each time: a laptop comes into other networks.
    get url() {
      const url = urlForOthers(http.url, deps.host.addresses())
      return tls ? `${url}#${bytesToHex(tls.pin)}` : url
    }
  }
}

/** A listener on all addresses, at one that others can write down: the first that is not of this machine alone. */
export function urlForOthers(url: string, addresses: readonly string[]): string {
  if (!/\/\/(?:0\.0\.0\.0|\[::\])[:/]/.test(url)) return url
  const hosts = addresses.filter(a => !a.includes('/p2p-circuit')).flatMap(a => /^\/ip[46]\/([^/]+)\//.exec(a)?.[1] ?? [])
  const wide = (scope: Scope): string | undefined => hosts.find(h => scopeOfIp(h) === scope)
  const host = wide('public') ?? wide('private') ?? hosts[0]
  if (host === undefined) return url
  return url.replace(/(?<=\/\/)(?:0\.0\.0\.0|\[::\])/, host.includes(':') ? `[${host}]` : host)
}
