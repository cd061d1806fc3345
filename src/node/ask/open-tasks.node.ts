/** Opens the tasks of a node: who may give which is a grant, and workers are found through the registry. */
import { randomBytes } from '#crypto'
import { openTaskStore } from '../../agents/task-store.node.ts'
import { openTasks } from '../../agents/tasks.ts'
import type { DelegationLimits, FoundWorker, Tasks } from '../../agents/types.ts'
import { systemClock } from '../../base/clock.ts'
import type { PeerRegistry } from '../../discovery/peer-registry.ts'
import type { OpenMessenger } from '../../messaging/messenger.ts'
import type { PeerBook } from '../../trust/types.ts'
import type { AskDeps } from './ask-parts.node.ts'
import { diskFailed } from './disk-failed.ts'

export interface TaskParts {
  readonly book: PeerBook
  readonly messenger: OpenMessenger
  readonly registry: PeerRegistry
}

/** How long the network is asked who has a skill, and how long after the first answer. */
const FIND_MS = 10_000
const FIND_MORE_MS = 500

/** @throws STORE_ codes */
export async function openTaskDesk(stack: AsyncDisposableStack, deps: AskDeps, parts: TaskParts): Promise<Tasks> {
  const { book, messenger } = parts
  const store = stack.use(
    openTaskStore(deps.config.folders.data, { storageKey: await deps.identity.storageKey('tasks'), onFailed: diskFailed(deps.log) })
  )
  const mayDelegate = (entity: string, skill: string): DelegationLimits => {
    const grant = book.allowed(entity, `task:${skill}`) ?? book.allowed(entity, 'task:*')
    if (!grant) return false
    return Object.keys(grant.limits).length > 0 ? grant.limits : true
  }
  return stack.use(
    await openTasks({
      ...{ messenger, store, clock: systemClock, random: randomBytes, log: deps.log.child('tasks'), mayDelegate, files: deps.files },
      sign: bytes => deps.identity.signBytes(bytes),
      finder: { find: (skill, signal) => findWorkers(parts, skill, signal) }
    })
  )
}

async function findWorkers({ book, messenger, registry }: TaskParts, skill: string, signal?: AbortSignal): Promise<readonly FoundWorker[]> {
  const latencies = new Map(messenger.stats().map(s => [s.entityId, s.ackP50Ms]))
  const enough = new AbortController()
  const until = AbortSignal.any([AbortSignal.timeout(FIND_MS), enough.signal, ...(signal ? [signal] : [])])
  const found: FoundWorker[] = []
  for await (const peer of registry.findByCapability(`task:${skill}`, until)) {
    const latencyMs = latencies.get(peer.entityId)
    const { score } = book.scores.view({ entityId: peer.entityId })
    const isProved = registry.knownPeer(peer.peerId)?.entityId === peer.entityId
    book.observe(peer.entityId, { capabilities: peer.capabilities, ...(isProved ? { peerId: peer.peerId } : {}) })
    found.push({ entityId: peer.entityId, score, ...(latencyMs === undefined ? {} : { latencyMs }) })
    if (found.length === 1)
      void systemClock.sleep(FIND_MORE_MS, until).then(
        () => enough.abort(),
        () => {}
      )
  }
  return found
}
