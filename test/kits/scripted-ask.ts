/** An AskService that answers every question with the same small views, and notes what would have changed something. */
import type * as T from '../../src/node/ask-types.ts'

const PEER = 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd'
const UUID = 'e3b0c442-98fc-4c14-9afb-f4c8996fb924'

export const messageView = (direction: 'in' | 'out'): T.MessageView => ({
  ...{
    id: UUID,
    direction,
    peer: PEER,
    peerName: 'laptop',
    type: 'agent_message',
    text: 'hello',
    body: {},
    file: undefined,
    reason: undefined,
    retry: undefined,
    legacy: false
  },
  ...{ state: direction === 'in' ? 'received' : 'delivered', group: undefined, createdAt: 1, changedAt: 2 }
})
const peerView: T.KnownPeerView = {
  ...{ entityId: PEER, name: 'laptop', peerIds: [], addresses: [], connected: true, verified: false, banned: false, score: 0 },
  ...{ capabilities: ['task:echo'], status: undefined, firstSeen: 1, lastSeen: 2, sentMessages: 3, receivedMessages: 4 },
  ...{ latencyMs: 1.5, grants: [] }
}
const groupView: T.GroupView = {
  ...{ id: 'aa'.repeat(32), name: 'team', epoch: 1, isMember: true, split: false },
  members: [{ entityId: PEER, name: undefined, role: 'admin' }]
}
const skillView: T.SkillView = { name: 'echo', description: '', command: ['cat'], concurrency: 1, running: 0 }
export const taskView: T.TaskView = {
  ...{ id: UUID, role: 'given', peer: PEER, peerName: undefined, skill: 'echo', description: 'x', state: 'COMPLETED' },
  ...{
    progress: undefined,
    note: undefined,
    output: { said: 'x' },
    file: undefined,
    error: undefined,
    createdAt: 1,
    deadline: 9,
    finishedAt: 2,
    attempts: 1
  }
}
const grantView: T.GrantView = { to: PEER, name: 'laptop', what: 'task:echo', createdAt: 1 }

/** @param changed gets the name of each call that is not only a question */
export function scriptedAsk(changed: (name: string) => void): T.AskService {
  const change = async <V>(name: string, view: V): Promise<V> => {
    changed(name)
    return view
  }
  return {
    self: async () => ({ entityId: PEER, url: undefined }),
    send: () => change('sendMessage', messageView('out')),
    messages: async () => [messageView('in'), messageView('out')],
    message: async () => messageView('out'),
    cancelMessage: () => change('cancelMessage', messageView('out')),
    peers: async () => [peerView],
    changePeer: () => change('changePeer', peerView),
    verify: async () => ({ entityId: PEER, name: undefined, verified: false, words: ['a', 'b'] }),
    network: async () => ({
      connected_peers: 1,
      message_latency: { p50_ms: 1, p99_ms: undefined },
      bandwidth_usage: { in_bytes_per_second: 1, out_bytes_per_second: 2 },
      agent_distribution: { 'task:echo': 1 },
      network_load: { messages_in_per_second: 0, messages_out_per_second: 0, queued: 0, resent_share: 0, lost_peers: 0 }
    }),
    grants: async () => [grantView],
    grant: () => change('grant', grantView),
    revoke: () => change('revoke', grantView),
    groups: async () => [groupView],
    createGroup: () => change('createGroup', groupView),
    changeGroup: () => change('changeGroup', groupView),
    leaveGroup: () => change('leaveGroup', groupView),
    sendToGroup: () => change('sendToGroup', messageView('out')),
    agentMessages: async () => [
      {
        ...{ id: UUID, from: PEER, fromName: undefined, agentId: PEER, to: undefined, via: 'gossip', topic: '' },
        ...{ kind: 'announcement', data: { title: 'x' }, sentAt: 1 }
      }
    ],
    say: () => change('say', { id: UUID, recipients: 1 }),
    skills: async () => [skillView],
    serveSkill: () => change('serveSkill', skillView),
    stopSkill: () => change('stopSkill', skillView),
    ask: () => change('ask', taskView),
    tasks: async () => [taskView],
    task: async () => taskView,
    taskOutput: async () => ({ output: { said: 'x' } }),
    cancelTask: () => change('cancelTask', taskView)
  }
}
