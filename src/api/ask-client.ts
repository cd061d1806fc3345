/** AskService over HTTP. @see client.ts */
import type { AskService } from '../node/ask-types.ts'

/** One call of the API: resolves with what the route table says. */
export type Call = <T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, signal?: AbortSignal) => Promise<T>

export function createAskClient(call: Call): AskService {
  const id = encodeURIComponent
  const read = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('GET', path, undefined, signal)
  const remove = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('DELETE', path, undefined, signal)
  return {
    self: signal => read('/v1/self', signal),
    send: (request, signal) => call('POST', '/v1/messages', request, signal),
    messages: ({ direction, limit } = {}, signal) => {
      const query = new URLSearchParams()
      if (direction !== undefined) query.set('direction', direction)
      if (limit !== undefined) query.set('limit', String(limit))
      return read(`/v1/messages${query.size > 0 ? `?${query}` : ''}`, signal)
    },
    message: (text, signal) => read(`/v1/messages/${id(text)}`, signal),
    cancelMessage: (text, signal) => remove(`/v1/messages/${id(text)}`, signal),
    peers: signal => read('/v1/peers', signal),
    changePeer: (request, signal) => call('POST', '/v1/peers', request, signal),
    verify: (peer, signal) => call('POST', '/v1/peers/verify', { peer }, signal),
    network: signal => read('/v1/network', signal),
    grants: signal => read('/v1/grants', signal),
    grant: (to, what, signal) => call('POST', '/v1/grants', { to, what }, signal),
    revoke: (to, what, signal) => call('POST', '/v1/grants/revoke', { to, what }, signal),
    groups: signal => read('/v1/groups', signal),
    createGroup: (name, members, signal) => call('POST', '/v1/groups', { name, members }, signal),
    changeGroup: (group, change, signal) => call('POST', `/v1/groups/${id(group)}/members`, change, signal),
    leaveGroup: (group, signal) => call('POST', `/v1/groups/${id(group)}/leave`, {}, signal),
    sendToGroup: (group, text, signal) => call('POST', `/v1/groups/${id(group)}/messages`, { text }, signal),
    agentMessages: signal => read('/v1/agent-messages', signal),
    say: (request, signal) => call('POST', '/v1/agent-messages', request, signal),
    skills: signal => read('/v1/skills', signal),
    serveSkill: (request, signal) => call('POST', '/v1/skills', request, signal),
    stopSkill: (name, signal) => remove(`/v1/skills/${id(name)}`, signal),
    ask: (request, signal) => call('POST', '/v1/tasks', request, signal),
    tasks: signal => read('/v1/tasks', signal),
    task: (text, signal) => read(`/v1/tasks/${id(text)}`, signal),
    taskOutput: (text, signal) => read(`/v1/tasks/${id(text)}/output`, signal),
    cancelTask: (text, signal) => remove(`/v1/tasks/${id(text)}`, signal)
  }
}
