/** `kith group`: texts to several peers at once. */
import type { GroupView } from '../../node/ask-types.ts'
import type { Context, Register } from '../context.ts'
import { clean } from '../format.ts'
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
  group.command('send').description('send a text to all members').argument('<group>', 'name or id').argument('<text>').action(act(send))
}

async function create(context: Context, name: string, members: string[]): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.ask.createGroup(name, members, context.lifetime.signal)
  context.output.result(view, () => describeGroup(view))
}

async function list(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const views = await session.client.ask.groups(context.lifetime.signal)
  context.output.result(views, () => (views.length === 0 ? ['No groups.'] : views.flatMap(describeGroup)))
}

async function change(
  context: Context,
  group: string,
  what: { readonly add?: readonly string[]; readonly remove?: readonly string[] }
): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.ask.changeGroup(group, what, context.lifetime.signal)
  context.output.result(view, () => describeGroup(view))
}

async function send(context: Context, group: string, text: string): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.ask.sendToGroup(group, text, context.lifetime.signal)
  const hint = session.own ? "'kith up' sends what could not be delivered yet." : ''
  context.output.result(view, () => [`Sent to ${clean(view.group ?? group, 60)}. ${hint}`.trimEnd()])
}

/** Name, members, and what is wrong with it. */
export function describeGroup(g: GroupView): string[] {
  return [
    `${clean(g.name, 60)}  ${g.members.length} member${g.members.length === 1 ? '' : 's'}, key number ${g.epoch}${g.isMember ? '' : ' (you are not in it any more)'}`,
    ...(g.split ? ['  WARNING: members have seen different histories of this group. Compare with them before you believe it.'] : []),
    ...g.members.map(m => `  ${m.role === 'admin' ? 'admin ' : 'member'}  ${clean(m.name ?? m.entityId, 120)}`),
    `  id ${g.id}`
  ]
}
