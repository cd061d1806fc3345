/** What members of groups send us: operations, keys, questions about them, and messages. */
import { bytesToHex, hexToBytes } from '../../base/bytes.ts'
import { codeOf, hasCode, KithError } from '../../base/errors.ts'
import type { Emitter } from '../../base/events.ts'
import { TokenBucket } from '../../base/token-bucket.ts'
import { type GroupMessage, type GroupUpdate, groupUpdateBody, readGroupMessage, readGroupUpdate } from '../../wire/group-payloads.ts'
import { MAX_GROUP_PARENTS } from '../../wire/limits.ts'
import type { JsonObject } from '../../wire/strict-json.ts'
import type { GroupsDeps, GroupsEvents, PostView } from '../groups-types.ts'
import {
  ALL_FOLDED_OPS_PER_SECOND,
  EPOCHS_TOLD,
  FOLDED_OPS_BURST,
  FOLDED_OPS_PER_SECOND,
  HELD_POST_MS,
  MAX_GROUPS,
  MAX_GROUPS_PER_PEER,
  MAX_HELD_POSTS,
  MAX_HELD_POSTS_OF_OTHERS,
  MAX_HELD_POSTS_PER_MEMBER,
  MAX_RATED_PEERS,
  MAX_STRANGER_OPS
} from '../limits.ts'
import { RatedNames } from '../rated.ts'
import type { EntityId, IncomingMessage } from '../types.ts'
import type { GroupOpNode } from './fold.ts'
import { GroupLog, type LoggedOp, readGroupOp, transcriptOf } from './log.ts'
import { GroupRoom } from './room.ts'
import { epochIdOf, openPost } from './seal.ts'
import type { OutgoingCopy, StoredEpoch, StoredPost } from './store.ts'

export interface GroupInboxParts {
  readonly rooms: Map<string, GroupRoom>
  readonly events: Emitter<GroupsEvents>
  inTurn<T>(work: () => Promise<T>): Promise<T>
  flush(): void
  update(to: EntityId, body: JsonObject): OutgoingCopy
  viewOf(post: StoredPost): PostView
}

type Received = Pick<IncomingMessage, 'from' | 'body' | 'sentAt' | 'receivedAt'>
/** As many of the newest operations as a payload may name. */
const headsOf = (room: GroupRoom): string[] => room.log.fold.heads.slice(0, MAX_GROUP_PARENTS)
const notMember = (group: string): KithError => new KithError('NOT_MEMBER', 'only members take part in a group', { group })

export class GroupInbox {
  readonly #deps: GroupsDeps
  readonly #parts: GroupInboxParts
  readonly #self: EntityId
  /** Groups that are new to us: reading one costs a signature for each operation. */
  readonly #invitations: TokenBucket
  readonly #folds: RatedNames
  readonly #allFolds: TokenBucket

  constructor(deps: GroupsDeps, parts: GroupInboxParts) {
    this.#deps = deps
    this.#parts = parts
    this.#self = deps.messenger.self
    this.#invitations = new TokenBucket(deps.clock, 1, 10)
    this.#folds = new RatedNames(deps.clock, { perSecond: FOLDED_OPS_PER_SECOND, burst: FOLDED_OPS_BURST }, MAX_RATED_PEERS)
    this.#allFolds = new TokenBucket(deps.clock, ALL_FOLDED_OPS_PER_SECOND, 2 * FOLDED_OPS_BURST)
  }

  /** @throws NOT_MEMBER, NOT_AUTHORISED, TOO_MANY_GROUPS, RATE_LIMITED, BAD_PAYLOAD, BAD_GROUP_OP, GROUP_FULL, WIRE_SIGNATURE, any WIRE_ code */
  onUpdate(message: IncomingMessage): Promise<void> {
    const update = readGroupUpdate(message.body)
    return this.#parts.inTurn(() => this.#update(update, message.from))
  }

  /** @throws NOT_MEMBER, QUEUE_FULL, BAD_PAYLOAD, DECRYPTION_FAILED */
  async onMessage(message: IncomingMessage): Promise<void> {
    const { groupId } = readGroupMessage(message.body)
    // Changes that came before it are looked at first.
    await this.#parts.inTurn(async () => {})
    const room = this.#parts.rooms.get(groupId)
    if (!room) throw notMember(groupId)
    if (await this.#post(room, message)) return
    const { from, body, sentAt, receivedAt } = message
    const { store } = this.#deps
    const held = { groupId: room.log.id, from, body, sentAt, receivedAt }
    // Who is no member may be one of whom we do not know yet; others under many names leave room for those who are.
    const most = room.members.has(from) ? MAX_HELD_POSTS : MAX_HELD_POSTS_OF_OTHERS
    const isHeld = await store.commit(() => store.hold(held, most, MAX_HELD_POSTS_PER_MEMBER))
    if (!isHeld) throw new KithError('QUEUE_FULL', 'too many messages wait for changes of the group that are not known')
    // What it waits for may have come in between.
    await this.retryHeld(room)
  }

  /** Looks at held messages again. */
  async retryHeld(room: GroupRoom): Promise<void> {
    const { store, clock, log } = this.#deps
    for (const held of store.held(room.log.id)) {
      let isDone = held.receivedAt + HELD_POST_MS < clock.now()
      try {
        isDone = (await this.#post(room, held)) || isDone
      } catch (cause) {
        if (!(cause instanceof KithError) || ['DISK_FULL', 'DISK_FAILED', 'STORE_READ_ONLY', 'STORE_CORRUPT'].includes(codeOf(cause)))
          throw cause
        log.debug('a held message of a group is dropped', { group: room.log.id, cause })
        isDone = true
      }
      if (isDone) await store.commit(() => store.unhold(held.seq))
    }
  }

  /** Asks a member that has come for what it knows and we do not. */
  async askAgain(member: EntityId): Promise<void> {
    for (const room of this.#parts.rooms.values()) if (room.ahead.includes(member)) await this.#ask(room, member)
  }

  async #update(update: GroupUpdate, from: EntityId): Promise<void> {
    const { rooms, events } = this.#parts
    const known = rooms.get(update.groupId)
    const before = known?.members
    const log = await this.#read(update, from, known)
    const isMember = before?.has(from) || log.fold.members.has(from)
    if (!isMember || (!known && !log.fold.members.has(this.#self))) throw notMember(update.groupId)
    const room = known ?? new GroupRoom(log)
    const added = log.fold.after(known ? known.log.fold.heads : [])
    const epochs = await this.#epochs(update, from, log, room)
    const dropped: string[] = []
    const { store } = this.#deps
    await store.commit(() => {
      store.addOps(
        log.id,
        added.map(op => log.get(op.hash)!)
      )
      for (const e of epochs) store.addEpoch(log.id, e)
    })
    const forkedBefore = known?.log.fold.forkedBy().length ?? 0
    room.log = log
    for (const e of epochs) dropped.push(...room.addEpoch(e))
    rooms.set(log.id, room)
    if (dropped.length > 0) await store.commit(() => store.removeEpochs(log.id, dropped))
    const healed = room.heals()
    const group = room.view(this.#self)
    if (added.length > 0) events.emit('group:changed', { group })
    if (group.forkedBy.length > forkedBefore) events.emit('group:split', { group, with: group.forkedBy.at(-1)! })
    if (healed) events.emit('group:healed', { group })
    await this.#passOn(room, added)
    await this.#compare(room, update, from)
    if (added.length > 0 || epochs.length > 0) await this.retryHeld(room)
  }

  /** The log as it is with what came, nothing changed yet. */
  async #read(update: GroupUpdate, from: EntityId, known: GroupRoom | undefined): Promise<GroupLog> {
    if (!known) this.#checkInvitation(from)
    else if (!known.members.has(from) && update.ops.length > MAX_STRANGER_OPS) throw notMember(update.groupId)
    const log = known?.log.copy() ?? new GroupLog(update.groupId)
    const cost = update.ops.length === 0 ? 0 : update.ops.length + log.size
    if (!this.#folds.tryTake(from, cost) || !this.#allFolds.tryTake(cost)) throw new KithError('RATE_LIMITED', 'too many changes of groups')
    const ops = await Promise.all(update.ops.map(o => readGroupOp(o, hash => log.get(hash) !== undefined)))
    log.add(ops.filter((o): o is LoggedOp => o !== undefined))
    try {
      void log.fold
    } catch (cause) {
      throw hasCode(cause, 'UNKNOWN_GROUP') ? notMember(update.groupId) : cause
    }
    return log
  }

  #checkInvitation(from: EntityId): void {
    const { rooms } = this.#parts
    if (this.#deps.mayInvite && !this.#deps.mayInvite(from)) throw new KithError('NOT_AUTHORISED', 'this peer may not bring us into groups')
    let own = 0
    for (const room of rooms.values()) if (room.log.get(room.log.id)!.author === from) own++
    // Others, under however many names, leave room for groups that the user makes.
    if (rooms.size >= MAX_GROUPS - MAX_GROUPS_PER_PEER || own >= MAX_GROUPS_PER_PEER)
      throw new KithError('TOO_MANY_GROUPS', 'we are in as many groups as we may be')
    if (!this.#invitations.tryTake()) throw new KithError('RATE_LIMITED', 'too many new groups')
  }

  /** Keys that count: made by a member, for members of whom we are one. */
  async #epochs(update: GroupUpdate, from: EntityId, log: GroupLog, room: GroupRoom): Promise<StoredEpoch[]> {
    const found: StoredEpoch[] = []
    for (const { key, heads } of update.epochs) {
      const members = log.fold.membersAt(heads)
      if (!members?.has(from) || !members.has(this.#self)) continue
      const epoch = { id: await epochIdOf(hexToBytes(key)), key: hexToBytes(key), heads }
      if (!room.epochs.has(epoch.id)) found.push(epoch)
    }
    return found
  }

  /** Whom we have brought in hears from us what was done without knowing of it. */
  async #passOn(room: GroupRoom, added: readonly GroupOpNode[]): Promise<void> {
    const { store } = this.#deps
    const { fold, id } = room.log
    const copies: OutgoingCopy[] = []
    for (const member of room.broughtInBy(this.#self)) {
      const news = added
        .filter(op => op.author !== member && !fold.membersAt(op.parents)?.has(member))
        .map(op => room.log.get(op.hash)!.bytes)
      if (news.length > 0)
        copies.push(this.#parts.update(member, groupUpdateBody({ groupId: id, ops: news, epochs: [], heads: headsOf(room), want: false })))
    }
    if (copies.length === 0) return
    await store.commit(() => {
      for (const c of copies) store.addOutgoing(c)
    })
    this.#parts.flush()
  }

  /** Compares what the other knows with what we do; asks, and tells. */
  async #compare(room: GroupRoom, update: GroupUpdate, from: EntityId): Promise<void> {
    await this.#noteHeads(room, update.heads, from)
    if (!update.want || !room.members.has(from) || !room.members.has(this.#self)) return
    await this.#tell(room, update.heads, from)
  }

  /** @returns whether the other knows something that we do not */
  async #noteHeads(room: GroupRoom, heads: readonly string[], from: EntityId): Promise<boolean> {
    const wasSplit = room.isSplit
    // What somebody pretends to know who is no member, or not yet, says nothing of the group; it is asked all the same.
    if (!room.members.has(from)) {
      const isAhead = heads.some(h => !room.log.fold.has(h))
      if (isAhead) await this.#ask(room, from)
      return isAhead
    }
    if (!room.refers(heads, from)) return false
    if (!wasSplit) this.#parts.events.emit('group:split', { group: room.view(this.#self), with: from })
    await this.#ask(room, from)
    return true
  }

  #ask(room: GroupRoom, from: EntityId): Promise<void> {
    return this.#sync(room, from, { groupId: room.log.id, ops: [], epochs: [], heads: headsOf(room), want: true })
  }

  #tell(room: GroupRoom, heads: readonly string[], to: EntityId): Promise<void> {
    const epochs = room.epochsFor(to, EPOCHS_TOLD).map(e => ({ key: bytesToHex(e.key), heads: e.heads }))
    return this.#sync(room, to, { groupId: room.log.id, ops: room.log.after(heads), epochs, heads: headsOf(room), want: false })
  }

  async #sync(room: GroupRoom, to: EntityId, update: GroupUpdate): Promise<void> {
    const { store, clock } = this.#deps
    if (!room.maySync(clock, to)) return
    await store.commit(() => store.addOutgoing(this.#parts.update(to, groupUpdateBody(update))))
    this.#parts.flush()
  }

  /** @returns false when it has to wait for changes or a key that are not known @throws NOT_MEMBER, BAD_PAYLOAD, DECRYPTION_FAILED */
  async #post(room: GroupRoom, { from, body, sentAt, receivedAt }: Received): Promise<boolean> {
    const message = readGroupMessage(body)
    const { fold } = room.log
    if (!fold.members.has(this.#self)) throw notMember(message.groupId)
    if ((await transcriptOf(message.heads)) !== message.transcript)
      throw new KithError('BAD_PAYLOAD', 'heads and transcript contradict each other')
    const isAhead = await this.#noteHeads(room, message.heads, from)
    if (isAhead) return false
    const at = fold.membersAt(message.heads)!
    // Whoever is removed here is out, whatever history it names (threats RT5).
    if (!fold.members.has(from) || !at.has(from) || !at.has(this.#self)) throw notMember(message.groupId)
    const epoch = room.epochs.get(message.epoch)
    if (!epoch) {
      await this.#ask(room, from)
      return false
    }
    if (epoch.heads.join() !== message.heads.join()) throw notMember(message.groupId)
    await this.#keep(message, from, await openPost(epoch.key, message, from), sentAt, receivedAt)
    if (message.heads.join() !== fold.heads.join()) await this.#tell(room, message.heads, from)
    return true
  }

  async #keep({ groupId, postId }: GroupMessage, from: EntityId, body: JsonObject, sentAt: number, receivedAt: number): Promise<void> {
    const { store } = this.#deps
    const post = { id: postId, groupId, from, body, sentAt, receivedAt }
    if (await store.commit(() => store.addPost(post))) this.#parts.events.emit('group:message', { post: this.#parts.viewOf(post) })
  }
}
