/**
 * What is known of a file before it is fetched, in the shape of spec 004's "File Metadata Structure (Protocol-Aware)". Made of signed
 * offers only: every seeder in it said so itself, at the address at which it was authenticated. Nothing is fetched, nothing is paid.
 *
 * Where the spec's sample lists chunk numbers one by one this says "all", or ranges "first-last": a file may have 2²² chunks.
 */
import { bytesToHex } from '../base/bytes.ts'
import { CHUNK_BYTES } from '../wire/limits.ts'
import type { Link } from '../wire/link.ts'
import type { Range } from '../wire/ranges.ts'
import { Providers, type ProvidersDeps } from './finding/providers.ts'
import { makeGrid } from './grid.ts'
import { INFO_WAIT_MS, MAX_INFO_RANGES } from './limits.ts'
import type { FetchedOffer } from './offers.ts'

/** Names are the spec's. */
export interface FileInfo {
  /** SHA-256, hex. */
  readonly file_hash: string
  readonly file_name: string | undefined
  readonly file_size: number | undefined
  readonly total_chunks: number | undefined
  readonly chunk_size: number
  /** Seconds since 1970, as the publisher says. */
  readonly created_at: number | undefined
  readonly mime_type: string | undefined
  /** By protocol name. A seeder is listed under each of its protocols. */
  readonly seeders: Readonly<Record<string, readonly SeederInfo[]>>
  readonly total_seeders: number
  readonly seeders_by_protocol: Readonly<Record<string, number>>
}

export interface SeederInfo {
  readonly peer_id: string
  /** "/ip4/192.0.2.7/tcp/8080/p2p/…"; without the address when the seeder is reached through a relay, or the protocol has no port. */
  readonly multiaddr: string
  /** undefined when it is free. */
  readonly wallet: string | undefined
  /** "all", or ranges "first-last". */
  readonly chunks: 'all' | readonly string[]
  /** wei per MB, decimal; "0" is free. */
  readonly price_per_mb: string
}

export interface InfoOptions {
  /** How long to look at most, ms. It ends earlier when one round of discovery has brought somebody. */
  readonly waitMs?: number
}

/** Asks who has a file. Nobody: what the link says, and no seeders. Never throws for what others do. */
export async function collectInfo(deps: ProvidersDeps, link: Link, signal: AbortSignal, options: InfoOptions = {}): Promise<FileInfo> {
  const offers: FetchedOffer[] = []
  const enough = new AbortController()
  const wanted = { fileId: link.fileId, root: link.root, size: link.size, via: link.via }
  const stop = AbortSignal.any([signal, enough.signal])
  const providers = new Providers(
    deps,
    wanted,
    offer => offers.push(offer),
    () => offers.length > 0 && enough.abort()
  )
  const late = deps.clock.sleep(options.waitMs ?? INFO_WAIT_MS, stop).catch(() => {})
  await Promise.all([providers.run(stop), late.then(() => enough.abort())])
  return mergeOffers(link, offers, peerId => deps.rpc.addressOf(peerId))
}

/**
 * One answer from many offers. Without a root in the link they may contradict each other: what most of them say is shown, and it is no
 * more than what they say.
 */
export function mergeOffers(link: Link, offers: readonly FetchedOffer[], addressOf: (peerId: string) => string | undefined): FileInfo {
  const agreed = largestGroup(offers)
  const manifest = agreed.find(o => o.manifest)?.manifest
  const size = agreed[0]?.offer.size ?? link.size
  const seeders = new Map<string, SeederInfo[]>()
  const counts = new Map<string, number>()
  let room = MAX_INFO_RANGES
  for (const fetched of agreed) {
    const { offer, peerId } = fetched
    const chunks = offer.chunks ? rangeTexts(offer.chunks) : 'all'
    for (const name of new Set(offer.protocols.map(p => p.name))) {
      counts.set(name, (counts.get(name) ?? 0) + 1)
      room -= chunks === 'all' ? 1 : chunks.length
      if (room < 0) continue // counted, not listed: the answer stays of a bearable size
      const port = offer.protocols.find(p => p.name === name)?.port ?? 0
      const free = offer.pricePerMb === 0n
      seeders.set(name, seeders.get(name) ?? [])
      seeders.get(name)!.push({
        peer_id: peerId,
        multiaddr: multiaddrOf(peerId, addressOf(peerId), port),
        wallet: free ? undefined : `0x${bytesToHex(offer.wallet)}`,
        chunks,
        price_per_mb: offer.pricePerMb.toString()
      })
    }
  }
  return {
    file_hash: bytesToHex(link.fileId),
    file_name: link.name ?? manifest?.name,
    file_size: size,
    total_chunks: size === undefined ? undefined : makeGrid(size).count,
    chunk_size: CHUNK_BYTES,
    created_at: manifest && Math.floor(manifest.created / 1000),
    mime_type: manifest?.mime,
    seeders: Object.fromEntries(seeders),
    total_seeders: agreed.length,
    seeders_by_protocol: Object.fromEntries(counts)
  }
}

function largestGroup(offers: readonly FetchedOffer[]): readonly FetchedOffer[] {
  const groups = Map.groupBy(offers, ({ offer }) => `${bytesToHex(offer.root)} ${offer.size}`)
  return [...groups.values()].sort((a, b) => b.length - a.length)[0] ?? []
}

const rangeTexts = (ranges: readonly Range[]): string[] => ranges.map(({ first, count }) => `${first}-${first + count - 1}`)

function multiaddrOf(peerId: string, host: string | undefined, port: number): string {
  if (!host || port === 0) return `/p2p/${peerId}`
  return `/${host.includes(':') ? 'ip6' : 'ip4'}/${host}/tcp/${port}/p2p/${peerId}`
}
