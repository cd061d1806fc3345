/**
 * A peer for tests of downloads: real files, identity, share book, HTTP server and scheduler; peers call each other through
 * net's in-memory network (same limits as the real one), bytes go over real loopback sockets.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { openIdentity } from '../../src/identity/open.node.ts'
import type { Rpc } from '../../src/net/rpc.ts'
import type { MemoryNetwork } from '../../src/net/rpc-memory.ts'
import { Download, type DownloadOptions } from '../../src/transfer/download.node.ts'
import { hashFile } from '../../src/transfer/hash-file.node.ts'
import { type HttpServer, openHttpServer } from '../../src/transfer/http/server.node.ts'
import { httpProtocol } from '../../src/transfer/http/source.node.ts'
import { type OfferDeps, serveOffers } from '../../src/transfer/offers.ts'
import { freeGate, type PaymentGate } from '../../src/transfer/payment-gate.ts'
import { planKith } from '../../src/transfer/plan-kith.node.ts'
import type { Provider, ProviderFinder } from '../../src/transfer/provider-finder.ts'
import { ShareBook } from '../../src/transfer/share-book.node.ts'
import type { ShareRecord } from '../../src/transfer/share-store.node.ts'
import { TicketBook } from '../../src/transfer/tickets.ts'
import { createUploadGate } from '../../src/transfer/upload-gate.ts'
import { formatLink, parseLink } from '../../src/wire/link.ts'

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

export interface TestPeer extends AsyncDisposable {
  readonly folder: string
  readonly identity: Identity
  readonly rpc: Rpc
  readonly shares: ShareBook
  readonly http: HttpServer
  readonly finder: MemoryFinder
  readonly tickets: TicketBook
  share(
    path: string,
    options?: { readonly pricePerMb?: bigint; readonly uploadLimit?: number; readonly announce?: boolean }
  ): Promise<string>
  get(
    link: string,
    options?: Partial<DownloadOptions> & {
      readonly announce?: (fileId: Uint8Array) => Promise<void>
      readonly withdraw?: (fileId: Uint8Array) => Promise<void>
    }
  ): Download
}

export async function openTestPeer(
  network: MemoryNetwork,
  all?: MemoryFinder,
  payments: PaymentGate = freeGate,
  folder?: string,
  options: { readonly advertisedPort?: number } = {}
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
  let port = 0
  const shares = stack.use(
    await ShareBook.open(
      { clock: systemClock, signer, endpoints: () => [{ name: 'http', port, extra: new Uint8Array() }], onStopped: () => {} },
      join(home, 'shares.db')
    )
  )
  const gate = createUploadGate(
    { clock: systemClock, tickets, payments, termsOf: s => shares.termsOf(s), onAdmitted: () => {}, onSent: () => {} },
    { uploadLimit: undefined }
  )
  const http = stack.use(await openHttpServer({ shares, gate, clock: systemClock, log: silentLogger }, { host: '127.0.0.1' }))
  port = options.advertisedPort ?? http.port
  const offers: OfferDeps = { rpc, clock: systemClock, signer, tickets, payments }
  stack.use(serveOffers(offers, shares))
  const protocol = stack.use(httpProtocol({ clock: systemClock }))
  const downloads = stack.adopt(new Set<Download>(), async set => void (await Promise.all([...set].map(d => d[Symbol.asyncDispose]()))))
  const owned = stack.move()
  return {
    folder: home,
    identity,
    rpc,
    shares,
    http,
    finder,
    tickets,
    async share(path, options = {}) {
      const digest = await hashFile(path, { sha1: false, v2: false, ed2k: false })
      const record: ShareRecord = {
        ...digest,
        path,
        name: path.split('/').at(-1)!,
        mime: '',
        infoHash: undefined,
        pricePerMb: options.pricePerMb ?? 0n,
        protocols: ['http'],
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
      const deps = { ...offers, finder, log: silentLogger, protocols: [protocol] }
      const download = new Download(
        {
          clock: systemClock,
          log: silentLogger,
          payments,
          shares,
          onChange: () => {},
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
