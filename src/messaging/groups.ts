/**
 * Groups over the messenger: who is in one is a log of signed operations that all members fold alike (groups/fold.ts); each change of it, and
 * each merge, makes a new key that only those get who are members then; a message is encrypted once and sent to each member. Members name the
 * newest operations they know in everything they send, so that different histories show at the next message (threats RT7).
 * Spec: docs/wire/groups.md
 */
import { bytesToHex } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { Emitter } from '../base/events.ts'
import { looksLikeDid } from '../wire/did-key.ts'
import { type GroupChange, type GroupRole, isGroupName } from '../wire/group-op.ts'
import { groupMessageBody, groupUpdateBody } from '../wire/group-payloads.ts'
import { MAX_GROUP_MESSAGE_BYTES, MAX_GROUP_PARENTS } from '../wire/limits.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import { GroupInbox } from './groups/inbox.ts'
import { createGroupOp, GroupLog, type LoggedOp, readGroupOp, transcriptOf, writeGroupOp } from './groups/log.ts'
import { copyId, GroupOutbox, uuidOf } from './groups/outbox.ts'
import { GroupRoom } from './groups/room.ts'
import { epochIdOf, sealPost } from './groups/seal.ts'
import type { OutgoingCopy, StoredDelivery, StoredEpoch, StoredPost } from './groups/store.ts'
import type { Groups, GroupsDeps, GroupsEvents, GroupView, PostDelivery, PostView } from './groups-types.ts'
import { MAX_GROUPS } from './limits.ts'
import type { EntityId, IncomingMessage, SentMessage } from './types.ts'

const DEFAULT_POSTS = 50
/** What encryption and the head add to a message. */
const SEAL_BYTES = 64

class MessengerGroups implements Groups {
  readonly events: Emitter<GroupsEvents>
  readonly #deps: GroupsDeps
  readonly #self: EntityId
  readonly #rooms = new Map<string, GroupRoom>()
  readonly #outbox: GroupOutbox
  readonly #inbox: GroupInbox
  readonly #closing = new AbortController()
  readonly #tasks = new Set<Promise<unknown>>()
  /** Changes of a group, own ones and those of others, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  readonly #handlers = new DisposableStack()

  constructor(deps: GroupsDeps) {
    this.#deps = deps
    this.#self = deps.messenger.self
    this.events = new Emitter(cause => deps.log.warn('a listener threw', { cause }))
    this.#outbox = new GroupOutbox({ ...deps, onDelivery: d => this.#tellDelivery(d) })
    this.#inbox = new GroupInbox(deps, {
      rooms: this.#rooms,
      events: this.events,
      inTurn: work => this.#inTurn(work),
      flush: () => this.#flush(),
      update: (to, body) => ({ outId: uuidOf(deps.random(16)), to, type: 'group_update', body }),
      viewOf: post => this.#viewOf(post)
    })
  }

  /** Reads what is on disk, takes up what was left undone, and begins to listen. For `openGroups`. */
  async open(): Promise<void> {
    const { store, messenger, log } = this.#deps
    for (const { id, ops, epochs } of store.groups()) {
      const room = new GroupRoom(new GroupLog(id), epochs)
      room.log.add((await Promise.all(ops.map(o => readGroupOp(o)))) as LoggedOp[])
      this.#rooms.set(id, room)
    }
    messenger.events.on('message:changed', ({ message }) => this.#track(this.#onChanged(message)), this.#closing.signal)
    // What a member refuses comes as an error: it has our message, and does not want it.
    messenger.events.on('message:received', ({ message }) => this.#onReceived(message), this.#closing.signal)
    messenger.events.on('peer:connected', ({ entityId }) => this.#track(this.#inbox.askAgain(entityId)), this.#closing.signal)
    for (const { outId } of store.unfinished()) {
      const sent = messenger.sent(outId)
      if (sent) this.#track(this.#onChanged(sent))
    }
    this.#handlers.use(messenger.handle('group_update', m => this.#inbox.onUpdate(m)))
    this.#handlers.use(messenger.handle('group_message', m => this.#inbox.onMessage(m)))
    this.#flush()
    for (const room of this.#rooms.values())
      this.#track(this.#inbox.retryHeld(room).catch(cause => log.warn('held messages wait', { cause })))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#handlers.dispose()
    await this.#turn
    await this.#outbox[Symbol.asyncDispose]()
    await Promise.allSettled(this.#tasks)
  }

  async create(name: string, members: readonly EntityId[] = []): Promise<GroupView> {
    if (!isGroupName(name)) throw new KithError('BAD_GROUP_NAME', 'a group has a name of 1 to 128 visible bytes')
    for (const m of members) this.#checkOther(m)
    return this.#inTurn(async () => {
      if (this.#rooms.size >= MAX_GROUPS) throw new KithError('TOO_MANY_GROUPS', 'this node is in as many groups as it may be')
      const { random, clock, sign } = this.#deps
      const first = await createGroupOp(name, random(16), clock.now(), sign)
      const room = new GroupRoom(new GroupLog(first.hash))
      const ops = [first]
      room.log.add(ops)
      for (const member of new Set(members)) ops.push(await this.#write(room.log, { kind: 'add', member, role: 'member' }))
      await this.#publish(room, room.log, ops)
      this.#rooms.set(first.hash, room)
      return this.#changed(room)
    })
  }

  add(groupId: string, member: EntityId, role: GroupRole = 'member'): Promise<GroupView> {
    return this.#change(groupId, { kind: 'add', member, role })
  }
  remove(groupId: string, member: EntityId): Promise<GroupView> {
    return member === this.#self ? this.leave(groupId) : this.#change(groupId, { kind: 'remove', member })
  }
  setRole(groupId: string, member: EntityId, role: GroupRole): Promise<GroupView> {
    return this.#change(groupId, { kind: 'role', member, role })
  }
  leave(groupId: string): Promise<GroupView> {
    return this.#change(groupId, { kind: 'leave' })
  }

  async forget(groupId: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const room = this.#rooms.get(groupId)
      if (room?.members.has(this.#self)) throw new KithError('STILL_MEMBER', 'leave the group first', { group: groupId })
      this.#rooms.delete(groupId)
      if (room) await this.#deps.store.commit(() => this.#deps.store.forget(groupId))
      return room !== undefined
    })
  }

  send(groupId: string, content: string | JsonObject, id: string = uuidOf(this.#deps.random(16))): Promise<PostView> {
    return this.#inTurn(async () => {
      const { store, clock, random } = this.#deps
      const room = this.#member(groupId)
      const known = store.post(groupId, id, this.#self)
      if (known) return this.#viewOf(known)
      const body = typeof content === 'string' ? { text: content } : content
      const { epoch, copies: keys } = await this.#epochFor(room)
      const { heads } = room.log.fold
      const head = { groupId, postId: id, epoch: epoch.id, heads, transcript: await transcriptOf(heads), salt: bytesToHex(random(32)) }
      const data = await sealPost(epoch.key, head, this.#self, body)
      if (data.length > MAX_GROUP_MESSAGE_BYTES - SEAL_BYTES)
        throw new KithError('TOO_LARGE', 'a message to a group is too large', { bytes: data.length })
      const now = clock.now()
      const post: StoredPost = { id, groupId, from: this.#self, body, sentAt: now, receivedAt: now }
      const others = this.#others(room)
      const ids = await Promise.all(others.map(to => copyId(groupId, id, to, 0)))
      const message = groupMessageBody({ ...head, data })
      await store.commit(() => {
        for (const k of keys) store.addOutgoing(k)
        store.addPost(post)
        for (const [i, to] of others.entries()) {
          const outId = ids[i]!
          store.addDelivery({ outId, groupId, postId: id, to, state: 'waiting', code: undefined, changedAt: now })
          store.addOutgoing({ outId, to, type: 'group_message', body: message })
        }
      })
      this.#flush()
      return this.#viewOf(post)
    })
  }

  list(): GroupView[] {
    return [...this.#rooms.values()].map(r => r.view(this.#self))
  }
  get(groupId: string): GroupView | undefined {
    return this.#rooms.get(groupId)?.view(this.#self)
  }
  posts(groupId: string, limit: number = DEFAULT_POSTS): PostView[] {
    return this.#deps.store.posts(groupId, limit).map(p => this.#viewOf(p))
  }
  post(groupId: string, postId: string): PostView | undefined {
    const found = this.#deps.store.post(groupId, postId)
    return found && this.#viewOf(found)
  }

  async #change(groupId: string, change: GroupChange): Promise<GroupView> {
    if ('member' in change && change.member !== this.#self) this.#checkOther(change.member)
    return this.#inTurn(async () => {
      const room = this.#member(groupId)
      const log = room.log.copy()
      const op = await this.#write(log, change)
      await this.#publish(room, log, [op])
      return this.#changed(room)
    })
  }

  /** Writes an operation into `log`. @throws NOT_AUTHORISED when others would not let it count */
  async #write(log: GroupLog, change: GroupChange): Promise<LoggedOp> {
    const op = await writeGroupOp(log, change, this.#deps.clock.now(), this.#deps.sign)
    log.add([op])
    if (!log.fold.isValid(op.hash))
      throw new KithError('NOT_AUTHORISED', 'this change of the group is not ours to make', { kind: change.kind })
    return op
  }

  /** Makes own operations durable with a key for those who are members after them, and sends both. */
  async #publish(room: GroupRoom, log: GroupLog, ops: readonly LoggedOp[]): Promise<void> {
    const { store } = this.#deps
    const before = ops[0]!.change.kind === 'create' ? [] : [...room.members.keys()]
    const after = log.fold.members
    const epoch = after.has(this.#self) ? await this.#newEpoch(log) : undefined
    const [groupId, { heads }] = [log.id, log.fold]
    const fresh = ops.map(o => o.bytes)
    const copies = [...new Set([...before, ...after.keys()])]
      .filter(to => to !== this.#self)
      .map(to => {
        // Who is new needs everything.
        const bytes = before.includes(to) ? fresh : log.after([])
        const epochs = epoch && after.has(to) ? [{ key: bytesToHex(epoch.key), heads: epoch.heads }] : []
        return this.#update(to, groupUpdateBody({ groupId, ops: bytes, epochs, heads, want: false }))
      })
    await store.commit(() => {
      store.addOps(groupId, ops)
      if (epoch) store.addEpoch(groupId, epoch)
      for (const c of copies) store.addOutgoing(c)
    })
    room.log = log
    if (epoch) await this.#remember(room, epoch)
    this.#flush()
  }

  /** The key for a message now; when there is none for exactly what is known (after a merge, or a departure) a new one, to be sent first. */
  async #epochFor(room: GroupRoom): Promise<{ readonly epoch: StoredEpoch; readonly copies: readonly OutgoingCopy[] }> {
    const current = room.currentEpoch()
    if (current) return { epoch: current, copies: [] }
    const { store } = this.#deps
    const epoch = await this.#newEpoch(room.log)
    await store.commit(() => store.addEpoch(room.log.id, epoch))
    await this.#remember(room, epoch)
    const body = groupUpdateBody({
      groupId: room.log.id,
      ops: [],
      epochs: [{ key: bytesToHex(epoch.key), heads: epoch.heads }],
      heads: room.log.fold.heads,
      want: false
    })
    return { epoch, copies: this.#others(room).map(to => this.#update(to, body)) }
  }

  async #newEpoch(log: GroupLog): Promise<StoredEpoch> {
    const { heads } = log.fold
    if (heads.length > MAX_GROUP_PARENTS) throw new KithError('GROUP_FULL', 'too many changes at the same time', { heads: heads.length })
    const key = this.#deps.random(32)
    return { id: await epochIdOf(key), key, heads }
  }

  async #remember(room: GroupRoom, epoch: StoredEpoch): Promise<void> {
    const { store } = this.#deps
    const dropped = room.addEpoch(epoch)
    if (dropped.length > 0) await store.commit(() => store.removeEpochs(room.log.id, dropped))
  }

  #onReceived({ type, body }: IncomingMessage): void {
    const [id, code] = [body['original_message_id'], body['error_code']]
    if (type !== 'error' || typeof id !== 'string' || typeof code !== 'string') return
    this.#track(this.#onChanged({ id, state: 'failed', reason: { code, message: '' } }))
  }

  /** The messenger knows more about a copy. A member that does not know yet that it is one is told everything, and gets the copy again. */
  async #onChanged({ id, state, reason }: Pick<SentMessage, 'id' | 'state' | 'reason'>): Promise<void> {
    const { store, clock, log } = this.#deps
    try {
      const changed = await store.commit(() => store.setDelivery(id, state, reason?.code, clock.now()))
      if (!changed) return
      if (state === 'failed' && reason?.code === 'NOT_MEMBER' && (await this.#again(changed))) return
      this.#tellDelivery(changed)
    } catch (cause) {
      log.warn('what became of a message to a group is not written down', { cause })
    }
  }

  async #again(failed: StoredDelivery): Promise<boolean> {
    const { store, clock } = this.#deps
    const { groupId, postId, to } = failed
    const room = this.#rooms.get(groupId)
    const post = store.post(groupId, postId, this.#self)
    if (!room?.members.has(to) || !room.members.has(this.#self) || !post) return false
    const outId = await copyId(groupId, postId, to, 1)
    if (store.deliveries(groupId, postId).some(d => d.outId === outId)) return false
    const { epoch, copies } = await this.#epochFor(room)
    const { heads } = room.log.fold
    const head = { groupId, postId, epoch: epoch.id, heads, transcript: await transcriptOf(heads), salt: bytesToHex(this.#deps.random(32)) }
    const body = groupMessageBody({ ...head, data: await sealPost(epoch.key, head, this.#self, post.body) })
    const epochs = [{ key: bytesToHex(epoch.key), heads: epoch.heads }]
    const update = this.#update(to, groupUpdateBody({ groupId, ops: room.log.after([]), epochs, heads, want: false }))
    await store.commit(() => {
      for (const c of [...copies, update]) store.addOutgoing(c)
      store.addDelivery({ outId, groupId, postId, to, state: 'waiting', code: undefined, changedAt: clock.now() })
      store.addOutgoing({ outId, to, type: 'group_message', body })
    })
    this.#flush()
    return true
  }

  #update = (to: EntityId, body: JsonObject): OutgoingCopy => ({ outId: uuidOf(this.#deps.random(16)), to, type: 'group_update', body })
  #others = (room: GroupRoom): EntityId[] => [...room.members.keys()].filter(m => m !== this.#self)

  /** @throws UNKNOWN_GROUP, NOT_MEMBER */
  #member(groupId: string): GroupRoom {
    const room = this.#rooms.get(groupId)
    if (!room) throw new KithError('UNKNOWN_GROUP', 'there is no such group here', { group: groupId })
    if (!room.members.has(this.#self)) throw new KithError('NOT_MEMBER', 'this instance is no member of the group', { group: groupId })
    return room
  }

  /** @throws BAD_ENTITY */
  #checkOther(id: EntityId): void {
    if (!looksLikeDid(id) || id === this.#self) throw new KithError('BAD_ENTITY', 'not the did:key of somebody else')
  }

  #changed(room: GroupRoom): GroupView {
    const group = room.view(this.#self)
    this.events.emit('group:changed', { group })
    return group
  }

  #tellDelivery(d: StoredDelivery): void {
    this.events.emit('group:delivery', { groupId: d.groupId, postId: d.postId, delivery: deliveryView(d) })
  }

  #viewOf(post: StoredPost): PostView {
    const own = post.from === this.#self ? this.#deps.store.deliveries(post.groupId, post.id) : []
    // A copy that was sent again counts as what became of the second attempt.
    const last = new Map<EntityId, StoredDelivery>()
    for (const d of own) if (!last.has(d.to) || d.code !== 'NOT_MEMBER') last.set(d.to, d)
    const text = post.body['text']
    return { ...post, text: typeof text === 'string' ? text : undefined, deliveries: [...last.values()].map(deliveryView) }
  }

  #flush(): void {
    this.#track(this.#outbox.flush())
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const task = this.#turn.then(work)
    this.#turn = task.catch(() => {})
    return task
  }

  #track(task: Promise<unknown>): void {
    this.#tasks.add(task)
    const done = (): void => void this.#tasks.delete(task)
    task.then(done, done)
  }
}

const deliveryView = ({ to, state, code, changedAt }: StoredDelivery): PostDelivery => ({ to, state, code, changedAt })

/**
 * Opens the groups that are on disk and listens for what members send. Dispose it before messenger and store.
 * @throws STORE_CORRUPT, WIRE_SIGNATURE or any WIRE_ code when what is on disk was changed, HANDLER_EXISTS
 */
export async function openGroups(deps: GroupsDeps): Promise<Groups> {
  const groups = new MessengerGroups(deps)
  try {
    await groups.open()
  } catch (error) {
    await groups[Symbol.asyncDispose]()
    throw error
  }
  return groups
}
