/** `kith peer`: who this node knows, what they are called, and what they may do here. */
import type { GrantView, KnownPeerView } from '../../node/ask-types.ts'
import type { Context, Register } from '../context.ts'
import { clean } from '../format.ts'
import { openSession } from '../session.ts'

const EXAMPLES = `
Examples:
  kith peer name 12D3KooW… laptop
  kith peer grant laptop task:summarise      it may give this node that kind of task
  kith peer grant '*' relay                  everybody may hop through this node
  kith peer mailbox server1                  messages for this node are left with it while it is away
  kith peer ban 12D3KooW…`

export const register: Register = (program, act) => {
  const peer = program.command('peer').description('peers this node knows, and what they may do').addHelpText('after', EXAMPLES)
  peer.command('list').description('peers this node has met').action(act(list))
  peer
    .command('name')
    .description('give a peer a name of your own')
    .argument('<peer>')
    .argument('[name]', 'absent: take its name away')
    .action(act((context: Context, who: string, name?: string) => change(context, { peer: who, name: name ?? '' })))
  peer
    .command('grant')
    .description('let a peer do something: task:SKILL, task:*, relay, mailbox or stats')
    .argument('<peer>', "whom; '*' is everybody")
    .argument('<what>')
    .action(act((context: Context, to: string, what: string) => grant(context, to, what, true)))
  peer
    .command('revoke')
    .description('take it back')
    .argument('<peer>')
    .argument('<what>')
    .action(act((context: Context, to: string, what: string) => grant(context, to, what, false)))
  peer.command('grants').description('who may do what here').action(act(grants))
  peer
    .command('mailbox')
    .description('have messages for this node left with a peer while this node is away (it must grant it)')
    .argument('<peer>')
    .option('--off', 'no longer')
    .action(act((context: Context, who: string, o: { off?: boolean }) => change(context, { peer: who, mailbox: o.off !== true })))
  peer
    .command('legacy')
    .description("take texts in spec 001's old form (0.3) from a peer, over HTTP: signed, not encrypted; only if you must")
    .argument('<peer>')
    .option('--off', 'no longer')
    .action(act((context: Context, who: string, o: { off?: boolean }) => change(context, { peer: who, legacy: o.off !== true })))
  peer
    .command('ban')
    .description('have nothing to do with a peer')
    .argument('<peer>')
    .option('--off', 'no longer')
    .action(act((context: Context, who: string, o: { off?: boolean }) => change(context, { peer: who, banned: o.off !== true })))
  peer.command('network').description('connections, latency, bandwidth and agents, as measured').action(act(network))
}

type Change = Parameters<import('../../node/ask-types.ts').AskService['changePeer']>[0]

async function change(context: Context, request: Change): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const view = await session.client.ask.changePeer(request, context.lifetime.signal)
  context.output.result(view, () => describePeer(view))
}

async function list(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const [self, peers] = await Promise.all([
    session.client.ask.self(context.lifetime.signal),
    session.client.ask.peers(context.lifetime.signal)
  ])
  context.output.result(peers, () => [
    `This node is ${self.entityId}`,
    ...(self.url === undefined ? [] : [`  its message server: ${clean(self.url, 200)}`]),
    ...(peers.length === 0 ? ['It has met no peers yet.'] : peers.flatMap(describePeer))
  ])
}

async function grant(context: Context, to: string, what: string, give: boolean): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const { ask } = session.client
  const view = give ? await ask.grant(to, what, context.lifetime.signal) : await ask.revoke(to, what, context.lifetime.signal)
  context.output.result(view, () => [give ? `Granted: ${grantLine(view)}` : `Taken back: ${grantLine(view)}`])
}

async function grants(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const views = await session.client.ask.grants(context.lifetime.signal)
  context.output.result(views, () => (views.length === 0 ? ['Nobody was granted anything.'] : views.map(grantLine)))
}

async function network(context: Context): Promise<undefined> {
  await using session = await openSession(context, { serve: false })
  const n = await session.client.ask.network(context.lifetime.signal)
  const ms = (v: number | undefined): string => (v === undefined ? '–' : `${v.toFixed(1)} ms`)
  context.output.result(n, () => [
    `peers connected: ${n.connected_peers}, messages that wait: ${n.network_load.queued}, peers lost: ${n.network_load.lost_peers}`,
    `  latency   p50 ${ms(n.message_latency.p50_ms)}, p99 ${ms(n.message_latency.p99_ms)}`,
    `  bandwidth ${Math.round(n.bandwidth_usage.in_bytes_per_second)} B/s in, ${Math.round(n.bandwidth_usage.out_bytes_per_second)} B/s out`,
    ...Object.entries(n.agent_distribution).map(([skill, count]) => `  ${clean(skill, 60)}: ${count}`)
  ])
}

const grantLine = (g: GrantView): string => `${g.to === '*' ? 'everybody' : clean(g.name ?? g.to, 120)} may ${clean(g.what, 80)}`

function describePeer(p: KnownPeerView): string[] {
  const marks = [p.connected ? 'connected' : 'no session now', ...(p.verified ? ['verified'] : []), ...(p.banned ? ['BANNED'] : [])]
  const latency = p.latencyMs === undefined ? '' : `, ${p.latencyMs.toFixed(1)} ms`
  return [
    `${clean(p.name ?? `…${p.entityId.slice(-8)}`, 60)}  ${marks.join(', ')}; ${p.sentMessages} sent, ${p.receivedMessages} received${latency}`,
    `  ${clean(p.entityId, 120)}`,
    ...p.peerIds.map(id => `  peer ${clean(id, 80)}`),
    ...(p.capabilities.length === 0 ? [] : [`  can: ${clean(p.capabilities.join(', '), 200)}`]),
    ...(p.grants.length === 0 ? [] : [`  may: ${clean(p.grants.join(', '), 200)}`])
  ]
}
