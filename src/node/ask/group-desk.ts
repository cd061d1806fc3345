/** Groups as users see them: by name or id, with the names of members. */
import { KithError } from '../../base/errors.ts'
import type { Groups, GroupView as OwnGroup, PostView } from '../../messaging/groups-types.ts'
import type { EntityId } from '../../messaging/types.ts'
import type { GroupView, MessageView } from '../ask-types.ts'

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
  /** Texts of others in all groups, or our own, newest first. */
  texts(limit: number, direction: 'in' | 'out'): MessageView[] {
    const posts = this.#deps.groups.list().flatMap(g => this.#deps.groups.posts(g.id, limit))
    return posts.filter(p => (p.from === this.#deps.self) === (direction === 'out')).map(p => this.#text(p))
  }
  /** One text of any group, by its id. */
  text(id: string): MessageView | undefined {
    const post = this.#deps.groups.list().flatMap(g => this.#deps.groups.post(g.id, id) ?? [])[0]
    return post && this.#text(post)
  }
  /** What became of a copy of a text of ours. */
  onDelivery(listener: (message: MessageView) => void, signal: AbortSignal): void {
    const { groups } = this.#deps
    groups.events.on(
      'group:delivery',
      ({ groupId, postId }) => {
        const post = groups.post(groupId, postId)
        if (post) listener(this.#text(post))
      },
      signal
    )
  }
  /** @throws GROUP_EXISTS, and what `Groups.create` throws */
  async create(name: string, members: readonly EntityId[]): Promise<GroupView> {
    if (this.#deps.groups.list().some(g => g.isMember && g.name === name))
      throw new KithError('GROUP_EXISTS', 'this node is in a group of this name already', {}, { hint: 'choose another name' })
    return this.#view(await this.#deps.groups.create(name, members))
  }
  async change(group: string, add: readonly EntityId[], remove: readonly EntityId[]): Promise<GroupView> {
    const { groups } = this.#deps
    const { id } = this.#find(group)
    for (const member of add) await groups.add(id, member)
    for (const member of remove) await groups.remove(id, member)
    return this.#view(this.#find(id))
  }
  async leave(group: string): Promise<GroupView> {
    const { groups } = this.#deps
    const found = this.#find(group)
    if (found.isMember) return this.#view(await groups.leave(found.id))
    await groups.forget(found.id)
    return this.#view(found)
  }
  async send(group: string, text: string): Promise<MessageView> {
    return this.#text(await this.#deps.groups.send(this.#find(group).id, text))
  }

  #find(text: string): OwnGroup {
    const all = this.#deps.groups.list()
    const byId = all.find(g => g.id === text)
    if (byId) return byId
    const byName = all.filter(g => g.name === text)
    const named = byName.length === 0 && /^[0-9a-f]{6,}$/.test(text) ? all.filter(g => g.id.startsWith(text)) : byName
    const usable = named.filter(g => g.isMember)
    const [found] = usable.length > 0 ? usable : named
    if (!found || usable.length > 1) {
      const why = found ? 'several groups have this name' : 'there is no such group'
      throw new KithError('UNKNOWN_GROUP', why, {}, { hint: 'kith group list shows names and ids; the first digits of an id are enough' })
    }
    return found
  }

  #view(g: OwnGroup): GroupView {
    const members = g.members.map(m => ({ entityId: m.entityId, name: this.#deps.nameOf(m.entityId), role: m.role }))
    return { id: g.id, name: g.name, epoch: g.epoch, members, isMember: g.isMember, split: g.split || g.forkedBy.length > 0 }
  }
  /** What became of all copies: delivered when every member has it, failed when nobody is left who may still get it. */
  #fate(copies: PostView['deliveries']): Pick<MessageView, 'state' | 'reason'> {
    const there = copies.filter(d => d.state === 'delivered')
    const open = copies.filter(d => d.state !== 'delivered' && d.state !== 'failed')
    if (copies.length === 0) return { state: 'delivered', reason: { code: 'NOBODY_ELSE', message: 'nobody else is in this group' } }
    if (there.length === copies.length) return { state: 'delivered', reason: undefined }
    const names = (all: PostView['deliveries']): string =>
      all
        .slice(0, 5)
        .map(d => `${this.#deps.nameOf(d.to) ?? `…${d.to.slice(-8)}`}${d.code === undefined ? '' : ` (${d.code})`}`)
        .join(', ') + (all.length > 5 ? ` and ${all.length - 5} more` : '')
    const lost = copies.filter(d => d.state === 'failed')
    const waits = open.length > 0 ? `, not yet ${names(open)}` : ''
    const message = `${there.length} of ${copies.length} members have it${waits}${lost.length > 0 ? `, never ${names(lost)}` : ''}`
    const code = [...open, ...lost].find(d => d.code !== undefined)?.code
    const state = open.length === 0 ? 'failed' : open.some(d => d.state === 'waiting') ? 'waiting' : 'sent'
    // Nothing is known yet of copies that have only just been made; but once one is there, it is known who lacks it.
    const why = code ?? (there.length > 0 ? 'PARTLY_DELIVERED' : undefined)
    return { state, reason: why === undefined ? undefined : { code: why, message } }
  }
  #text(p: PostView): MessageView {
    const isOwn = p.from === this.#deps.self
    return {
      id: p.id,
      direction: isOwn ? 'out' : 'in',
      peer: p.from,
      peerName: this.#deps.nameOf(p.from),
      type: 'group_message',
      text: p.text,
      body: p.body as Record<string, unknown>,
      file: undefined,
      ...(isOwn ? this.#fate(p.deliveries) : { state: 'received', reason: undefined }),
      retry: undefined,
      legacy: false,
      group: this.#deps.groups.get(p.groupId)?.name ?? p.groupId,
      createdAt: isOwn ? p.sentAt : p.receivedAt,
      changedAt: p.receivedAt
    }
  }
}
