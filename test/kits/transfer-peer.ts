/**
 * A peer for tests of downloads: real files, identity, share book, HTTP server and scheduler; peers call each other through
 * net's in-memory network (same limits as the real one), bytes go over real loopback sockets.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { concatBytes } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { type Logger, silentLogger } from '../../src/base/log.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { openIdentity } from '../../src/identity/open.node.ts'
import type { MemoryNetwork, MemoryPeer } from '../../src/net/rpc-memory.ts'
import { temporaryTlsIdentity } from '../../src/platform/x509.node.ts'
import { openBitTorrent } from '../../src/transfer/bittorrent/bittorrent.node.ts'
import { infoHashesOf } from '../../src/transfer/bittorrent/metainfo.ts'
import { Download, type DownloadOptions } from '../../src/transfer/download.node.ts'
import { openEd2k } from '../../src/transfer/ed2k/ed2k.node.ts'
import { ed2kHashOf } from '../../src/transfer/ed2k.node.ts'
import { makeGrid } from '../../src/transfer/grid.ts'
import { hashFile } from '../../src/transfer/hash-file.node.ts'
import { openHttpServer } from '../../src/transfer/http/server.node.ts'
import { httpProtocol, httpsProtocol } from '../../src/transfer/http/source.node.ts'
import { type OfferDeps, serveOffers } from '../../src/transfer/offers.ts'
import { freeGate, type PaymentGate } from '../../src/transfer/payment-gate.ts'
import { planKith } from '../../src/transfer/plan-kith.node.ts'
import type { Share, ShareIndex, TransferProtocol, UploadGate } from '../../src/transfer/protocol.ts'
import type { Provider, ProviderFinder } from '../../src/transfer/provider-finder.ts'
import type { ProtocolChoice } from '../../src/transfer/seeders.ts'
import { ShareBook } from '../../src/transfer/share-book.node.ts'
import type { ShareRecord } from '../../src/transfer/share-store.node.ts'
import { openKithStream } from '../../src/transfer/stream.ts'
import type { Throttle } from '../../src/transfer/throttle.ts'
import { TicketBook } from '../../src/transfer/tickets.ts'
import { createUploadGate } from '../../src/transfer/upload-gate.ts'
import { openRtc } from '../../src/transfer/webtorrent.node.ts'
import { formatLink, parseLink } from '../../src/wire/link.ts'
import type { OfferProtocol } from '../../src/wire/offer.ts'

/** Finds every peer of the test that announced a file. */
export class MemoryFinder implements ProviderFinder {
  readonly #byFile = new Map<string, Set<string>>()
  #self: string

  constructor(self: string, shared?: MemoryFinder) {
    this.#self = self
    if (shared) this.#byFile = shared.#byFile
  }
  async *find(fileId: Uint8Array): AsyncIterable<Provider> {
    for (const peerId of this.#byFile.get(Buffer.from(fileId).toString('hex')) ?? []) yield { peerId, addresses: [] }
  }
  async announce(fileId: Uint8Array): Promise<void> {
    const hex = Buffer.from(fileId).toString('hex')
    this.#byFile.set(hex, (this.#byFile.get(hex) ?? new Set()).add(this.#self))
  }
  async withdraw(fileId: Uint8Array): Promise<void> {
    this.#byFile.get(Buffer.from(fileId).toString('hex'))?.delete(this.#self)
  }
}

/** A protocol that a peer of a test serves and fetches over, beside or instead of HTTP. */
export interface TestProtocol {
  readonly name: string
  open(deps: TestProtocolDeps): Promise<OpenTestProtocol>
}
export interface TestProtocolDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly shares: ShareIndex
  readonly gate: UploadGate
  readonly network: MemoryPeer
}
export interface OpenTestProtocol extends AsyncDisposable {
  readonly protocol: TransferProtocol
  readonly port: number
  /** What an offer says of a share. */
  extraOf(share: Share): Uint8Array
}

export const testHttp: TestProtocol = {
  name: 'http',
  open: async ({ clock, log, shares, gate }) => {
    await using stack = new AsyncDisposableStack()
    const server = stack.use(await openHttpServer({ shares, gate, clock, log }, { host: '127.0.0.1' }))
    const protocol = stack.use(httpProtocol({ clock }))
    const owned = stack.move()
    return { protocol, port: server.port, extraOf: () => new Uint8Array(), [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }
}

export const testBitTorrent: TestProtocol = {
  name: 'bittorrent',
  open: async deps => {
    const protocol = await openBitTorrent(deps, { listen: { host: '127.0.0.1', port: 0 } })
    const extraOf = (share: Share): Uint8Array => concatBytes(...infoHashesOf(share))
    return { protocol, port: protocol.port, extraOf, [Symbol.asyncDispose]: () => protocol[Symbol.asyncDispose]() }
  }
}

export const testHttps: TestProtocol = {
  name: 'https',
  open: async ({ clock, log, shares, gate }) => {
    await using stack = new AsyncDisposableStack()
    const tls = temporaryTlsIdentity()
    const server = stack.use(await openHttpServer({ shares, gate, clock, log }, { host: '127.0.0.1', tls }))
    const protocol = stack.use(httpsProtocol({ clock }))
    const owned = stack.move()
    return { protocol, port: server.port, extraOf: () => tls.pin, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }
}

/** Peers find each other over the network of memory; the channels are real. */
export const testWebTorrent: TestProtocol = {
  name: 'webtorrent',
  open: async ({ network, ...deps }) => {
    const protocol = await openRtc({ ...deps, rpc: network })
    const extraOf = (share: Share): Uint8Array => infoHashesOf(share)[0]!
    return { protocol, port: 0, extraOf, [Symbol.asyncDispose]: () => protocol[Symbol.asyncDispose]() }
  }
}

export const testEd2k: TestProtocol = {
  name: 'ed2k',
  open: async deps => {
    const protocol = await openEd2k(deps, { listen: { host: '127.0.0.1', port: 0 } })
    return { protocol, port: protocol.port, extraOf: ed2kHashOf, [Symbol.asyncDispose]: () => protocol[Symbol.asyncDispose]() }
  }
}

/** Its streams are in memory: they have no port. */
export const testKith: TestProtocol = {
  name: 'kith',
  open: async ({ network, ...deps }) => {
    const protocol = openKithStream({ ...deps, streams: network.streams })
    return { protocol, port: 0, extraOf: () => new Uint8Array(), [Symbol.asyncDispose]: () => protocol[Symbol.asyncDispose]() }
  }
}

export interface TestPeer extends AsyncDisposable {
  readonly folder: string
  readonly identity: Identity
  readonly rpc: MemoryPeer
  readonly shares: ShareBook
  port(protocol: string): number
  readonly finder: MemoryFinder
  readonly tickets: TicketBook
  share(
    path: string,
    options?: {
      readonly pricePerMb?: bigint
      readonly uploadLimit?: number
      readonly announce?: boolean
      /** "http" by default. */
      readonly protocols?: readonly string[]
    }
  ): Promise<string>
  get(
    link: string,
    options?: Partial<DownloadOptions> & {
      readonly announce?: (fileId: Uint8Array) => Promise<void>
      readonly withdraw?: (fileId: Uint8Array) => Promise<void>
      readonly downloadLimit?: Throttle
      readonly choice?: ProtocolChoice
    }
  ): Download
}

export async function openTestPeer(
  network: MemoryNetwork,
  all?: MemoryFinder,
  payments: PaymentGate = freeGate,
  folder?: string,
  options: { readonly advertisedPort?: number; readonly protocols?: readonly TestProtocol[] } = {}
): Promise<TestPeer> {
  await using stack = new AsyncDisposableStack()
  const home = folder ?? mkdtempSync(join(tmpdir(), 'kith-peer-'))
  if (!folder) stack.defer(() => rmSync(home, { recursive: true, force: true }))
  const identity = await openIdentity(join(home, 'identity'), { clock: systemClock })
  const rpc = network.join(identity.peerId, '127.0.0.1')
  stack.defer(() => network.leave(identity.peerId))
  const finder = new MemoryFinder(identity.peerId, all)
  const tickets = new TicketBook(systemClock)
  const signer = {
    instanceKey: identity.instance.key,
    peerId: identity.peerId,
    certificate: identity.peerCertificate,
    sign: identity.sign.bind(identity)
  }
  const open = new Map<string, OpenTestProtocol>()
  const endpoints = (share: Share, names: readonly string[]): OfferProtocol[] =>
    names.flatMap(name => {
      const p = open.get(name)
      return p ? [{ name, port: options.advertisedPort ?? p.port, extra: p.extraOf(share) }] : []
    })
  const shares = stack.use(await ShareBook.open({ clock: systemClock, signer, endpoints, onStopped: () => {} }, join(home, 'shares.db')))
  const gate = createUploadGate(
    { clock: systemClock, tickets, payments, termsOf: s => shares.termsOf(s), onAdmitted: () => {}, onSent: () => {} },
    { uploadLimit: undefined }
  )
  for (const p of options.protocols ?? [testHttp])
    open.set(
      p.name,
      stack.use(await p.open({ clock: systemClock, log: silentLogger, shares: shares.forProtocol(p.name), gate, network: rpc }))
    )
  const offers: OfferDeps = { rpc, clock: systemClock, signer, tickets, payments }
  stack.use(serveOffers(offers, shares))
  const downloads = stack.adopt(new Set<Download>(), async set => void (await Promise.all([...set].map(d => d[Symbol.asyncDispose]()))))
  const owned = stack.move()
  return {
    folder: home,
    identity,
    rpc,
    shares,
    port: name => open.get(name)?.port ?? 0,
    finder,
    tickets,
    async share(path, options = {}) {
      const protocols = options.protocols ?? ['http']
      const torrent = protocols.some(p => p === 'bittorrent' || p === 'webtorrent')
      const digest = await hashFile(path, { sha1: torrent, v2: false, ed2k: protocols.includes('ed2k') })
      const name = path.split('/').at(-1)!
      const record: ShareRecord = {
        ...digest,
        path,
        name,
        mime: '',
        infoHash: infoHashesOf({ name, grid: makeGrid(digest.size), ...digest })[0],
        pricePerMb: options.pricePerMb ?? 0n,
        protocols,
        trackers: [],
        addedAt: systemClock.now(),
        uploadLimit: options.uploadLimit,
        creditBytes: undefined
      }
      await shares.add(record)
      if (options.announce !== false) await finder.announce(digest.fileId)
      return formatLink({ fileId: digest.fileId, root: digest.root, size: digest.size, name: record.name, via: [] })
    },
    get(link, options = {}) {
      const { downloadLimit, choice } = options
      const deps = { ...offers, finder, log: silentLogger, protocols: [...open.values()].map(p => p.protocol), choice }
      const download = new Download(
        {
          clock: systemClock,
          log: silentLogger,
          payments,
          shares,
          onChange: () => {},
          downloadLimit,
          plan: (note, signal, notRoots) => planKith(deps, parseLink(link), note, signal, notRoots),
          announce: options.announce ?? (id => finder.announce(id)),
          withdraw: options.withdraw ?? (id => finder.withdraw(id))
        },
        { address: link, folder: home, maxCostWei: undefined, ...options }
      )
      downloads.add(download)
      return download
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync()
  }
}
