/** Messaging that is opened when it is first used: most commands of the program need none of it. */
import type { AskService } from '../ask-types.ts'

export function lazyAsk(open: () => Promise<AskService>): AskService {
  return {
    self: async s => (await open()).self(s),
    send: async (request, s) => (await open()).send(request, s),
    messages: async (options, s) => (await open()).messages(options, s),
    message: async (id, s) => (await open()).message(id, s),
    cancelMessage: async (id, s) => (await open()).cancelMessage(id, s),
    peers: async s => (await open()).peers(s),
    changePeer: async (request, s) => (await open()).changePeer(request, s),
    verify: async (peer, s) => (await open()).verify(peer, s),
    network: async s => (await open()).network(s),
    grants: async s => (await open()).grants(s),
    grant: async (to, what, s) => (await open()).grant(to, what, s),
    revoke: async (to, what, s) => (await open()).revoke(to, what, s),
    groups: async s => (await open()).groups(s),
    createGroup: async (name, members, s) => (await open()).createGroup(name, members, s),
    changeGroup: async (group, change, s) => (await open()).changeGroup(group, change, s),
    leaveGroup: async (group, s) => (await open()).leaveGroup(group, s),
    sendToGroup: async (group, text, s) => (await open()).sendToGroup(group, text, s),
    agentMessages: async s => (await open()).agentMessages(s),
    say: async (request, s) => (await open()).say(request, s),
    skills: async s => (await open()).skills(s),
    serveSkill: async (request, s) => (await open()).serveSkill(request, s),
    stopSkill: async (name, s) => (await open()).stopSkill(name, s),
    ask: async (request, s) => (await open()).ask(request, s),
    tasks: async s => (await open()).tasks(s),
    task: async (id, s) => (await open()).task(id, s),
    taskOutput: async (id, s) => (await open()).taskOutput(id, s),
    cancelTask: async (id, s) => (await open()).cancelTask(id, s)
  }
}
