/** The plan for an ed2k link: part hashes from the link or from clients, checked against the file's hash; parts checked by their MD4. */
import { bytesToHex } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import type { Ed2k } from './ed2k/ed2k.node.ts'
import { type Ed2kLink, parseEd2kLink } from './ed2k/link.ts'
import type { Ed2kPeer } from './ed2k/peers.ts'
import type { OfferedFile } from './ed2k/server-files.ts'
import type { Ed2kFinder } from './ed2k/swarm.node.ts'
import { makeGrid } from './grid.ts'
import { checkHashSet, hashSetFor, PART_BYTES } from './hashing/ed2k-hash.ts'
import { FIRST_SOURCE_MS } from './limits.ts'
import type { FeedContext, Plan } from './plan.node.ts'
import { peersNamed, unaskedText } from './unasked.ts'

export interface Ed2kPlanDeps {
  readonly ed2k: Ed2k
  /** Clients that the user named: they may be on this machine or network. */
  readonly given: readonly Ed2kPeer[]
  readonly finders: readonly Ed2kFinder[]
  /** Tells servers and Kad that parts of a file are here, until disposed. */
  readonly announce?: ((file: OfferedFile) => AsyncDisposable) | undefined
  /** One line for the user. */
  readonly note?: (text: string) => void
}

/** @throws BAD_ED2K_LINK, NO_SOURCES, CANCELLED */
export async function planEd2k(deps: Ed2kPlanDeps, text: string, signal: AbortSignal): Promise<Plan> {
  const link = parseEd2kLink(text)
  const { size, hash, name } = link
  const unasked = unaskedOf(deps, link)
  if (unasked !== undefined) deps.note?.(unasked)
  const hashes = hashSetOfLink(link) ?? (await fetchHashSet(deps, link, signal))
  const hex = bytesToHex(hash)
  const { announce } = deps
  let swarm: ReturnType<Ed2k['openSwarm']> | undefined
  return {
    stem: hex.slice(0, 16),
    grid: makeGrid(size, PART_BYTES),
    header: { key: `ed2k:${hex}`, size, chunkBytes: PART_BYTES, root: undefined },
    hashes: { algorithm: 'md4', of: part => hashes.subarray(16 * part, 16 * part + 16) },
    name,
    mime: '',
    fileId: undefined,
    root: undefined,
    chunkHashes: undefined,
    rootIsTrusted: false,
    files: undefined,
    ed2k: {
      hash,
      parts: hashSetFor(hash, size, hashes),
      ...(announce ? { announce: () => announce({ hash, name, size, complete: false }) } : {})
    },
    mend: async (part, bytes, source) => (await swarm?.mend(part, bytes, source)) ?? false,
    feed: (context, feedSignal) => feed(deps, link, context, feedSignal, opened => (swarm = opened))
  }
}

const unaskedOf = ({ given }: Ed2kPlanDeps, { sources = [] }: Ed2kLink): string | undefined =>
  given.length > 0 ? undefined : unaskedText(peersNamed(sources), [])

/** A file shorter than a part has no other hash than its own; a link may carry the set, which proves itself or is ignored. */
function hashSetOfLink({ hash, size, parts }: Ed2kLink): Uint8Array | undefined {
  if (size < PART_BYTES) return hash
  try {
    return parts && checkHashSet(hash, size, parts)
  } catch {
    return undefined
  }
}

async function fetchHashSet(deps: Ed2kPlanDeps, link: Ed2kLink, signal: AbortSignal): Promise<Uint8Array> {
  const { ed2k, given, finders } = deps
  const peers = [
    ...given.map(peer => ({ peer, trust: 'given' as const })),
    ...(link.sources ?? []).map(peer => ({ peer, trust: 'found' as const }))
  ]
  const { hash, size } = link
  try {
    return await ed2k.fetchHashSet({ hash, size, peers, finders }, AbortSignal.any([signal, AbortSignal.timeout(2 * FIRST_SOURCE_MS)]))
  } catch (cause) {
    if (signal.aborted) throw new KithError('CANCELLED', 'stopped', {}, { cause })
    const hint = 'name a client with --peer or an ed2k server; public networks are off unless --public is given'
    const unasked = unaskedOf(deps, link)
    throw new KithError('NO_SOURCES', 'nobody who has the file of this ed2k link could be reached', {}, { cause, hint: unasked ?? hint })
  }
}

async function feed(
  { ed2k, given, finders }: Ed2kPlanDeps,
  link: Ed2kLink,
  context: FeedContext,
  signal: AbortSignal,
  onSwarm: (swarm: ReturnType<Ed2k['openSwarm']>) => void
): Promise<void> {
  const { hash, size, aich, sources } = link
  await using swarm = ed2k.openSwarm({
    hash,
    size,
    chunkBytes: PART_BYTES,
    peers: given,
    trust: 'given',
    finders,
    aich,
    onSource: source => {
      if (!context.add(source)) void source[Symbol.asyncDispose]()
    }
  })
  context.onDropped((source, code) => code === 'SOURCE_LIED' && swarm.banWrong(source))
  onSwarm(swarm)
  swarm.add(sources ?? [], 'found')
  if (!signal.aborted) await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}
