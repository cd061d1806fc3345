/** The routes of messages, peers, groups and tasks. @see routes.ts */
import * as s from './ask-schemas.ts'
import { get, getQuery, ok, post, type Route, remove } from './route-makers.ts'

export const askRoutes: readonly Route[] = [
  get('/v1/self', 'self', 'This node as its peers know it', s.selfView, async (d, c) => ok(await d.client.ask.self(c.signal))),
  getQuery(
    '/v1/messages',
    'messages',
    'Messages that were sent and received, newest first',
    s.messageQuery,
    s.messageView.array(),
    async (d, { query, signal }) => ok(await d.client.ask.messages(query, signal))
  ),
  post(
    '/v1/messages',
    'sendMessage',
    'Sends a text; 201 when it is on disk',
    s.sendMessageRequest,
    { 201: s.messageView },
    async (d, c) => ({
      status: 201,
      value: await d.client.ask.send(c.body, c.signal)
    })
  ),
  get('/v1/messages/{id}', 'message', 'One message and what became of it', s.messageView, async (d, { id, signal }) =>
    ok(await d.client.ask.message(id, signal))
  ),
  remove('/v1/messages/{id}', 'cancelMessage', 'Takes back a message that was not delivered', s.messageView, async (d, { id, signal }) =>
    ok(await d.client.ask.cancelMessage(id, signal))
  ),
  get('/v1/peers', 'peers', 'Peers this node has met', s.knownPeerView.array(), async (d, c) => ok(await d.client.ask.peers(c.signal))),
  post('/v1/peers', 'changePeer', 'Names a peer, or says how it is treated', s.changePeerRequest, { 200: s.knownPeerView }, async (d, c) =>
    ok(await d.client.ask.changePeer(c.body, c.signal))
  ),
  post(
    '/v1/peers/verify',
    'verify',
    'The words that both sides compare; changes nothing',
    s.verifyRequest,
    { 200: s.verifyView },
    async (d, { body, signal }) => ok(await d.client.ask.verify(body.peer, signal))
  ),
  get('/v1/network', 'network', 'Connected peers, latency, bandwidth, agents, load: measured', s.networkView, async (d, c) =>
    ok(await d.client.ask.network(c.signal))
  ),
  get('/v1/grants', 'grants', 'Who may do what here', s.grantView.array(), async (d, c) => ok(await d.client.ask.grants(c.signal))),
  post('/v1/grants', 'grant', 'Lets a peer do something', s.grantRequest, { 201: s.grantView }, async (d, { body, signal }) => ({
    status: 201,
    value: await d.client.ask.grant(body.to, body.what, signal)
  })),
  post('/v1/grants/revoke', 'revoke', 'Takes it back', s.grantRequest, { 200: s.grantView }, async (d, { body, signal }) =>
    ok(await d.client.ask.revoke(body.to, body.what, signal))
  ),
  get('/v1/groups', 'groups', 'Groups this node is or was in', s.groupView.array(), async (d, c) =>
    ok(await d.client.ask.groups(c.signal))
  ),
  post('/v1/groups', 'createGroup', 'Makes a group', s.createGroupRequest, { 201: s.groupView }, async (d, { body, signal }) => ({
    status: 201,
    value: await d.client.ask.createGroup(body.name, body.members, signal)
  })),
  post(
    '/v1/groups/{id}/members',
    'changeGroup',
    'Adds and removes members; the key changes with them',
    s.changeGroupRequest,
    { 200: s.groupView },
    async (d, { id, body, signal }) => ok(await d.client.ask.changeGroup(id, body, signal))
  ),
  post(
    '/v1/groups/{id}/leave',
    'leaveGroup',
    'Leaves a group; one that was left already is forgotten',
    s.emptyRequest,
    { 200: s.groupView },
    async (d, { id, signal }) => ok(await d.client.ask.leaveGroup(id, signal))
  ),
  post(
    '/v1/groups/{id}/messages',
    'sendToGroup',
    'Sends a text to all members',
    s.groupTextRequest,
    { 201: s.messageView },
    async (d, { id, body, signal }) => ({ status: 201, value: await d.client.ask.sendToGroup(id, body.text, signal) })
  ),
  get('/v1/agent-messages', 'agentMessages', 'What agents said since the node started', s.agentMessageView.array(), async (d, c) =>
    ok(await d.client.ask.agentMessages(c.signal))
  ),
  post('/v1/agent-messages', 'say', 'Says something to all agents, or to one peer', s.sayRequest, { 201: s.saidView }, async (d, c) => ({
    status: 201,
    value: await d.client.ask.say(c.body, c.signal)
  })),
  get('/v1/skills', 'skills', 'What this node does for others', s.skillView.array(), async (d, c) =>
    ok(await d.client.ask.skills(c.signal))
  ),
  post('/v1/skills', 'serveSkill', 'Runs a program for each task', s.serveSkillRequest, { 201: s.skillView }, async (d, c) => ({
    status: 201,
    value: await d.client.ask.serveSkill(c.body, c.signal)
  })),
  remove('/v1/skills/{id}', 'stopSkill', 'Takes no further tasks for it', s.skillView, async (d, { id, signal }) =>
    ok(await d.client.ask.stopSkill(id, signal))
  ),
  get('/v1/tasks', 'tasks', 'Tasks given and received, newest first', s.taskView.array(), async (d, c) =>
    ok(await d.client.ask.tasks(c.signal))
  ),
  post('/v1/tasks', 'ask', 'Gives a task to a peer; 201 when it is on disk', s.askRequest, { 201: s.taskView }, async (d, c) => ({
    status: 201,
    value: await d.client.ask.ask(c.body, c.signal)
  })),
  get('/v1/tasks/{id}', 'task', 'One task', s.taskView, async (d, { id, signal }) => ok(await d.client.ask.task(id, signal))),
  get(
    '/v1/tasks/{id}/output',
    'taskOutput',
    'Its result, fetched if it was too large for a message',
    s.taskOutput,
    async (d, { id, signal }) => ok(await d.client.ask.taskOutput(id, signal))
  ),
  remove('/v1/tasks/{id}', 'cancelTask', 'Cancels a task', s.taskView, async (d, { id, signal }) =>
    ok(await d.client.ask.cancelTask(id, signal))
  )
]
