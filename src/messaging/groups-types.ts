/** Groups as the rest of Kith sees them, and what they ask of it. */
import type { Clock } from '../base/clock.ts'
import type { Emitter } from '../base/events.ts'
import type { Logger } from '../base/log.ts'
import type { GroupRole } from '../wire/group-op.ts'
import type { Signed } from '../wire/signed.ts'
import type { JsonObject } from '../wire/strict-json.ts'
import type { GroupStore } from './groups/store.ts'
import type { DeliveryState, EntityId, Messenger } from './types.ts'

export interface GroupsDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly random: (n: number) => Uint8Array
  readonly messenger: Messenger
  readonly store: GroupStore
  /** Signs for `domain` with the instance key of `messenger.self`; Identity has it. */
  readonly sign: (domain: string, body: Uint8Array) => Promise<Signed>
  /** Whether this peer may bring us into groups. Default: everybody, up to a number of groups. */
  readonly mayInvite?: (by: EntityId) => boolean
}

export interface GroupView {
  /** 64 hex digits. */
  readonly id: string
  /** Display text by whoever created it. */
  readonly name: string
  readonly createdBy: EntityId
  /** Grows with every change of members that is known here. */
  readonly epoch: number
  /** Who joined earlier comes first. */
  readonly members: readonly { readonly entityId: EntityId; readonly role: GroupRole }[]
  /** Whether this instance is a member now. */
  readonly isMember: boolean
  /** Somebody has seen changes that are not known here: what the members list says may be wrong. Asking for them is under way. */
  readonly split: boolean
  /** Who told different members different things. */
  readonly forkedBy: readonly EntityId[]
  /** ms since 1970 by the creator's clock. */
  readonly createdAt: number
}

export interface PostView {
  /** UUID v4, the same for all members. */
  readonly id: string
  readonly groupId: string
  readonly from: EntityId
  readonly body: JsonObject
  /** `body.text`, if it is text. */
  readonly text: string | undefined
  /** ms since 1970: by the sender's clock, and when it came. */
  readonly sentAt: number
  readonly receivedAt: number
  /** Own messages: what became of each copy. */
  readonly deliveries: readonly PostDelivery[]
}

export interface PostDelivery {
  readonly to: EntityId
  readonly state: DeliveryState
  /** Why it failed or waits. */
  readonly code: string | undefined
  readonly changedAt: number
}

export type GroupsEvents = {
  /** A group was created, joined or left, or its members have changed. */
  readonly 'group:changed': { readonly group: GroupView }
  readonly 'group:message': { readonly post: PostView }
  /** What became of a copy of an own message. */
  readonly 'group:delivery': { readonly groupId: string; readonly postId: string; readonly delivery: PostDelivery }
  /** Somebody refers to changes that are not known here, or someone has told members different things (threats RT7). */
  readonly 'group:split': { readonly group: GroupView; readonly with: EntityId }
  /** All changes that anybody referred to are known. */
  readonly 'group:healed': { readonly group: GroupView }
}

export interface Groups extends AsyncDisposable {
  readonly events: Emitter<GroupsEvents>
  /** @throws BAD_GROUP_NAME, BAD_ENTITY, TOO_MANY_GROUPS, GROUP_FULL */
  create(name: string, members?: readonly EntityId[]): Promise<GroupView>
  /** @throws UNKNOWN_GROUP, NOT_MEMBER, NOT_AUTHORISED (not an admin, or is a member already), BAD_ENTITY, GROUP_FULL */
  add(groupId: string, member: EntityId, role?: GroupRole): Promise<GroupView>
  /** @throws UNKNOWN_GROUP, NOT_MEMBER, NOT_AUTHORISED (not an admin, is no member, or joined earlier than we), GROUP_FULL */
  remove(groupId: string, member: EntityId): Promise<GroupView>
  /** @throws as `remove` */
  setRole(groupId: string, member: EntityId, role: GroupRole): Promise<GroupView>
  /** @throws UNKNOWN_GROUP, NOT_MEMBER, GROUP_FULL */
  leave(groupId: string): Promise<GroupView>
  /** Forgets a group of which this instance is no member. @returns whether there was one @throws STILL_MEMBER */
  forget(groupId: string): Promise<boolean>
  /** Resolves when the message is on disk. `id`: a UUID v4; sending one twice sends it once. @throws UNKNOWN_GROUP, NOT_MEMBER, TOO_LARGE */
  send(groupId: string, content: string | JsonObject, id?: string): Promise<PostView>
  list(): GroupView[]
  get(groupId: string): GroupView | undefined
  /** Newest first. */
  posts(groupId: string, limit?: number): PostView[]
  post(groupId: string, postId: string): PostView | undefined
}
