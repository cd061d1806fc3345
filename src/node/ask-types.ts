/**
 * Messages, peers, groups and tasks as the API, the CLI and tests see them. Every view is plain JSON; times are ms since 1970. A "peer"
 * that a user names is a name given to it, a did:key, a PeerId, a multiaddr with /p2p/, or the http(s) URL of its message server.
 */

/** One message, sent or received. */
export interface MessageView {
  readonly id: string
  readonly direction: 'in' | 'out'
  /** did:key of the other side. */
  readonly peer: string
  /** The name that the user gave it. */
  readonly peerName: string | undefined
  readonly type: string
  /** What it says, if it is text; else undefined. Of one's own: for 30 days after its end, unless it was taken back; not in events. */
  readonly text: string | undefined
  /** Bytes of the whole text, when `text` is only its beginning: above 64 KiB, in lists and events. Then `body` is empty. */
  readonly textBytes?: number | undefined
  readonly body: Record<string, unknown>
  /** A file that came with it, or is its text: to be fetched by its link, which holds the key. */
  readonly file: { readonly link: string; readonly name: string; readonly size: number } | undefined
  /** in: received. out: waiting, sent, relayed, delivered or failed. */
  readonly state: 'received' | 'waiting' | 'sent' | 'relayed' | 'delivered' | 'failed'
  /** Why it failed, or still waits, in plain words. */
  readonly reason: { readonly code: string; readonly message: string } | undefined
  /** out, while it waits because it could not be delivered: since when, and when it is tried again. */
  readonly retry: { readonly since: number; readonly at: number } | undefined
  readonly group: string | undefined
  /** in: it came in the form of before version 1.1, signed and not encrypted. */
  readonly legacy: boolean
  readonly createdAt: number
  readonly changedAt: number
}

export interface SendMessageRequest {
  readonly to: string
  readonly text: string
  /** Absolute path: shared encrypted; the message holds its link. A text above 6 MiB goes so by itself. */
  readonly file?: string
  /** A UUID v4: the same message again is sent once. */
  readonly id?: string
  /** How long it may wait. Default 7 days. */
  readonly ttlMs?: number
}

/** A peer this node has met or was told of. */
export interface KnownPeerView {
  readonly entityId: string
  readonly name: string | undefined
  readonly peerIds: readonly string[]
  readonly addresses: readonly string[]
  readonly connected: boolean
  /** The fingerprint was compared. */
  readonly verified: boolean
  readonly banned: boolean
  readonly score: number
  readonly capabilities: readonly string[]
  /** What it said about itself. */
  readonly status: Record<string, unknown> | undefined
  readonly firstSeen: number
  readonly lastSeen: number
  readonly sentMessages: number
  readonly receivedMessages: number
  /** Median time until a message was acknowledged. */
  readonly latencyMs: number | undefined
  readonly grants: readonly string[]
}

export interface ChangePeerRequest {
  readonly peer: string
  /** A name of one's own choice; '' takes it away. */
  readonly name?: string
  readonly verified?: boolean
  /** Speak spec 001's old form with it, whose signatures leave fields out. */
  readonly legacy?: boolean
  /** Leave messages for us with it while we are away. */
  readonly mailbox?: boolean
  readonly banned?: boolean
}

/** What both sides see when they compare keys. */
export interface VerifyView {
  readonly entityId: string
  readonly name: string | undefined
  readonly verified: boolean
  /** The same on both screens. */
  readonly words: readonly string[]
}

/** Who may do what here. */
export interface GrantView {
  /** did:key of a peer or person; '*': everybody. */
  readonly to: string
  readonly name: string | undefined
  /** task:SKILL, task:*, relay, mailbox or stats. */
  readonly what: string
  readonly createdAt: number
}

export interface GroupView {
  readonly id: string
  readonly name: string
  readonly epoch: number
  readonly members: readonly { readonly entityId: string; readonly name: string | undefined; readonly role: 'admin' | 'member' }[]
  /** Whether this node is (still) a member. */
  readonly isMember: boolean
  /** Members saw different histories: nothing should be believed before it is cleared up. */
  readonly split: boolean
}

export interface SkillView {
  readonly name: string
  readonly description: string
  readonly command: readonly string[]
  readonly concurrency: number
  readonly running: number
}

export interface ServeSkillRequest {
  readonly name: string
  readonly description?: string
  /** Program and arguments; no shell. */
  readonly command: readonly string[]
  readonly cwd?: string
  readonly concurrency?: number
  readonly timeoutMs?: number
  /** Peers, or '*', that may ask. Absent: those who were granted it already. */
  readonly allow?: readonly string[]
}

export interface TaskView {
  readonly id: string
  readonly role: 'given' | 'received'
  readonly peer: string
  readonly peerName: string | undefined
  readonly skill: string
  readonly description: string
  readonly state: 'PENDING' | 'ASSIGNED' | 'IN_PROGRESS' | 'COMPLETED' | 'FAILED' | 'CANCELLED' | 'REFUSED'
  readonly progress: number | undefined
  readonly note: string | undefined
  readonly output: unknown
  /** A result that was too large for a message: to be fetched by its link. */
  readonly file: { readonly link: string; readonly name: string; readonly size: number } | undefined
  readonly error: { readonly code: string; readonly message: string } | undefined
  readonly createdAt: number
  readonly deadline: number | undefined
  readonly finishedAt: number | undefined
  readonly attempts: number
}

export interface AskRequest {
  /** A peer; absent: whoever has the skill. */
  readonly to?: string
  /** Absent: the only one that the peer has. */
  readonly skill?: string
  readonly description: string
  readonly input?: unknown
  /** Absolute paths: shared with a secret in the link, fetched by the worker. */
  readonly files?: readonly string[]
  readonly deadlineMs?: number
  readonly idempotencyKey?: string
}

/** What an agent said to all, or to this node, in spec 003's kinds. */
export interface AgentMessageView {
  readonly id: string
  /** did:key that signed. */
  readonly from: string
  readonly fromName: string | undefined
  /** Who speaks: a did:key that was proved, or a name that `from` gave itself. */
  readonly agentId: string
  readonly to: string | undefined
  readonly via: 'gossip' | 'direct'
  readonly topic: string | undefined
  /** alliance_proposal, discussion, meme, status_update, announcement, or of the network: network_state, block_proposal, consensus_vote. */
  readonly kind: string
  readonly data: Record<string, unknown>
  readonly sentAt: number
}

export interface SayRequest {
  /** alliance_proposal, discussion, meme, status_update or announcement. */
  readonly kind: string
  /** The members that docs/wire/agent-message.md names for the kind. */
  readonly data: Record<string, unknown>
  /** Absent: the topic that all agents listen to. */
  readonly topic?: string
  /** A peer; absent: all who listen. */
  readonly to?: string
}

/** Spec 003's monitor, measured. */
export interface NetworkView {
  readonly connected_peers: number
  readonly message_latency: { readonly p50_ms: number | undefined; readonly p99_ms: number | undefined }
  readonly bandwidth_usage: { readonly in_bytes_per_second: number; readonly out_bytes_per_second: number }
  readonly agent_distribution: Readonly<Record<string, number>>
  readonly network_load: {
    readonly messages_in_per_second: number
    readonly messages_out_per_second: number
    readonly queued: number
    readonly resent_share: number
    readonly lost_peers: number
  }
}

/** The same in this process and over the API. Peers that cannot be resolved: UNKNOWN_PEER. */
export interface AskService {
  self(signal?: AbortSignal): Promise<{ readonly entityId: string; readonly url: string | undefined }>
  /** Resolves when the message is on disk. @throws UNKNOWN_PEER, QUEUE_FULL, TOO_LARGE */
  send(request: SendMessageRequest, signal?: AbortSignal): Promise<MessageView>
  /** Newest first. */
  messages(options?: { readonly direction?: 'in' | 'out'; readonly limit?: number }, signal?: AbortSignal): Promise<readonly MessageView[]>
  /** One that was sent or received, with its text. @throws UNKNOWN_MESSAGE */
  message(id: string, signal?: AbortSignal): Promise<MessageView>
  /** Takes a message back that was not delivered. @throws UNKNOWN_MESSAGE */
  cancelMessage(id: string, signal?: AbortSignal): Promise<MessageView>
  peers(signal?: AbortSignal): Promise<readonly KnownPeerView[]>
  changePeer(request: ChangePeerRequest, signal?: AbortSignal): Promise<KnownPeerView>
  verify(peer: string, signal?: AbortSignal): Promise<VerifyView>
  network(signal?: AbortSignal): Promise<NetworkView>
  grants(signal?: AbortSignal): Promise<readonly GrantView[]>
  grant(to: string, what: string, signal?: AbortSignal): Promise<GrantView>
  /** @throws UNKNOWN_GRANT */
  revoke(to: string, what: string, signal?: AbortSignal): Promise<GrantView>
  groups(signal?: AbortSignal): Promise<readonly GroupView[]>
  /** @throws GROUP_EXISTS (this node is in one of this name), and what `Groups.create` throws */
  createGroup(name: string, members: readonly string[], signal?: AbortSignal): Promise<GroupView>
  /** By name, id, or the beginning of an id. @throws UNKNOWN_GROUP, NOT_MEMBER, NOT_AUTHORISED */
  changeGroup(
    group: string,
    change: { readonly add?: readonly string[]; readonly remove?: readonly string[] },
    signal?: AbortSignal
  ): Promise<GroupView>
  /** Leaves a group; one that this node has left already, or was removed from, is forgotten. @throws UNKNOWN_GROUP, GROUP_FULL */
  leaveGroup(group: string, signal?: AbortSignal): Promise<GroupView>
  sendToGroup(group: string, text: string, signal?: AbortSignal): Promise<MessageView>
  /** What agents said since the node started, newest first. */
  agentMessages(signal?: AbortSignal): Promise<readonly AgentMessageView[]>
  /** @returns how many connected listeners got it at once; 1 for a message to one peer @throws BAD_PAYLOAD, NOT_CONNECTED (this node does not stay up) */
  say(request: SayRequest, signal?: AbortSignal): Promise<{ readonly id: string; readonly recipients: number }>
  skills(signal?: AbortSignal): Promise<readonly SkillView[]>
  /** Runs a program for each task until it is taken away or the node ends. @throws SKILL_EXISTS, FILE_NOT_FOUND */
  serveSkill(request: ServeSkillRequest, signal?: AbortSignal): Promise<SkillView>
  /** @throws UNKNOWN_SKILL */
  stopSkill(name: string, signal?: AbortSignal): Promise<SkillView>
  /** Resolves when the task is on disk. @throws UNKNOWN_PEER, NO_SUCH_SKILL */
  ask(request: AskRequest, signal?: AbortSignal): Promise<TaskView>
  tasks(signal?: AbortSignal): Promise<readonly TaskView[]>
  /** @throws UNKNOWN_TASK */
  task(id: string, signal?: AbortSignal): Promise<TaskView>
  /** The result of a task, fetched from the worker when it was too large for a message. @throws UNKNOWN_TASK, TOO_LARGE, NO_SOURCES and other codes of a download */
  taskOutput(id: string, signal?: AbortSignal): Promise<{ readonly output: unknown }>
  /** @throws UNKNOWN_TASK */
  cancelTask(id: string, signal?: AbortSignal): Promise<TaskView>
}

export type AskEvent =
  | { readonly type: 'message:received'; readonly message: MessageView }
  | { readonly type: 'message:changed'; readonly message: MessageView }
  | { readonly type: 'agent:message'; readonly message: AgentMessageView }
  | { readonly type: 'task:changed'; readonly task: TaskView }
  | { readonly type: 'group:changed'; readonly group: GroupView }
  | { readonly type: 'peer:connected'; readonly entityId: string }
  | { readonly type: 'peer:lost'; readonly entityId: string; readonly reason: string }
