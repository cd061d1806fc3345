/** Part hashes of a link, asked of clients that have the file, each checked against the file's hash before it is believed. (threats ED3) */
import type { Clock } from '../../base/clock.ts'
import { KithError } from '../../base/errors.ts'
import { checkHashSet } from '../hashing/ed2k-hash.ts'
import type { PeerHub } from './hub.node.ts'
import { HASHSET_MS, HASHSET_PEERS, MAX_SWARM_PEERS } from './limits.ts'
import { type FoundPeer, foundKey, isLowId } from './low-id.node.ts'
import { edonkey } from './opcodes.ts'
import { protocols } from './packet.ts'
import type { Ed2kPeer } from './peers.ts'
import { asSourceError, type PeerSession, type SessionReader } from './session.node.ts'
import { type AddressTrust, type CheckAddress, type Ed2kFinder, reach } from './swarm.node.ts'

export interface HashSetDeps {
  readonly hub: PeerHub
  readonly clock: Clock
  readonly checkAddress: CheckAddress
}

export interface HashSetRequest {
  readonly hash: Uint8Array
  readonly size: number
  readonly peers: readonly { readonly peer: Ed2kPeer; readonly trust: AddressTrust }[]
  readonly finders: readonly Ed2kFinder[]
}

/** eMule's hash set (ed2k-hash.ts) from the first client that gives one which belongs to the file. @throws HASHSET_FAILED */
export async function fetchHashSet(deps: HashSetDeps, request: HashSetRequest, signal: AbortSignal): Promise<Uint8Array> {
  const stop = new AbortController()
  const all = AbortSignal.any([signal, stop.signal])
  const found = Promise.withResolvers<Uint8Array>()
  const known = new Set<string>()
  const queue: { peer: FoundPeer; trust: AddressTrust }[] = []
  const tasks = new Set<Promise<void>>()
  let lanes = 0
  let finding = request.finders.length
  const next = (): void => {
    while (lanes < HASHSET_PEERS && queue.length > 0 && !all.aborted) {
      lanes++
      const { peer, trust } = queue.shift()!
      track(
        askOne(deps, request, peer, trust, all)
          .then(found.resolve, () => {})
          .finally(() => {
            lanes--
            next()
          })
      )
    }
    if (lanes === 0 && queue.length === 0 && finding === 0) found.reject(failed())
  }
  const add = (peer: FoundPeer, trust: AddressTrust): void => {
    if (known.has(foundKey(peer)) || known.size >= MAX_SWARM_PEERS) return
    known.add(foundKey(peer))
    queue.push({ peer, trust })
  }
  const track = (task: Promise<void>): void => {
    tasks.add(task)
    void task.finally(() => tasks.delete(task))
  }
  const onAbort = (): void => found.reject(failed())
  all.addEventListener('abort', onAbort, { once: true })
  if (all.aborted) onAbort()
  for (const { peer, trust } of request.peers) add(peer, trust)
  for (const finder of request.finders) {
    const search = async (): Promise<void> => {
      for await (const peer of finder.find(request.hash, request.size, all)) {
        add(peer, (!isLowId(peer) && finder.trustOf?.(peer)) || 'found')
        next()
      }
    }
    track(
      search()
        .catch(() => {})
        .finally(() => {
          finding--
          next()
        })
    )
  }
  next()
  try {
    return await found.promise
  } finally {
    stop.abort()
    await Promise.all(tasks)
  }
}

const failed = (): KithError => new KithError('HASHSET_FAILED', 'no client gave the part hashes of this file')

async function askOne(
  { hub, clock, checkAddress }: HashSetDeps,
  { hash, size }: HashSetRequest,
  peer: FoundPeer,
  trust: AddressTrust,
  signal: AbortSignal
): Promise<Uint8Array> {
  const stop = new AbortController()
  const all = AbortSignal.any([signal, stop.signal])
  const late = clock.sleep(HASHSET_MS, all).then(
    () => stop.abort(new KithError('SOURCE_LOST', 'no part hashes in time')),
    () => {}
  )
  try {
    await using stack = new AsyncDisposableStack()
    const session = stack.use(await reach({ hub, checkAddress }, peer, trust, all))
    const reader = new HashSetReader(hash, size)
    session.reader = reader
    const onAbort = (): void => session.wire.close(new KithError('SOURCE_LOST', 'given up'))
    all.addEventListener('abort', onAbort, { once: true })
    if (all.aborted) onAbort()
    reader.ask(session)
    const set = await reader.found
    if (isLowId(peer) && !all.aborted) {
      // aMule that is called again soon after does not connect: it has not seen yet that the first connection ended.
      all.removeEventListener('abort', onAbort)
      stack.move()
      hub.leave(session)
    }
    return set
  } finally {
    stop.abort()
    await late
  }
}

/** Asks one client for the hash set, and for nothing else. */
class HashSetReader implements SessionReader {
  readonly hash: Uint8Array
  readonly size: number
  readonly #found = Promise.withResolvers<Uint8Array>()

  constructor(hash: Uint8Array, size: number) {
    this.hash = hash
    this.size = size
    this.#found.promise.catch(() => {})
  }
  get found(): Promise<Uint8Array> {
    return this.#found.promise
  }
  ask(session: PeerSession): void {
    if (session.wire.error) this.closed(session.wire.error)
    else session.send(protocols.edonkey, edonkey.hashSetRequest, this.hash)
  }
  hashSet(hashes: Uint8Array): void {
    try {
      // A file of exactly one part, from a program of the old convention: the file's hash is that of the part.
      this.#found.resolve(checkHashSet(this.hash, this.size, hashes.length === 0 ? this.hash : hashes))
    } catch (error) {
      this.#found.reject(error)
    }
  }
  noSuchFile(): void {
    this.#found.reject(new KithError('SOURCE_LOST', 'the client does not have the file'))
  }
  closed(error: KithError): void {
    this.#found.reject(asSourceError(error))
  }
  part(): void {
    throw new KithError('ED2K_WIRE', 'data that was not asked for')
  }
  compressed(): void {
    this.part()
  }
  target(): number {
    return Number.POSITIVE_INFINITY
  }
  fileAnswer(): void {}
  accepted(): void {}
  queued(): void {}
  turnOver(): void {}
  received(): void {}
  refused(): void {
    this.noSuchFile()
  }
  recovery(): void {}
  readDone(): void {}
}
