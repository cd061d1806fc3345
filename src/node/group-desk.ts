/** Groups as users see them: by name or id, with the names of members. */
import { KithError } from '../base/errors.ts'
import type { Groups, GroupView as OwnGroup, PostView } from '../messaging/groups-types.ts'
import type { EntityId } from '../messaging/types.ts'
import type { GroupView, MessageView } from './ask-types.ts'

export interface GroupDeskDeps {
  readonly groups: Groups
  readonly self: EntityId
  readonly nameOf: (entityId: EntityId) => string | undefined
}

export class GroupDesk {
  readonly #deps: GroupDeskDeps

  constructor(deps: GroupDeskDeps) {
    this.#deps = deps
  }

  onChange(listener: (group: GroupView) => void, signal: AbortSignal): void {
    const { events } = this.#deps.groups
    for (const name of ['group:changed', 'group:split', 'group:healed'] as const)
      events.on(name, ({ group }: { readonly group: OwnGroup }) => listener(this.#view(group)), signal)
  }
  /** Texts of others. */
  onText(listener: (message: MessageView) => void, signal: AbortSignal): void {
    this.#deps.groups.events.on(
      'group:message',
      ({ post }) => {
        if (post.from !== this.#deps.self) listener(this.#text(post))
      },
      signal
    )
  }

  all(): GroupView[] {
    return this.#deps.groups.list().map(g => this.#view(g))
  }
  /** Texts of others in all groups, newest first. */
  texts(limit: number): MessageView[] {
    const posts = this.#deps.groups.list().flatMap(g => this.#deps.groups.posts(g.id, limit))
    return posts.filter(p => p.from !== this.#deps.self).map(p => this.#text(p))
  }
  async create(name: string, members: readonly EntityId[]): Promise<GroupView> {
    return this.#view(await this.#deps.groups.create(name, members))
  }
  async change(group: string, add: readonly EntityId[], remove: readonly EntityId[]): Promise<GroupView> {
    const { groups } = this.#deps
    const { id } = this.#find(group)
    for (const member of add) await groups.add(id, member)
    for (const member of remove) await groups.remove(id, member)
    return this.#view(this.#find(id))
  }
  async send(group: string, text: string): Promise<MessageView> {
    return this.#text(await this.#deps.groups.send(this.#find(group).id, text))
  }

  #find(text: string): OwnGroup {
    const all = this.#deps.groups.list()
    const byId = all.find(g => g.id === text)
    if (byId) return byId
    const named = all.filter(g => g.name === text)
    const usable = named.filter(g => g.isMember)
    const [found] = usable.length > 0 ? usable : named
    if (!found || usable.length > 1) {
      const why = found ? 'several groups have this name' : 'there is no such group'
      throw new KithError('UNKNOWN_GROUP', why, {}, { hint: 'kith group list shows their ids' })
    }
    return found
  }

  #view(g: OwnGroup): GroupView {
    const members = g.members.map(m => ({ entityId: m.entityId, name: this.#deps.nameOf(m.entityId), role: m.role }))
    return { id: g.id, name: g.name, epoch: g.epoch, members, isMember: g.isMember, split: g.split || g.forkedBy.length > 0 }
  }
  #text(p: PostView): MessageView {
    const isOwn = p.from === this.#deps.self
    const isThere = p.deliveries.length > 0 && p.deliveries.every(d => d.state === 'delivered')
    return {
      id: p.id,
      direction: isOwn ? 'out' : 'in',
      peer: p.from,
      peerName: this.#deps.nameOf(p.from),
      type: 'group_message',
      text: p.text,
      body: p.body as Record<string, unknown>,
      file: undefined,
      state: isOwn ? (isThere ? 'delivered' : 'sent') : 'received',
      reason: undefined,
      group: this.#deps.groups.get(p.groupId)?.name ?? p.groupId,
      createdAt: isOwn ? p.sentAt : p.receivedAt,
      changedAt: p.receivedAt
    }
  }
}
