/** The plan for a `kith:` link, a file id or a CID: providers from the DHT, their signed offers, hash pages checked against the root. */
import { bytesToHex } from '../base/bytes.ts'
import { codeOf, KithError } from '../base/errors.ts'
import { CHUNK_BYTES, HASHES_PER_PAGE } from '../wire/limits.ts'
import type { Link } from '../wire/link.ts'
import { Providers } from './finding/providers.ts'
import { type Grid, makeGrid } from './grid.ts'
import { FIRST_SOURCE_MS } from './limits.ts'
import { type FetchedOffer, fetchHashPage, fetchOffer } from './offers.ts'
import { type OtherSwarm, Others } from './other-swarms.node.ts'
import { kithStem } from './part-file.node.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import { Seeders, type SeedersDeps } from './seeders.ts'

export interface KithPlanDeps extends SeedersDeps {
  readonly others?: readonly OtherSwarm[] | undefined
}

/**
 * Finds enough providers to know the chunk hashes.
 * @throws NO_SOURCES when nobody answered within 30 s, NO_ROOT when nobody could prove the hashes, CANCELLED
 */
export async function planKith(
  deps: KithPlanDeps,
  link: Link,
  onNote: (text: string) => void,
  signal: AbortSignal,
  notRoots: ReadonlySet<string> = new Set()
): Promise<Plan> {
  const offers = new OfferQueue()
  const wanted = { fileId: link.fileId, root: link.root, size: link.size, via: link.via, notRoots }
  const providers = new Providers(deps, wanted, offer => offers.push(offer))
  const looking = new AbortController()
  const running = providers.run(AbortSignal.any([signal, looking.signal]))
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(FIRST_SOURCE_MS)])
    const first = await firstProven(deps, offers, onNote, deadline)
    if (!first) throw nobody(offers, signal)
    looking.abort()
    await running
    return makePlan(deps, link, first, offers)
  } finally {
    looking.abort()
    await running
  }
}

function nobody(offers: OfferQueue, signal: AbortSignal): KithError {
  if (signal.aborted) return new KithError('CANCELLED', 'stopped')
  if (offers.seen > 0)
    return new KithError(
      'NO_ROOT',
      'no seeder could prove the hashes of this file',
      { asked: offers.seen },
      { hint: 'ask for the full kith: link, or try again later' }
    )
  return new KithError(
    'NO_SOURCES',
    'nobody who has this file could be reached',
    {},
    { hint: 'is the seeder running? With a private network, pass its --bootstrap address' }
  )
}

interface Proven {
  readonly offer: FetchedOffer
  readonly grid: Grid
  readonly hashes: Uint8Array
}

/** The first provider whose hash pages all belong to its root. */
async function firstProven(
  deps: KithPlanDeps,
  offers: OfferQueue,
  onNote: (text: string) => void,
  signal: AbortSignal
): Promise<Proven | undefined> {
  for (;;) {
    const offer = await offers.next(signal)
    if (!offer) return undefined
    const grid = makeGrid(offer.offer.size)
    try {
      return { offer, grid, hashes: await fetchAllPages(deps, offer, grid, signal) }
    } catch (error) {
      if (signal.aborted) return undefined
      onNote(`a seeder could not prove the file's hashes (${codeOf(error)})`)
      deps.log.debug('hash pages failed', { peer: offer.peerId, error })
    }
  }
}

async function fetchAllPages(deps: KithPlanDeps, offer: FetchedOffer, grid: Grid, signal: AbortSignal): Promise<Uint8Array> {
  const hashes = new Uint8Array(grid.count * 32)
  for (let page = 0; page * HASHES_PER_PAGE < grid.count; page++) {
    hashes.set(await fetchHashPage(deps, offer, offer.offer.root, grid, page, signal), page * HASHES_PER_PAGE * 32)
  }
  return hashes
}

function makePlan(deps: KithPlanDeps, link: Link, { offer, grid, hashes }: Proven, early: OfferQueue): Plan {
  const { root, size } = offer.offer
  const hex = bytesToHex(link.fileId)
  return {
    stem: kithStem(link.fileId),
    grid,
    root,
    chunkHashes: hashes,
    fileId: link.fileId,
    files: undefined,
    header: { key: hex, size, chunkBytes: CHUNK_BYTES, root: bytesToHex(root) },
    hashes: { algorithm: 'sha256', of: c => hashes.subarray(32 * c, 32 * c + 32) },
    name: link.name ?? offer.manifest?.name ?? hex,
    mime: offer.manifest?.mime ?? '',
    rootIsTrusted: link.root !== undefined,
    feed: (context, signal) => feed(deps, link, offer, early, context, signal)
  }
}

/** Turns offers into sources until aborted. */
async function feed(
  deps: KithPlanDeps,
  link: Link,
  first: FetchedOffer,
  early: OfferQueue,
  context: FeedContext,
  signal: AbortSignal
): Promise<void> {
  await using others = new Others(deps, context)
  const use = (offer: FetchedOffer): void => {
    providers.skip(offer.peerId)
    others.join(offer)
    seeders.use(offer)
  }
  const wanted = { fileId: link.fileId, root: first.offer.root, size: first.offer.size, via: link.via }
  const providers: Providers = new Providers(deps, wanted, use)
  const seeders: Seeders = new Seeders(deps, context, peerId => providers.retry(peerId), signal)
  context.onDropped((source, code) => seeders.onDropped(source, code))
  context.onSlow(source => seeders.onSlow(source))
  for (const offer of [first, ...early.drain()]) if (sameContent(offer, first)) use(offer)
  await Promise.all([providers.run(signal), renewPartial(deps, seeders, link.fileId, signal)])
  await seeders.settled()
}

const sameContent = (a: FetchedOffer, b: FetchedOffer): boolean =>
  bytesToHex(a.offer.root) === bytesToHex(b.offer.root) && a.offer.size === b.offer.size

/** Partial seeders get more chunks as they download themselves: ask them again every few seconds. */
async function renewPartial(deps: KithPlanDeps, seeders: Seeders, fileId: Uint8Array, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await deps.clock.sleep(2_000, signal).catch(() => {})
    for (const [peerId, source] of [...seeders.live()]) {
      if (signal.aborted || !source.isPartial) continue
      await fetchOffer(deps, { peerId }, fileId, signal)
        .then(offer => source.renew(offer))
        .catch(error => deps.log.debug('offer not renewed', { peer: peerId, error }))
    }
  }
}

/** Offers that came before the plan was made; none is lost. */
class OfferQueue {
  readonly #offers: FetchedOffer[] = []
  #wake: (() => void) | undefined
  #taken = 0
  seen = 0

  push(offer: FetchedOffer): void {
    this.#offers.push(offer)
    this.seen++
    this.#wake?.()
  }
  /** The next offer, or undefined when aborted. */
  async next(signal: AbortSignal): Promise<FetchedOffer | undefined> {
    while (this.#taken >= this.#offers.length) {
      if (signal.aborted) return undefined
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
      await promise
    }
    return this.#offers[this.#taken++]
  }
  /** Those that `next` has not given out. */
  drain(): FetchedOffer[] {
    return this.#offers.splice(this.#taken)
  }
}
