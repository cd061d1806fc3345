/** Nodes that give and take tasks over messengers in memory, each with a real tasks.db: opened, killed and opened again. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { FailpointName, TasksDeps } from '../../src/agents/deps.ts'
import type { TaskStore } from '../../src/agents/store.ts'
import { openTaskStore } from '../../src/agents/task-store.node.ts'
import { openTasks } from '../../src/agents/tasks.ts'
import type { DelegationLimits, Tasks } from '../../src/agents/types.ts'
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { KithError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { EntityId } from '../../src/messaging/types.ts'
import { didOfKey } from '../../src/wire/did-key.ts'
import { type MemoryMessenger, MemoryPost } from './messenger-memory.ts'

/** In memory, if there is such a place: these tests are about order, not about the disk. */
const ROOT = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

export interface Entity {
  readonly id: EntityId
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

export function newEntity(): Entity {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = publicKey.export({ format: 'der', type: 'spki' }).subarray(12)
  return { id: didOfKey(key), sign: async bytes => new Uint8Array(sign(null, bytes, privateKey)) }
}

export type Extra = Partial<Pick<TasksDeps, 'finder' | 'files' | 'log'>>

export class TaskNode {
  readonly entity: Entity
  readonly #rig: TaskRig
  readonly #folder: string
  readonly #extra: Extra
  /** What peers may delegate: everything, unless a test says otherwise. */
  mayDelegate: (peer: EntityId, skill: string) => DelegationLimits = () => true
  /** Its disk has no room: nothing can be written. */
  full = false
  failpoint: (step: FailpointName) => void = () => {}
  messenger!: MemoryMessenger
  tasks!: Tasks
  store!: TaskStore
  #dead = { value: false }
  #life = new AbortController()

  constructor(rig: TaskRig, folder: string, extra: Extra) {
    this.#rig = rig
    this.#folder = folder
    this.#extra = extra
    this.entity = newEntity()
  }
  get id(): EntityId {
    return this.entity.id
  }
  async open(): Promise<this> {
    const dead = { value: false }
    this.#dead = dead
    const life = new AbortController()
    this.#life = life
    const real = openTaskStore(this.#folder, { storageKey: new Uint8Array(32).fill(7) })
    this.store = mortal(real, dead, () => this.full)
    this.messenger = this.#rig.post.open(this.id)
    this.tasks = await openTasks(
      {
        ...{ messenger: this.messenger, store: this.store, clock: mortalClock(this.#rig.clock, life.signal), log: silentLogger },
        ...{ random: (n: number) => new Uint8Array(randomBytes(n)), sign: (b: Uint8Array) => this.entity.sign(b) },
        mayDelegate: (peer, skill) => this.mayDelegate(peer, skill),
        failpoint: step => {
          if (!dead.value) this.failpoint(step)
        },
        ...this.#extra
      },
      { rebalanceAfterMs: 1000 }
    )
    const { tasks, messenger } = this
    this.#rig.cleanup(async () => {
      life.abort()
      if (!dead.value) await tasks[Symbol.asyncDispose]()
      await messenger[Symbol.asyncDispose]()
      await real[Symbol.asyncDispose]()
    })
    return this
  }
  /** As kill -9: from now on nothing of it has an effect. */
  kill(): void {
    this.#dead.value = true
    this.#life.abort()
    this.#rig.post.kill(this.id)
  }
  async restart(): Promise<void> {
    this.kill()
    await this.open()
  }
  async close(): Promise<void> {
    await this.tasks[Symbol.asyncDispose]()
    await this.messenger[Symbol.asyncDispose]()
    await this.store[Symbol.asyncDispose]()
    this.#dead.value = true
  }
}

/** A clock whose timers end with the process. */
const mortalClock = (clock: Clock, life: AbortSignal): Clock => ({
  now: () => clock.now(),
  monotonic: () => clock.monotonic(),
  sleep: (ms, signal) => clock.sleep(ms, signal ? AbortSignal.any([signal, life]) : life)
})

/** A store whose process can die: then every call throws. */
function mortal(store: TaskStore, dead: { readonly value: boolean }, isFull: () => boolean): TaskStore {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (dead.value) throw new Error('killed')
        if (name === 'write' && isFull()) throw new KithError('DISK_FULL', 'no space left')
        return Reflect.apply(value, target, args)
      }
    }
  })
}

export class TaskRig {
  readonly post: MemoryPost
  readonly clock: Clock
  readonly #root: string = mkdtempSync(join(ROOT, 'kith-tasks-'))
  readonly #cleanups: (() => Promise<void>)[] = []
  #nodes = 0

  constructor(t: Pick<TestContext, 'after'>, clock: Clock = systemClock) {
    this.clock = clock
    this.post = new MemoryPost(clock)
    t.after(() => this.end())
  }
  node(extra: Extra = {}): Promise<TaskNode> {
    return new TaskNode(this, join(this.#root, String(this.#nodes++)), extra).open()
  }
  cleanup(work: () => Promise<void>): void {
    this.#cleanups.push(work)
  }
  async end(): Promise<void> {
    for (const work of this.#cleanups.splice(0).reverse()) await work()
    rmSync(this.#root, { recursive: true, force: true })
  }
}
