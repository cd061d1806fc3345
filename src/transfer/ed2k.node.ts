/** eDonkey for the rest of Kith: the door to ed2k/, which is private to this folder. Serves shares, opens sources, writes links. */
import type { Clock } from '../base/clock.ts'
import { KithError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Ed2k, openEd2k } from './ed2k/ed2k.node.ts'
import { loadEd2kIdentity } from './ed2k/identity.node.ts'
import { formatEd2kLink as format, type Ed2kLink as Link, parseEd2kLink as parse } from './ed2k/link.ts'
import { loadKadNodes, type NetworkFiles, readNetworkFiles, saveKadNodes } from './ed2k/network-files.node.ts'
import type { Ed2kPeer as Peer } from './ed2k/peers.ts'
import { type Ed2kServer, type Ed2kServerDeps, type Ed2kServerOptions, openEd2kServer } from './ed2k/server.node.ts'
import { type Ed2kNetworks, type Ed2kNetworksDeps, type Ed2kNetworksOptions, openEd2kNetworks } from './ed2k/server-networks.node.ts'
import type { Ed2kFinder as Finder } from './ed2k/swarm.node.ts'
import type { FeedContext } from './plan.node.ts'
import type { Share, ShareIndex, UploadGate } from './protocol.ts'

export type Ed2kLink = Link
/** A client that may have a file. */
export type Ed2kPeer = Peer
/** Finds clients that have a file: a server, Kad. */
export type Ed2kFinder = Finder

export interface OpenedEd2k extends AsyncDisposable {
  readonly port: number
  readonly protocol: Ed2k
}

export interface Ed2kNodeDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly shares: ShareIndex
  readonly gate: UploadGate
}

export interface Ed2kNodeOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** File that keeps who we are to other clients; made when missing. */
  readonly identityPath: string
  readonly nickname?: string
  readonly obfuscation?: 'accept' | 'want' | 'require'
}

/** Listens for clients. @throws PORT_UNAVAILABLE */
export async function openEd2kNode(deps: Ed2kNodeDeps, options: Ed2kNodeOptions): Promise<OpenedEd2k> {
  const { listen, identityPath, nickname, obfuscation } = options
  const protocol = await openEd2k(deps, {
    listen,
    identity: loadEd2kIdentity(identityPath),
    ...(nickname === undefined ? {} : { nickname }),
    ...(obfuscation === undefined ? {} : { obfuscation })
  })
  return { protocol, port: protocol.port, [Symbol.asyncDispose]: () => protocol[Symbol.asyncDispose]() }
}

/** What an offer carries for ed2k: the hash of the file (16 bytes); empty when there is none. */
export const ed2kHashOf = (share: Pick<Share, 'ed2k'>): Uint8Array => share.ed2k?.hash ?? new Uint8Array()

/** The ed2k link of a file, as every client understands it. */
export const formatEd2kLink = (link: Ed2kLink): string => format(link)

/** @throws BAD_ED2K_LINK */
export const parseEd2kLink = (text: string): Ed2kLink => parse(text)

/** "host:port" texts of the user. @throws BAD_ADDRESS */
export function readEd2kPeers(texts: readonly string[]): Ed2kPeer[] {
  return texts.map(text => {
    const m = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9.-]{1,253})):([0-9]{1,5})$/.exec(text)
    const port = Number(m?.[3])
    if (!m || port < 1 || port > 65_535)
      throw new KithError(
        'BAD_ADDRESS',
        `${JSON.stringify(text.slice(0, 60))} is not host:port`,
        {},
        { hint: 'for example 192.0.2.7:4662' }
      )
    return { host: (m[1] ?? m[2])!, port }
  })
}

/** Other programs as sources of a file that is fetched in Kith's chunks: what they send is checked by SHA-256 like everything else. */
export function openEd2kOthers(
  ed2k: Ed2k,
  hash: Uint8Array,
  { given, finders }: { readonly given: readonly Ed2kPeer[]; readonly finders: readonly Ed2kFinder[] },
  context: FeedContext
): AsyncDisposable {
  const { size, chunkBytes } = context.grid
  const swarm = ed2k.openSwarm({
    hash,
    size,
    chunkBytes,
    peers: given,
    trust: 'given',
    finders,
    onSource: source => {
      if (!context.add(source)) void source[Symbol.asyncDispose]()
    }
  })
  context.onDropped((source, code) => code === 'SOURCE_LIED' && swarm.banWrong(source))
  return swarm
}

/** Joins eDonkey's networks: servers, and Kad when it is asked for. @throws BAD_ADDRESS, PORT_UNAVAILABLE */
export const joinEd2kNetworks = (deps: Ed2kNetworksDeps, options: Ed2kNetworksOptions): Promise<Ed2kNetworks> =>
  openEd2kNetworks(deps, options)

/** Servers and first nodes of Kad from files of other programs. */
export const readEd2kFiles = (files: NetworkFiles, log: Logger): { servers: string[]; nodes: string[] } => readNetworkFiles(files, log)

/** First nodes of Kad from the last time, kept in one file. */
export const kadNodesAt = (path: string): { load(): string[]; save(nodes: readonly string[]): void } => ({
  load: () => loadKadNodes(path),
  save: nodes => saveKadNodes(path, nodes)
})

/** A server for a private network. @throws PORT_UNAVAILABLE */
export const serveEd2k = (deps: Ed2kServerDeps, options: Ed2kServerOptions): Promise<Ed2kServer> => openEd2kServer(deps, options)
