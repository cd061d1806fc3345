/** Opens messaging with everything that users see of it; disposing it closes all of it. */
import { join } from 'node:path'
import type { PeerBook } from '../trust/types.ts'
import { AgentTalk } from './agent-talk.ts'
import { AskDesk } from './ask-desk.node.ts'
import type { AskDeps } from './ask-parts.node.ts'
import type { AskEvent } from './ask-types.ts'
import { GroupDesk } from './group-desk.ts'
import { openAsk } from './open-ask.node.ts'
import { mayBeDialledFor } from './peer-scope.ts'
import { SkillDesk } from './skill-desk.node.ts'
import { type MayDial, NodeTaskFiles } from './task-files.node.ts'
import type { KithNode } from './types.ts'

export interface OpenedAsk extends AsyncDisposable {
  readonly desk: AskDesk
}

/** @throws what `openAsk` throws */
export async function openAskDesk(deps: Omit<AskDeps, 'files'>, node: () => KithNode, tell: (event: AskEvent) => void): Promise<OpenedAsk> {
  await using stack = new AsyncDisposableStack()
  const folder = join(deps.config.folders.state, 'tasks')
  const { gate, host } = deps
  const book: { current?: PeerBook } = {}
  const mayDial: MayDial = (address, from) =>
    mayBeDialledFor({ gate, peers: () => host.peers() }, address, (from !== undefined && book.current?.peer(from)?.peerIds) || [])
  const files = stack.use(new NodeTaskFiles(node, join(folder, 'files'), mayDial))
  const closing = new AbortController()
  const parts = await openAsk(stack, { ...deps, files })
  book.current = parts.book
  stack.defer(() => closing.abort())
  const { groups, tasks, presence, directory, messenger, broadcasts } = parts
  const announce = (): Promise<void> => parts.announce()
  const groupDesk = new GroupDesk({ groups, self: messenger.self, nameOf: id => directory.nameOf(id) })
  const skillDesk = new SkillDesk({ tasks, presence, announce, folder: join(folder, 'runs') })
  const talk = new AgentTalk({ broadcasts, self: messenger.self, nameOf: id => directory.nameOf(id) })
  const desk = new AskDesk({ parts, groups: groupDesk, skills: skillDesk, talk, files }, tell, closing.signal)
  const owned = stack.move()
  return { desk, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
