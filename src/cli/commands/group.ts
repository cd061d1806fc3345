/** `kith group`: texts to several peers at once. */
import type { GroupView } from '../../node/ask-types.ts'
import type { Context, Register } from '../context.ts'
import { followMessage } from '../follow.ts'
import { clean } from '../format.ts'
import { describeSent } from '../message-lines.ts'
import { openSession } from '../session.ts'

const EXAMPLES = `
Examples:
  kith group create builders laptop server1 server2
  kith group send builders "all green"
  kith group remove builders server2        the key changes: server2 reads nothing that comes later`

export const register: Register = (program, act) => {
  const group = program.command('group').description('groups of peers that write to each other').addHelpText('after', EXAMPLES)
  group
    .command('create')
    .description('make a group')
    .argument('<name>')
    .argument('[peer...]', 'its members beside this node')
    .action(act(create))
  group.command('list').description('groups of this node').action(act(list))
  group
    .command('add')
    .description('add members; they read what comes from now on')
    .argument('<group>', 'name or id')
    .argument('<peer...>')
    .action(act((context: Context, name: string, peers: string[]) => change(context, name, { add: peers })))
  group
    .command('remove')
    .description('remove members; they read nothing that comes later')
    .argument('<group>', 'name or id')
    .argument('<peer...>')
    .action(act((context: Context, name: string, peers: string[]) => change(context, name, { remove: peers })))
  group.command('leave').description('leave a group; once more: forget it').argument('<group>', 'name or id').action(act(leave))
  group
    .command('send')
    .description('send a text to all members')
    .argument('<group>', 'name or id')
    .argument('<text>')
    .option('--wait <time>', 'how long to watch what becomes of it', '10s')
    .action(act(send))
}

async function create(context: Context, name: string, members: string[]): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const self = (await session.client.ask.self()).entityId
  const view = await session.client.ask.createGroup(name, members, context.lifetime.signal)
  context.output.result(view, () => describeGroup(view, self))
}

async function list(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const self = (await session.client.ask.self()).entityId
  const views = await session.client.ask.groups(context.lifetime.signal)
  context.output.result(views, () => (views.length === 0 ? ['No groups.'] : views.flatMap(g => describeGroup(g, self))))
}

async function change(
  context: Context,
  group: string,
  what: { readonly add?: readonly string[]; readonly remove?: readonly string[] }
): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const self = (await session.client.ask.self()).entityId
  const view = await session.client.ask.changeGroup(group, what, context.lifetime.signal)
  context.output.result(view, () => describeGroup(view, self))
}

async function leave(context: Context, group: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const { ask } = session.client
  const before = (await ask.groups()).map(g => g.id)
  const view = await ask.leaveGroup(group, context.lifetime.signal)
  const isForgotten = before.includes(view.id) && !(await ask.groups()).some(g => g.id === view.id)
  context.output.result(view, () => [`${isForgotten ? 'Forgotten' : 'Left'}: ${clean(view.name, 60)}.`])
}

async function send(context: Context, group: string, text: string, options: { wait: string }): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const sent = await session.client.ask.sendToGroup(group, text, context.lifetime.signal)
  const last = await followMessage(context, session, sent, options.wait)
  context.output.result(last, () => describeSent(last, session.own))
}

/** Name, members, and what is wrong with it. */
export function describeGroup(g: GroupView, self: string): string[] {
  return [
    `${clean(g.name, 60)}  ${g.members.length} member${g.members.length === 1 ? '' : 's'}, key number ${g.epoch}${g.isMember ? '' : ' (you are not in it any more)'}`,
    ...(g.split ? ['  WARNING: members have seen different histories of this group. Compare with them before you believe it.'] : []),
    ...g.members.map(
      m => `  ${m.role === 'admin' ? 'admin ' : 'member'}  ${m.entityId === self ? 'this node' : clean(m.name ?? m.entityId, 120)}`
    ),
    `  id ${g.id}`
  ]
}
