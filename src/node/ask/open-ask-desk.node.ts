/** Opens messaging with everything that users see of it; disposing it closes all of it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../base/clock.ts'
import type { PeerBook } from '../../trust/types.ts'
import type { AskEvent } from '../ask-types.ts'
import type { KithNode } from '../types.ts'
import { AgentTalk } from './agent-talk.ts'
import { AskDesk } from './ask-desk.node.ts'
import type { AskDeps } from './ask-parts.node.ts'
import { GroupDesk } from './group-desk.ts'
import { LentFiles } from './lent-files.node.ts'
import { LongTexts } from './long-texts.ts'
import { openAsk } from './open-ask.node.ts'
import { mayBeDialledFor } from './peer-scope.ts'
import { isChosen } from './peer-standing.ts'
import { SealedTexts } from './sealed-texts.node.ts'
import { SkillDesk } from './skill-desk.node.ts'
import { type MayDial, NodeTaskFiles } from './task-files.node.ts'

export interface OpenedAsk extends AsyncDisposable {
  readonly desk: AskDesk
}

/** @throws what `openAsk` throws */
export async function openAskDesk(deps: Omit<AskDeps, 'files'>, node: () => KithNode, tell: (event: AskEvent) => void): Promise<OpenedAsk> {
  await using stack = new AsyncDisposableStack()
  const folder = join(deps.config.folders.state, 'tasks')
  const { gate, host, config } = deps
  const book: { current?: PeerBook } = {}
  const mayDial: MayDial = (address, from) =>
    mayBeDialledFor({ gate, peers: () => host.peers() }, address, (from !== undefined && book.current?.peer(from)?.peerIds) || [])
  const fetched = stack.use(new NodeTaskFiles(node, join(folder, 'files'), mayDial))
  const log = deps.log.child('lent')
  const files = stack.use(new LentFiles({ clock: systemClock, log, node, files: fetched }, join(config.folders.data, 'lent.db')))
  const closing = new AbortController()
  const parts = await openAsk(stack, { ...deps, files })
  book.current = parts.book
  stack.defer(() => closing.abort())
  const { groups, tasks, presence, directory, messenger, broadcasts } = parts
  const announce = (): Promise<void> => parts.announce()
  const groupDesk = new GroupDesk({ groups, self: messenger.self, nameOf: id => directory.nameOf(id) })
  const skillDesk = new SkillDesk({ tasks, presence, announce, folder: join(folder, 'runs') })
  const talk = new AgentTalk({ broadcasts, self: messenger.self, nameOf: id => directory.nameOf(id) })
  const texts = new SealedTexts(join(config.folders.data, 'texts'), await deps.identity.storageKey('texts'))
  const longTexts: LongTexts = stack.use(
    new LongTexts({
      ...{
        clock: systemClock,
        log,
        messenger,
        files,
        texts,
        read: readFile,
        isKnown: id => isChosen(parts.book, id) && !parts.book.scores.isBanned({ entityId: id })
      },
      show: message => desk.show(message)
    })
  )
  const desk: AskDesk = new AskDesk({ parts, groups: groupDesk, skills: skillDesk, talk, files, texts, longTexts }, tell, closing.signal)
  files.start(owner => desk.lentFor(owner))
  longTexts.start()
  node().events.on(e => {
    if (e.type === 'download:changed' && e.download.state === 'done') longTexts.fetched(e.download.address)
  }, closing.signal)
  const owned = stack.move()
  return { desk, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
