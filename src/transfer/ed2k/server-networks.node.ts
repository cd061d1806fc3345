/** The networks of eDonkey that a node has joined: its servers, and Kad. One place to tell what is shared, and the finders of downloads. */
import { bytesToHex } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { parsePeerAddress } from '../bittorrent/urls.ts'
import { type Kad, type KadDeps, openKad } from '../kad/kad.node.ts'
import type { Ed2kStatus } from './hub.node.ts'
import type { LowId } from './low-id.node.ts'
import type { OfferedFile } from './server-files.ts'
import { type Ed2kServerLink, openEd2kServerLink, type ServerLinkDeps, type ServerLinkStatus } from './server-link.node.ts'
import type { Ed2kFinder } from './swarm.node.ts'

export interface Ed2kNetworksDeps extends KadDeps, Pick<ServerLinkDeps, 'connectTo'> {
  /** What servers and Kad found out about us: for hellos. */
  onStatus?(status: Partial<Ed2kStatus>): void
}

export interface Ed2kNetworksOptions {
  /** "host:port" of servers. */
  readonly servers: readonly string[]
  /** undefined: Kad is not joined. */
  readonly kad?:
    | { readonly host: string; readonly port: number; readonly bootstrap: readonly string[]; readonly anyDistance?: boolean }
    | undefined
  /** Our user hash. */
  readonly userHash: Uint8Array
  /** TCP port where clients reach us; 0: nowhere. */
  readonly listenPort: number
  readonly nickname?: string
}

export interface Ed2kNetworks extends AsyncDisposable {
  /** One for each server, and Kad. */
  readonly finders: readonly Ed2kFinder[]
  readonly servers: readonly ServerLinkStatus[]
  readonly kad: Kad | undefined
  /** Has a server tell one of its clients that cannot be connected to, to connect to us. @returns false when that server is not ours */
  callLowId(low: LowId): boolean
  /** A client at this address says over TCP that it reached our port. */
  reachedBy(host: string): void
  /** Tells the networks that we have a file, until disposed; a server forgets it only when we leave. */
  announce(file: OfferedFile): AsyncDisposable
}

/** Joins. @throws BAD_ADDRESS, PORT_UNAVAILABLE */
export async function openEd2kNetworks(deps: Ed2kNetworksDeps, options: Ed2kNetworksOptions): Promise<Ed2kNetworks> {
  await using stack = new AsyncDisposableStack()
  const { userHash, listenPort, nickname = 'kith' } = options
  const addresses = options.servers.map(readAddress)
  const files = new Map<string, OfferedFile>()
  const links: Ed2kServerLink[] = []
  const { clock, log, checkAddress, classOf, connectTo } = deps
  const linkDeps: ServerLinkDeps = {
    clock,
    log,
    shares: () => files.values(),
    onStatus: () => deps.onStatus?.(statusOf(links)),
    ...(checkAddress ? { checkAddress } : {}),
    ...(classOf ? { classOf } : {}),
    ...(connectTo ? { connectTo } : {})
  }
  for (const address of addresses) {
    const link = openEd2kServerLink(linkDeps, { ...address, userHash, listenPort, nickname })
    links.push(stack.use(link))
  }
  const kad = options.kad && stack.use(await openKad(deps, { ...options.kad, clientHash: userHash, tcpPort: listenPort }))
  if (kad) deps.onStatus?.({ udpPort: kad.port, kadPort: kad.port })
  return new Networks(links, kad, files, stack.move())
}

class Networks implements Ed2kNetworks {
  readonly kad: Kad | undefined
  readonly finders: readonly Ed2kFinder[]
  readonly #links: readonly Ed2kServerLink[]
  readonly #files: Map<string, OfferedFile>
  readonly #stack: AsyncDisposableStack
  #isTelling = false

  constructor(links: readonly Ed2kServerLink[], kad: Kad | undefined, files: Map<string, OfferedFile>, stack: AsyncDisposableStack) {
    this.#links = links
    this.kad = kad
    this.finders = kad ? [...links, kad] : links
    this.#files = files
    this.#stack = stack
  }

  get servers(): readonly ServerLinkStatus[] {
    return this.#links.map(l => l.status)
  }

  announce(file: OfferedFile): AsyncDisposable {
    const hex = bytesToHex(file.hash)
    this.#files.set(hex, file)
    this.#tellServers()
    const publication = this.kad?.publish(file.hash, file.size)
    return {
      [Symbol.asyncDispose]: async () => {
        if (this.#files.get(hex) === file) this.#files.delete(hex)
        await publication?.[Symbol.asyncDispose]()
      }
    }
  }

  callLowId({ lowId, serverIp, serverPort }: LowId): boolean {
    const link = this.#links.find(l => l.status.serverIp === serverIp && l.status.serverPort === serverPort)
    return link?.callLowId(lowId) === true
  }

  reachedBy(host: string): void {
    this.kad?.reachedBy(host)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }

  /** Once for all that is announced in one go. */
  #tellServers(): void {
    if (this.#isTelling) return
    this.#isTelling = true
    queueMicrotask(() => {
      this.#isTelling = false
      for (const link of this.#links) link.offer()
    })
  }
}

/** The first server that gave us an id goes into hellos. */
function statusOf(links: readonly Ed2kServerLink[]): Partial<Ed2kStatus> {
  const { id = 0, serverIp = 0, serverPort = 0 } = links.find(l => l.status.id !== 0)?.status ?? {}
  return { id, serverIp, serverPort }
}

function readAddress(text: string): { readonly host: string; readonly port: number } {
  const address = parsePeerAddress(text)
  if (address) return address
  const hint = 'for example 192.0.2.7:4661'
  throw new KithError('BAD_ADDRESS', `${JSON.stringify(text.slice(0, 60))} is not host:port of an eDonkey server`, {}, { hint })
}
