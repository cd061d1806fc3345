/**
 * Fetches piece layers from a peer by hash requests (BEP 52): what a v2 torrent needs beyond its info dictionary, which is all that a
 * magnet link brings. Each answer is checked up to the root that the info-hash covers.
 */
import { bytesToHex, equalBytes } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import { missingLayers } from './file-tree.ts'
import { HASH_BYTES, type HashRequest, provesHashes, requestsForLayer, treeHeight } from './hashes.ts'
import { asSourceError } from './hub.node.ts'
import { HASH_REQUESTS_AHEAD } from './limits.ts'
import { type Block, type Message, protocolError } from './messages.ts'
import type { Metainfo } from './metainfo.ts'
import type { PeerSession, SessionReader } from './session.node.ts'

interface Wanted {
  readonly request: HashRequest
  readonly height: number
  /** Where the hashes go; those beyond it stand for no data. */
  readonly target: Uint8Array
}

/** The torrent with every piece layer that it needs. @throws SOURCE_LOST, also when the peer has none; SOURCE_LIED when hashes are wrong */
export async function fetchLayers(session: PeerSession, torrent: Metainfo, signal: AbortSignal): Promise<Metainfo> {
  const { v2, pieceLength } = torrent
  const missing = v2 ? missingLayers(v2, pieceLength) : []
  if (!v2 || missing.length === 0) return torrent
  const layers = new Map(v2.layers)
  const wanted: Wanted[] = []
  for (const { root, size } of missing) {
    const layer = new Uint8Array(HASH_BYTES * Math.ceil(size / pieceLength))
    layers.set(bytesToHex(root), layer)
    for (const request of requestsForLayer(root, size, pieceLength)) {
      const target = layer.subarray(HASH_BYTES * request.index, HASH_BYTES * (request.index + request.length))
      wanted.push({ request, height: treeHeight(size), target })
    }
  }
  const reader = new LayerReader(session, wanted)
  const onAbort = (): void => session.wire.close(new KithError('SOURCE_LOST', 'the hashes did not come in time'))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal.aborted) onAbort()
    await reader.done
    return { ...torrent, v2: { ...v2, layers } }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

class LayerReader implements SessionReader {
  readonly #session: PeerSession
  readonly #wanted: Iterator<Wanted>
  readonly #pending: Wanted[] = []
  readonly #done = Promise.withResolvers<void>()

  constructor(session: PeerSession, wanted: readonly Wanted[]) {
    this.#session = session
    this.#wanted = wanted.values()
    this.#done.promise.catch(() => {})
    session.reader = this
    if (session.wire.error) this.closed(session.wire.error)
    else for (let i = 0; i < HASH_REQUESTS_AHEAD; i++) this.#askNext()
  }

  get done(): Promise<void> {
    return this.#done.promise
  }

  hashes(m: Extract<Message, { kind: 'hashes' | 'hashReject' }>): void {
    const at = this.#pending.findIndex(p => isSame(p.request, m))
    if (at < 0) throw protocolError('hashes that were not asked for')
    const [{ request, height, target }] = this.#pending.splice(at, 1) as [Wanted]
    if (m.kind === 'hashReject') throw new KithError('SOURCE_LOST', 'the peer does not give the hashes of this torrent')
    if (!provesHashes(request, m.hashes, height)) throw protocolError('hashes that do not lead to the root of their file')
    target.set(m.hashes.subarray(0, target.length))
    this.#askNext()
    if (this.#pending.length === 0) this.#done.resolve()
  }

  choked(): void {}
  unchoked(): void {}
  gained(): void {}
  rejected(): void {}
  needs(): void {}
  metadata(): void {}
  extended(): void {}
  readDone(): void {}
  block(_block: Block): never {
    throw protocolError('a block that was not asked for')
  }
  blockDone(): void {}
  closed(error: KithError): void {
    this.#done.reject(asSourceError(error))
  }

  #askNext(): void {
    const { value } = this.#wanted.next()
    if (!value) return
    this.#pending.push(value)
    this.#session.wire.send({ kind: 'hashRequest', ...value.request })
  }
}

const isSame = (a: HashRequest, b: HashRequest): boolean =>
  equalBytes(a.root, b.root) &&
  a.baseLayer === b.baseLayer &&
  a.index === b.index &&
  a.length === b.length &&
  a.proofLayers === b.proofLayers
