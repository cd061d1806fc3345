/** AskService of a running node: what users type becomes entities, and what the parts say becomes views. */
import { readFile } from 'node:fs/promises'
import { utf8 } from '../../base/bytes.ts'
import { KithError } from '../../base/errors.ts'
import type { EntityId, IncomingMessage } from '../../messaging/types.ts'
import { newUuid } from '../../messaging/uuid.ts'
import { verificationWords } from '../../session/fingerprint.ts'
import type * as T from '../ask-types.ts'
import { LENT_AFTER_DELIVERY_MS, LENT_AFTER_FETCH_MS, LENT_AFTER_TASK_MS, LENT_RESULT_MS, MAX_LONG_TEXT_BYTES } from '../limits.ts'
import type { AgentTalk } from './agent-talk.ts'
import type { AskParts } from './ask-parts.node.ts'
import { AskViews, networkView } from './ask-views.node.ts'
import type { GroupDesk } from './group-desk.ts'
import type { LentFiles } from './lent-files.node.ts'
import { fetchedBody, fetchedOwnerOf, type LongTexts } from './long-texts.ts'
import type { SealedTexts } from './sealed-texts.node.ts'
import type { SkillDesk } from './skill-desk.node.ts'

const RESOLVE_MS = 15_000
const LISTED = 200

/** Longer texts go as files: a message with all its spellings has to stay below 8 MiB. */
const MAX_INLINE_BYTES = 6 * 1024 * 1024

export interface AskDesks {
  readonly files: LentFiles
  readonly texts: SealedTexts
  readonly longTexts: LongTexts
  readonly parts: AskParts
  readonly groups: GroupDesk
  readonly skills: SkillDesk
  readonly talk: AgentTalk
}

export class AskDesk implements T.AskService {
  readonly #parts: AskParts
  readonly #groups: GroupDesk
  readonly #skills: SkillDesk
  readonly #talk: AgentTalk
  readonly #files: LentFiles
  readonly #texts: SealedTexts
  readonly #emit: (event: T.AskEvent) => void
  readonly #self: EntityId
  readonly #views: AskViews

  constructor({ parts, groups, skills, talk, files, texts, longTexts }: AskDesks, emit: (event: T.AskEvent) => void, closing: AbortSignal) {
    this.#parts = parts
    this.#groups = groups
    this.#skills = skills
    this.#talk = talk
    this.#files = files
    this.#texts = texts
    this.#emit = emit
    this.#self = parts.messenger.self
    const { book, directory, messenger } = parts
    const nameOf = (id: EntityId): string | undefined => directory.nameOf(id)
    this.#views = new AskViews({ book, texts, nameOf, isConnected: id => messenger.isConnected(id) })
    const { events } = parts.messenger
    events.on(
      'message:received',
      ({ message }) => {
        const fetched = fetchedOwnerOf(message)
        if (fetched !== undefined) this.#isFetched(message.from, fetched)
        else if (isForPeople(message) && !longTexts.take(message)) this.show(message)
      },
      closing
    )
    events.on(
      'message:changed',
      ({ message }) => {
        this.#lend(`message:${message.id}`)
        emit({ type: 'message:changed', message: this.#views.sent(message) })
      },
      closing
    )
    events.on('peer:connected', ({ entityId }) => emit({ type: 'peer:connected', entityId }), closing)
    events.on('peer:lost', ({ entityId, reason }) => emit({ type: 'peer:lost', entityId, reason }), closing)
    parts.tasks.events.on(
      'task:changed',
      ({ task }) => {
        this.#lend(`${task.role}:${task.id}`)
        emit({ type: 'task:changed', task: this.#views.task(task) })
      },
      closing
    )
    groups.onChange(group => emit({ type: 'group:changed', group }), closing)
    talk.onMessage(message => emit({ type: 'agent:message', message }), closing)
    groups.onDelivery(message => emit({ type: 'message:changed', message }), closing)
    groups.onText(message => emit({ type: 'message:received', message }), closing)
  }

  async self(): Promise<{ readonly entityId: string; readonly url: string | undefined }> {
    return { entityId: this.#self, url: this.#parts.server?.url }
  }

  /** Tells of a message that has come. */
  show(message: IncomingMessage): void {
    this.#emit({ type: 'message:received', message: this.#views.received(message) })
  }

  /** For how long what was shared for a message or task stays (ms); undefined: that has not ended. */
  lentFor(owner: string): number | undefined {
    const [kind = '', id = ''] = owner.split(':')
    if (kind === 'message') {
      const state = this.#parts.messenger.sent(id)?.state ?? 'failed'
      return state === 'failed' ? 0 : state === 'delivered' ? LENT_AFTER_DELIVERY_MS : undefined
    }
    const task = this.#parts.tasks.task(id)
    if (!task) return 0
    if (task.finishedAt === undefined) return undefined
    return kind === 'given' ? LENT_AFTER_TASK_MS : LENT_RESULT_MS
  }
  #lend(owner: string): void {
    const stayMs = this.#files.isOpen(owner) ? this.lentFor(owner) : undefined
    if (stayMs !== undefined) this.#files.ended(owner, stayMs)
  }
  /** Whoever a message went to, or gave a task, has fetched its file. */
  #isFetched(by: EntityId, owner: string): void {
    const [kind = '', id = ''] = owner.split(':')
    const whose = kind === 'message' ? this.#parts.messenger.sent(id)?.to : this.#parts.tasks.task(id)?.peer
    if (whose === by) this.#files.ended(owner, LENT_AFTER_FETCH_MS)
  }

  async send({ to, text, file: path, id = newUuid(), ttlMs }: T.SendMessageRequest, signal?: AbortSignal): Promise<T.MessageView> {
    const entity = await this.#resolve(to, signal)
    if (this.#parts.messenger.sent(id)) return this.message(id)
    const bytes = utf8(text)
    const isLong = bytes.length > MAX_INLINE_BYTES
    if (isLong && path !== undefined) throw new KithError('TOO_LARGE', 'a file goes with a text of at most 6 MiB')
    const content = isLong ? { bytes, name: 'message.txt' } : path === undefined ? undefined : { path }
    if (!content && text === '') throw new KithError('BAD_PAYLOAD', 'there is nothing to send')
    const file = content && (await this.#files.putFile(content, signal))
    const data = { ...(isLong ? {} : { text }), ...(file ? { file: { ...file } } : {}) }
    const owner = `message:${id}`
    if (file) this.#files.belongs(file, owner)
    const body = { from: this.#self, to: entity, content: { type: 'text', data } }
    try {
      const sent = await this.#parts.messenger.send({
        to: entity,
        type: 'agent_message',
        body,
        id,
        ...(ttlMs === undefined ? {} : { ttlMs })
      })
      this.#lend(owner)
      return this.#views.sent(sent, body)
    } catch (error) {
      if (file) this.#files.ended(owner, 0)
      throw error
    }
  }

  async messages({
    direction,
    limit = LISTED
  }: {
    readonly direction?: 'in' | 'out'
    readonly limit?: number
  } = {}): Promise<readonly T.MessageView[]> {
    const { messenger } = this.#parts
    const received =
      direction === 'out'
        ? []
        : [
            ...messenger
              .inbox({ limit, types: FOR_PEOPLE })
              .filter(isForPeople)
              .map(m => this.#views.received(m)),
            ...this.#groups.texts(limit, 'in')
          ]
    const sent =
      direction === 'in'
        ? []
        : [
            ...messenger.outbox(limit, 'agent_message').map(m => this.#views.sent(m, messenger.sentBody(m.id))),
            ...this.#groups.texts(limit, 'out')
          ]
    return [...received, ...sent].sort((a, b) => b.createdAt - a.createdAt).slice(0, limit)
  }

  async message(id: string): Promise<T.MessageView> {
    const { messenger } = this.#parts
    const sent = messenger.sent(id)
    if (sent) return this.#views.sent(sent, messenger.sentBody(id), true)
    const received = messenger.received(id)
    const found = received ? this.#views.received(received, true) : this.#groups.text(id)
    if (!found) throw unknownMessage('no message has this id')
    return found
  }

  async cancelMessage(id: string): Promise<T.MessageView> {
    if (!this.#parts.messenger.cancel(id)) throw unknownMessage('no message of this node waits under this id')
    return this.message(id)
  }

  async peers(): Promise<readonly T.KnownPeerView[]> {
    // Once for all: percentiles cost something.
    const stats = new Map(this.#parts.messenger.stats().map(x => [x.entityId, x]))
    return this.#parts.book.peers(1000).map(p => this.#views.peer(p, stats.get(p.entityId)))
  }

  async changePeer(request: T.ChangePeerRequest, signal?: AbortSignal): Promise<T.KnownPeerView> {
    const { book, registry } = this.#parts
    const entity = await this.#resolve(request.peer, signal)
    const { name, verified, legacy, mailbox, banned } = request
    const record = book.mark(entity, {
      ...(name === undefined ? {} : { name: name === '' ? null : name }),
      ...(verified === undefined ? {} : { verified }),
      ...(legacy === undefined ? {} : { allowsLegacy: legacy }),
      ...(mailbox === undefined ? {} : { isMailbox: mailbox })
    })
    if (banned === true) book.scores.ban(entity)
    if (banned === false) book.scores.pardon(entity)
    if (mailbox !== undefined) await this.#parts.announce()
    if (mailbox === true) await registry.keep(entity)
    return this.#views.peer(
      record,
      this.#parts.messenger.stats().find(x => x.entityId === entity)
    )
  }

  async verify(peer: string, signal?: AbortSignal): Promise<T.VerifyView> {
    const entity = await this.#resolve(peer, signal)
    const known = this.#parts.book.peer(entity)
    return { entityId: entity, name: known?.name, verified: known?.verified ?? false, words: verificationWords(this.#self, entity) }
  }

  async network(): Promise<T.NetworkView> {
    return networkView(this.#parts.monitor)
  }

  async grants(): Promise<readonly T.GrantView[]> {
    return this.#parts.book.grants().map(g => this.#views.grant(g))
  }
  async grant(to: string, what: string, signal?: AbortSignal): Promise<T.GrantView> {
    const granted = this.#parts.book.grant(await this.#whom(to, signal), what)
    if (what === 'relay' || what === 'mailbox') await this.#parts.announce()
    return this.#views.grant(granted)
  }
  async revoke(to: string, what: string, signal?: AbortSignal): Promise<T.GrantView> {
    const whom = await this.#whom(to, signal)
    const found = this.#parts.book.grants(whom).find(g => g.what === what)
    if (!found || !this.#parts.book.revoke(whom, what)) throw new KithError('UNKNOWN_GRANT', 'nothing of that kind was granted', { what })
    if (what === 'relay' || what === 'mailbox') await this.#parts.announce()
    return this.#views.grant(found)
  }

  async groups(): Promise<readonly T.GroupView[]> {
    return this.#groups.all()
  }
  async createGroup(name: string, members: readonly string[], signal?: AbortSignal): Promise<T.GroupView> {
    return this.#groups.create(name, await Promise.all(members.map(m => this.#resolve(m, signal))))
  }
  async changeGroup(
    group: string,
    { add = [], remove = [] }: { readonly add?: readonly string[]; readonly remove?: readonly string[] },
    signal?: AbortSignal
  ): Promise<T.GroupView> {
    const [adding, removing] = await Promise.all([add, remove].map(list => Promise.all(list.map(m => this.#resolve(m, signal)))))
    return this.#groups.change(group, adding ?? [], removing ?? [])
  }
  async leaveGroup(group: string): Promise<T.GroupView> {
    return this.#groups.leave(group)
  }
  async sendToGroup(group: string, text: string): Promise<T.MessageView> {
    return this.#groups.send(group, text)
  }

  async agentMessages(): Promise<readonly T.AgentMessageView[]> {
    return this.#talk.all()
  }
  async say(request: T.SayRequest, signal?: AbortSignal): Promise<{ readonly id: string; readonly recipients: number }> {
    return this.#talk.say(request, request.to === undefined ? undefined : await this.#resolve(request.to, signal))
  }

  async skills(): Promise<readonly T.SkillView[]> {
    return this.#skills.all()
  }
  async serveSkill(request: T.ServeSkillRequest, signal?: AbortSignal): Promise<T.SkillView> {
    for (const peer of request.allow ?? []) this.#parts.book.grant(await this.#whom(peer, signal), `task:${request.name}`)
    return this.#skills.serve(request)
  }
  async stopSkill(name: string): Promise<T.SkillView> {
    return this.#skills.stop(name)
  }

  async ask(request: T.AskRequest, signal?: AbortSignal): Promise<T.TaskView> {
    const { tasks } = this.#parts
    const to = request.to === undefined ? undefined : await this.#resolve(request.to, signal)
    const skill = request.skill ?? (to === undefined ? undefined : await this.#skills.onlySkillOf(to, signal))
    if (skill === undefined) throw new KithError('NO_SUCH_SKILL', 'which skill?', {}, { hint: 'name it with --skill' })
    const given = await tasks.delegate(
      {
        skill,
        description: request.description,
        ...(to === undefined ? {} : { to }),
        ...(request.input === undefined ? {} : { input: request.input as never }),
        ...(request.files === undefined ? {} : { files: request.files }),
        ...(request.deadlineMs === undefined ? {} : { deadlineMs: request.deadlineMs }),
        ...(request.idempotencyKey === undefined ? {} : { idempotencyKey: request.idempotencyKey })
      },
      signal
    )
    return this.#views.task(given)
  }
  async tasks(): Promise<readonly T.TaskView[]> {
    return this.#parts.tasks.tasks().map(t => this.#views.task(t))
  }
  async task(id: string): Promise<T.TaskView> {
    const exact = this.#parts.tasks.task(id)
    const found = exact ?? this.#parts.tasks.tasks({ limit: 1000 }).find(t => id.length >= 6 && t.id.startsWith(id))
    const whole = found && this.#parts.tasks.task(found.id)
    if (!whole) throw new KithError('UNKNOWN_TASK', 'there is no task with this id', {}, { hint: 'kith agent tasks lists them' })
    return this.#views.task(whole)
  }
  async taskOutput(id: string, signal?: AbortSignal): Promise<{ readonly output: unknown }> {
    const { tasks, messenger } = this.#parts
    const { id: whole, peer, file, output } = await this.task(id)
    if (!file) return { output }
    const kept = this.#texts.whole(peer, whole)
    if (kept !== undefined) return { output: parsed(kept) }
    if (file.size > MAX_LONG_TEXT_BYTES)
      throw new KithError('TOO_LARGE', 'the result is too large to be shown: fetch its file', {}, { hint: `kith get '${file.link}'` })
    const path = await tasks.fetchOutput(whole, signal)
    if (path === undefined) return { output }
    try {
      const text = await readFile(path)
      // Kept as long texts are: the worker need not give it any longer.
      this.#texts.put(peer, whole, text)
      const body = fetchedBody(this.#self, peer, { task_id: whole })
      messenger.send({ to: peer, type: 'agent_message', body }).catch(() => {}) // it is given for a week otherwise
      return { output: parsed(text.toString('utf8')) }
    } finally {
      this.#files.dropFile(path)
    }
  }
  async cancelTask(id: string): Promise<T.TaskView> {
    const { id: whole } = await this.task(id)
    await this.#parts.tasks.cancel(whole)
    return this.task(whole)
  }

  #resolve(text: string, signal?: AbortSignal): Promise<EntityId> {
    const until = AbortSignal.timeout(RESOLVE_MS)
    return this.#parts.directory.resolve(text, signal ? AbortSignal.any([signal, until]) : until)
  }
  #whom(text: string, signal?: AbortSignal): Promise<EntityId | '*'> {
    return text === '*' ? Promise.resolve('*' as const) : this.#resolve(text, signal)
  }
}

/** Messages that somebody would read; the others are acted on. */
const FOR_PEOPLE = ['agent_message', 'network_broadcast', 'error'] as const
const isForPeople = (m: IncomingMessage): boolean => FOR_PEOPLE.some(type => type === m.type) && fetchedOwnerOf(m) === undefined

/** Results are JSON, but a file may be anything. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const unknownMessage = (why: string): KithError =>
  new KithError('UNKNOWN_MESSAGE', why, {}, { hint: 'kith msg inbox --json and kith msg outbox show ids' })
