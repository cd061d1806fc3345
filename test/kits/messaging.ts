/** Messengers for tests: identities from a name, sessions that are real or none, links in memory or over libp2p. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ed25519PublicKey, openSigner, randomBytes } from '#crypto'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { KithError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Channels } from '../../src/messaging/channel.ts'
import { memoryLinkPair, type Tamper } from '../../src/messaging/link-memory.ts'
import { openMessageStore } from '../../src/messaging/message-store.node.ts'
import { type MessengerDeps, type OpenMessenger, openMessenger } from '../../src/messaging/messenger.ts'
import { sessionChannels } from '../../src/messaging/session-channel.ts'
import { pooledRandom } from '../../src/platform/random-pool.ts'
import { type AuthenticationLayer, ed25519Layer } from '../../src/session/layers.ts'
import { openSessions } from '../../src/session/sessions.ts'
import type { SessionSelf } from '../../src/session/types.ts'
import { didOfKey } from '../../src/wire/did-key.ts'
import type { JsonObject } from '../../src/wire/strict-json.ts'

export const NETWORK = '0123456789abcdef'

export const seedOf = (name: string): Buffer => createHash('sha256').update(name).digest()

/** Of the libp2p key. */
export const peerSeedOf = (name: string): Buffer => seedOf(`${name} libp2p`)

/** An instance's keys, always the same for one name. */
export async function selfOf(name: string): Promise<SessionSelf> {
  const seed = seedOf(name)
  const publicKey = await ed25519PublicKey(seed)
  const signer = openSigner(seed)
  return { entityId: didOfKey(publicKey), publicKey, certificate: undefined, signBytes: async bytes => signer.sign(bytes) }
}

/** A folder that is removed with `[Symbol.dispose]`. */
export function tempFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'kith-messages-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

export interface TestPeer extends AsyncDisposable {
  readonly name: string
  readonly id: string
  readonly messenger: OpenMessenger
  /** Resolves when what was written is on disk, which no fake clock knows of. */
  readonly onDisk: () => Promise<void>
}

/** Peers that find each other by id in one process. */
export class MemoryNetwork {
  readonly #peers = new Map<string, OpenMessenger>()
  /** Whether links can be opened. */
  isUp = true
  tamper: Tamper | undefined
  dials = 0
  /** Stands between delivery and the sessions of peers that are opened next. */
  wrap: (channels: Channels) => Channels = channels => channels
  /** How peers that are opened next sign and check. */
  authentication: (self: SessionSelf) => AuthenticationLayer = ed25519Layer
  readonly clock: Clock

  constructor(clock: Clock = systemClock) {
    this.clock = clock
  }

  async open(folder: string, name: string, options: Partial<MessengerDeps> = {}): Promise<TestPeer> {
    const self = await selfOf(name)
    const { clock } = this
    const sessions = openSessions({
      clock,
      random: pooledRandom(randomBytes),
      self,
      network: NETWORK,
      authentication: this.authentication(self)
    })
    const store = openMessageStore(join(folder, name, 'messages.db'), { storageKey: seedOf(`${name} storage`) })
    const deps: MessengerDeps = {
      ...{ clock, random: randomBytes, log: silentLogger, store, self, channels: this.wrap(sessionChannels(sessions)) },
      opener: { open: async to => this.#link(self.entityId, to) },
      ...options
    }
    const messenger = await openMessenger(deps)
    this.#peers.set(self.entityId, messenger)
    return {
      ...{ name, id: self.entityId, messenger, onDisk: () => store.commit(() => {}) },
      [Symbol.asyncDispose]: async () => {
        if (this.#peers.get(self.entityId) === messenger) this.#peers.delete(self.entityId)
        await messenger[Symbol.asyncDispose]()
        store[Symbol.dispose]()
        sessions[Symbol.dispose]()
      }
    }
  }

  #link(from: string, to: string): ReturnType<typeof memoryLinkPair>[0] {
    this.dials++
    const other = this.#peers.get(to)
    if (!this.isUp || !other) throw new KithError('PEER_UNREACHABLE', 'nobody there')
    const [ours, theirs] = memoryLinkPair({ peerId: to }, { peerId: from }, (frame, end) => this.tamper?.(frame, end) ?? [frame])
    void other.accept(theirs)
    return ours
  }
}

/** The body of an `agent_message` that says something. */
export const note = (text: string): JsonObject => ({ from: 'a', to: 'b', content: { type: 'discussion', data: { text } } })
