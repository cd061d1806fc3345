/** Every number of this folder that a peer could otherwise choose. */

/** Bytes of the body of one message, chunked or not; files go by `kith share`. */
export const MAX_MESSAGE_BODY_BYTES: number = 8 * 1024 * 1024
/** A body above this goes in chunks, so that what is urgent passes in between. */
export const CHUNKED_ABOVE_BYTES: number = 192 * 1024
/** Bytes of the body in one chunk. */
export const MESSAGE_CHUNK_BYTES: number = 64 * 1024
/** Chunked messages that are under way on one link, in each direction. */
export const MAX_TRANSFERS_PER_LINK = 2
/** Bytes of unfinished chunked messages kept for one peer, and for all together; the transfer that was silent for longest is dropped. */
export const MAX_PARTIAL_BYTES_PER_PEER: number = 16 * 1024 * 1024
export const MAX_PARTIAL_BYTES: number = 64 * 1024 * 1024
/** What a part that is kept counts for beside its bytes: parts of one byte take memory too. */
export const PART_OVERHEAD_BYTES = 1024
/** Unfinished messages of one peer, those of its last links among them, and of all. */
export const MAX_PARTIALS_PER_PEER: number = 4 * MAX_TRANSFERS_PER_LINK
export const MAX_PARTIALS = 600
/** Ranges of parts that are asked for at once: as many as wire's MAX_MISSING_RANGES, or fewer. */
export const MAX_ASKED_RANGES = 64
/** A message that comes in parts, with its id around it. */
export const MAX_MESSAGE_PAYLOAD_BYTES: number = MAX_MESSAGE_BODY_BYTES + 1024
/** How long a chunked message may be silent before its parts are dropped; the sender begins again. */
export const PARTIAL_IDLE_MS: number = 2 * 60_000
/** How long a chunked message may take in all. */
export const PARTIAL_TOTAL_MS: number = 15 * 60_000
/** What waits for one recipient (threats RT8), and in all. A further message is refused with QUEUE_FULL. */
export const MAX_WAITING_PER_PEER = 10_000
export const MAX_WAITING_BYTES_PER_PEER: number = 64 * 1024 * 1024
export const MAX_WAITING = 200_000
export const MAX_WAITING_BYTES: number = 1024 * 1024 * 1024
/** Errors that wait for one peer, and what may wait in all beside them: who does not fetch them takes no room from the user's messages. */
export const MAX_ANSWERS_PER_PEER: number = MAX_WAITING_PER_PEER / 10
export const MAX_WAITING_BESIDE_ANSWERS: number = MAX_WAITING / 2
/** How long a message waits at most, and unless the sender says otherwise. */
export const MAX_TTL_MS: number = 7 * 24 * 60 * 60_000
/** Delivered and failed messages that can still be asked about; the oldest are forgotten. */
export const MAX_FINISHED = 10_000
/** How long the content of a text that was sent can be looked at after its end, and bytes of all such texts; the oldest go first. */
export const KEEP_SENT_MS: number = 30 * 24 * 60 * 60_000
export const MAX_SENT_BYTES: number = 64 * 1024 * 1024
/** Messages of the inbox that keep their content; the oldest that were acted on lose it. */
export const MAX_INBOX = 100_000
/** Bytes of content that the inbox keeps; above it the oldest messages lose theirs. */
export const MAX_INBOX_BYTES: number = 512 * 1024 * 1024
/**
 * Bytes of messages that peers whom the user neither verified nor granted anything bring onto this disk: each of them, and all together, in a
 * second and at once. More is QUEUE_FULL, and waits with its sender.
 */
export const STRANGER_STORE_BYTES_PER_SECOND: number = 128 * 1024
export const STRANGER_STORE_BURST_BYTES: number = 32 * 1024 * 1024
export const ALL_STRANGERS_STORE_BYTES_PER_SECOND: number = 256 * 1024
export const ALL_STRANGERS_STORE_BURST_BYTES: number = 128 * 1024 * 1024
/** How much of what all may bring is for those of one network; what comes sealed or through relays is one. */
export const STRANGER_NETWORK_SHARE = 0.5
/** How long the id of a message is remembered, so that a repetition has no effect: longer than senders try. */
export const REMEMBER_IDS_MS: number = 15 * 24 * 60 * 60_000
/** How far the clock of a sender may be ahead of ours, for messages that waited. */
export const CLOCK_AHEAD_MS = 300_000
/** Messages of one lane of one recipient that are in memory; the others are read from disk when there is room. */
export const LANE_MESSAGES = 2048
/** Bytes of bodies kept in memory for one recipient; the others are read from disk when their turn comes. */
export const LANE_BODY_BYTES: number = 2 * 1024 * 1024
/** Messages that wait for their handler in memory, for each type; and those it acts on at once. */
export const HANDLER_QUEUE = 512
export const HANDLERS_AT_ONCE = 32
/** Received bytes that are not committed yet; then no more are read. */
export const MAX_UNCOMMITTED_BYTES: number = 4 * 1024 * 1024
/** How long receipts for sealed messages are collected; ids in one, and senders that wait for one. */
export const RECEIPT_DELAY_MS = 500
export const MAX_RECEIPTS = 1000
export const MAX_RECEIPT_PEERS = 1000
/** Receipts that are sealed and carried at once: each may look its recipient up in the network. */
export const MAX_CARRIED_RECEIPTS = 16
/** How often what is old is removed from disk. */
export const PRUNE_INTERVAL_MS: number = 10 * 60_000
/** Pause after a peer could not take a message for the moment. */
export const PUT_OFF_MS = 5_000
/** Links at a time; the one unused for longest makes room (threats CO16). */
export const MAX_LINKS = 300
/** Links that are being opened or greeted at a time. */
export const MAX_OPENING = 32
/** Links of others that are being greeted at a time: in all, and from one address. */
export const MAX_ACCEPTING = 128
export const MAX_ACCEPTING_PER_ORIGIN = 8
/** A handshake, from the first byte to the session (threats CO1). */
export const HANDSHAKE_MS = 10_000
/** A link that is opened from both sides within this time is one too many: the side with the smaller id keeps its own (threats CO19). */
export const CROSSING_MS = 20_000
/** Silence after which this side says that it is there; and how many such times may pass without a word from the other. */
export const HEARTBEAT_MS = 30_000
export const MISSED_HEARTBEATS = 3
/** Wait after a link could not be opened, doubled up to the longest; half of it is left to chance. */
export const RETRY_MS = 1_000
export const RETRY_MAX_MS: number = 5 * 60_000
/** Unacknowledged bytes and messages on one link. */
export const MIN_WINDOW_BYTES: number = 64 * 1024
export const FIRST_WINDOW_BYTES: number = 256 * 1024
export const MAX_WINDOW_BYTES: number = 4 * 1024 * 1024
export const MAX_UNACKED = 4096
/** Frames that one link has sent, or has to acknowledge, while the other side does not go on: nobody honest comes near it. */
export const MAX_OWED: number = 4 * MAX_UNACKED
/** Answers to pings, requests for parts and the like that wait for one link; more are not given. */
export const MAX_SAYINGS = 1024
/** An acknowledgement waits so long for more that it can tell, or until it tells so much. */
export const ACK_DELAY_MS = 5
export const ACK_AT_ONCE = 256
/** A peer that takes messages and acknowledges none for so long is given up. */
export const ACK_TIMEOUT_MS = 30_000
/** Frames of one link that are being checked at once, and their bytes: less than a session puts in order. */
export const PIPELINE_FRAMES = 64
export const PIPELINE_BYTES: number = 512 * 1024
/** Bytes given to a link that the network has not taken; then nothing more is made. */
export const SEND_AHEAD_BYTES: number = 512 * 1024
/** Ranges and refusals in one acknowledgement. */
export const MAX_ACK_RANGES = 1024
export const MAX_ACK_REFUSALS = 1024
/** Bad frames of one link after which it is ended (threats §0.3: off within 20 bad messages). */
export const MAX_BAD_FRAMES = 8
/** Peers whose figures are kept without a link; the one unseen for longest is forgotten. */
export const MAX_PEER_FIGURES = 1000
/** Names of capabilities in the statistics: peers choose them. */
export const MAX_CAPABILITY_NAMES = 100
/** Latencies from which the percentiles are taken. */
export const LATENCY_SAMPLES = 1024
/** Characters of a reason or a code that a peer tells. */
export const MAX_REASON_CHARS = 500
export const MAX_CODE_CHARS = 64

/** HTTP: bytes of request bodies that are being received or not settled yet, all together and from one address; further ones are told to come later. */
export const MAX_HTTP_BODY_BYTES: number = 64 * 1024 * 1024
export const MAX_HTTP_BODY_BYTES_PER_ADDRESS: number = 16 * 1024 * 1024
/** Headers of a request, all lines together, and how many. */
export const MAX_HTTP_HEAD_BYTES: number = 16 * 1024
export const MAX_HTTP_HEADERS = 64
/** From connecting to a whole head, and from there to a whole body, however slowly they come (threats CO1, CO2, TA4). */
export const HTTP_HEAD_MS = 10_000
export const HTTP_BODY_MS = 15_000
/** An idle connection is kept this long; how often connections past their deadline are looked for. */
export const HTTP_KEEP_ALIVE_MS = 75_000
export const HTTP_CHECK_MS = 1_000
/** Requests of one connection that are being answered at once. */
export const MAX_HTTP_PIPELINED = 16
/** Requests on one connection; a reader that takes nothing of its answer for so long is dropped. */
export const MAX_HTTP_REQUESTS = 100_000
export const HTTP_WRITE_STALL_MS = 15_000
/** How long a refused connection is still read from, so that the client sees the refusal. */
export const HTTP_LINGER_MS = 500
/** How long a request may wait for what becomes of its message; and for an answer to it after that. */
export const HTTP_SETTLE_MS = 15_000
export const HTTP_REPLY_MS = 10
/** The longest wait a request may ask for when it only collects (Prefer: wait). */
export const MAX_HTTP_WAIT_MS = 25_000
/** Links over HTTP at a time, and from one address (an IPv6 /64 counts as one); the one unused for longest makes room for its like. */
export const MAX_HTTP_LINKS = 150
export const MAX_HTTP_LINKS_PER_ADDRESS = 16
/** Such a link ends when no request has come for so long. */
export const HTTP_LINK_IDLE_MS = 120_000
/** Frames of one such link that wait to be read, and bytes of answers that wait to be collected. */
export const MAX_HTTP_INCOMING = 64
export const MAX_HTTP_OUTGOING_BYTES: number = 4 * 1024 * 1024
/** Messages in one answer, in bytes, unless a single one is larger. */
export const MAX_HTTP_REPLY_BYTES: number = 1024 * 1024
/** Bytes of an answer that a client reads. */
export const MAX_HTTP_ANSWER_BYTES: number = 3 * 1024 * 1024
/** Bytes of messages in answers that a client has not read yet: then it collects no more; and twice as much ends the link. */
export const MAX_HTTP_ARRIVED_BYTES: number = 8 * 1024 * 1024
/** A client's request in all, and connecting alone. */
export const HTTP_REQUEST_MS = 40_000
export const HTTP_CONNECT_MS = 10_000
/** Bytes a client has under way, and requests at once. */
export const MAX_HTTP_SENDING_BYTES: number = 1024 * 1024
export const HTTP_PARALLEL = 8
/** Signed requests (GET /peers, GET /stats): how far their date may lie from our clock, and how many nonces are remembered for that long. */
export const SIGNED_REQUEST_WINDOW_MS = 300_000
export const MAX_REQUEST_NONCES = 4096
/** Wrong tokens from one address in a minute. */
export const MAX_WRONG_TOKENS_PER_MINUTE = 10
/** Signatures of strangers that are checked: for one address in a second and at once, and for all together. */
export const STRANGER_CHECKS_PER_SECOND = 50
export const STRANGER_CHECKS_BURST = 100
export const ALL_STRANGER_CHECKS_PER_SECOND = 4_000
/** Addresses whose rates are remembered; the one unseen for longest is forgotten. */
export const MAX_RATED_ADDRESSES = 4096

/** Gossip topics of this node, and of one peer that tells us of its own (threats BL6). */
export const MAX_TOPICS = 200
export const MAX_TOPICS_PER_PEER = 256
/** Bytes of a topic's name. */
export const MAX_TOPIC_BYTES = 256
/** How far the date of a gossip message may lie from ours. */
export const TOPIC_WINDOW_MS: number = 5 * 60_000
/** Ids of gossip messages that are remembered, so that none is seen twice; the oldest is forgotten. */
export const MAX_SEEN_MESSAGES = 65_536
/** Gossip messages of one author in a second, and at once. */
export const TOPIC_MESSAGES_PER_SECOND = 10
export const TOPIC_MESSAGES_BURST = 50
/** Authors and peers whose rate is remembered; the one unseen for longest is forgotten. */
export const MAX_RATED_AUTHORS = 4096
/** Gossip messages that one peer may pass on to us in a second, and at once; the rest is not looked at. */
export const GOSSIP_MESSAGES_PER_SECOND = 200
export const GOSSIP_MESSAGES_BURST = 1000
/** Bytes of one frame of gossip, and of what waits for a peer that reads slowly. */
export const MAX_GOSSIP_FRAME_BYTES: number = 4 * 1024 * 1024
export const MAX_GOSSIP_BUFFER_BYTES: number = 4 * 1024 * 1024
/** Messages, and control messages (offers of ids and the like), in one frame of gossip. */
export const MAX_GOSSIP_MESSAGES = 1024
export const MAX_GOSSIP_CONTROLS = 512
/** Ids that a frame of gossip may offer or ask for. */
export const MAX_GOSSIP_IDS = 5000
/** Penalty points of a peer: from how many on nothing of it is looked at, what that costs on top, the most, how many are forgiven in a second, and what a bad message costs. */
export const GOSSIP_DEAF_POINTS = 80
export const GOSSIP_DEAF_EXTRA = 60
export const MAX_GOSSIP_POINTS = 600
export const GOSSIP_POINTS_PER_SECOND = 1
export const GOSSIP_BAD_MESSAGE_POINTS = 10
/** What the library counts for each topic of a peer beside its name. */
export const TOPIC_OVERHEAD_BYTES = 1024
/** Peers at one address before it is suspect to gossip. This machine itself may hold any number. */
export const GOSSIP_PEERS_PER_ADDRESS = 10

/** Agents that are logged in at this node from one peer, and in all. */
export const MAX_AGENTS_PER_PEER = 64
export const MAX_LOGGED_IN_AGENTS = 4096
/** Attempts of one peer to log agents in, per second and at once. */
export const LOGINS_PER_SECOND = 1
export const LOGINS_BURST = 10
/** Login streams of one peer at a time, and how long a login may take. */
export const MAX_LOGIN_STREAMS = 4
export const LOGIN_TIMEOUT_MS = 10_000

/** Network states of other nodes that are remembered; the oldest is forgotten. */
export const MAX_NETWORK_STATES = 1024

/** What a peer may send: messages of a type in a minute and at once. Spec 001's figures where its origin had some (threats TA3). */
export const TYPE_RATES = {
  handshake: { perMinute: 5, burst: 10 },
  handshake_ack: { perMinute: 5, burst: 10 },
  handshake_confirm: { perMinute: 5, burst: 10 },
  ping: { perMinute: 60, burst: 120 },
  heartbeat: { perMinute: 60, burst: 120 },
  status_report: { perMinute: 60, burst: 120 },
  capability_query: { perMinute: 30, burst: 60 },
  discovery: { perMinute: 10, burst: 20 },
  task_delegate: { perMinute: 30, burst: 60 },
  wake_up: { perMinute: 1, burst: 1 },
  error: { perMinute: 60, burst: 120 },
  group_update: { perMinute: 600, burst: 1200 }
} as const
/** Frames and bytes of one peer in a second, whatever they are; twice as much at once. */
export const PEER_FRAMES_PER_SECOND = 20_000
export const PEER_BYTES_PER_SECOND: number = 128 * 1024 * 1024
/** Frames of whoever has no session yet: in a second, and at once. A handshake has two. */
export const STRANGER_FRAMES_PER_SECOND = 10
export const STRANGER_FRAMES_BURST = 40
/** Peers whose rates are remembered, for each type; the one unseen for longest is forgotten. */
export const MAX_RATED_PEERS = 4096
/** Messages of one peer that may be refused for their number, in a minute and at once; beyond that each costs a little of its score. */
export const FREE_REFUSALS = 600
/** Bad frames after which a peer is banned, whatever they cost (threats §0.3), and how long one is remembered. */
export const BAD_FRAMES_TO_BAN = 20
export const BAD_FRAME_MS = 60_000

/** Peers for whom the user may allow the form of messages before version 1.1: each of their keys is tried. */
export const MAX_LEGACY_PEERS = 16

/** Links that are kept to one peer; links to the networks of one operator (IPv4 /24, IPv6 /48), as a share of all, but some always. */
export const MAX_LINKS_PER_PEER = 3
export const MAX_LINK_SHARE_PER_NETWORK = 0.25
export const MIN_LINKS_PER_NETWORK = 8
/** A link that carried nothing for so long and has no session that is used makes room. */
export const LINK_IDLE_MS = 300_000
export const LINK_IDLE_CHECK_MS = 30_000
/** Peers whose failures to connect are remembered; the one tried longest ago is forgotten. */
export const MAX_CIRCUITS = 1000
/** Messages that go in one frame of a stream, in bytes. */
export const STREAM_FRAME_BYTES: number = 64 * 1024
/** Streams for messages that one peer may have open to us: one, and one that takes its place. */
export const MAX_MESSAGE_STREAMS_PER_PEER = 4

/** An envelope that we carry on (threats RT11): all attempts together, less so much for each peer that carried it before; a direct attempt. */
export const CARRY_MS = 24_000
export const CARRY_HOP_MS = 2_500
export const CARRY_DIRECT_MS = 5_000
/** Neighbours to which an envelope is offered when nobody better is known. */
export const MAX_CARRY_NEIGHBOURS = 3
/** Envelopes under way at a time, and those whose fate is remembered; the oldest is forgotten. */
export const MAX_CARRIED_AT_ONCE = 64
export const MAX_SEEN_ENVELOPES = 8192
/** Bytes of envelopes that one peer may hand us in a second, and at once; and peers for which that is counted. */
export const CARRY_BYTES_PER_SECOND: number = 2 * 1024 * 1024
export const CARRY_BYTES_BURST: number = 16 * 1024 * 1024
export const MAX_CARRY_PEERS = 1024
/** A mailbox: envelopes of one owner (threats RT8), and bytes of all owners together. */
export const MAX_MAILBOX_ENVELOPES = 10_000
export const MAX_MAILBOX_BYTES: number = 64 * 1024 * 1024
export const MAX_MAILBOX_TOTAL_BYTES: number = 1024 * 1024 * 1024
/** How much of an owner's room, in envelopes and bytes, those may take whom neither it nor we know: one peer, one network, and all together. */
export const MAILBOX_SHARE_PER_STRANGER = 0.125
export const MAILBOX_SHARE_PER_NETWORK = 0.25
export const MAILBOX_SHARE_OF_STRANGERS = 0.5
/** How often old ones are removed. */
export const MAILBOX_PRUNE_MS: number = 10 * 60_000
/** Bytes of envelopes in one answer to an owner that collects. */
export const COLLECT_BYTES: number = 2 * 1024 * 1024
/** A whole such answer: the bytes, one envelope of the largest size, and what names them; and how long it may take. */
export const COLLECT_ANSWER_BYTES: number = 3 * 1024 * 1024 + 64 * 1024
export const COLLECT_TIMEOUT_MS = 60_000

/** Groups: those that this node is in, members of one, and groups to which one peer may have brought us. */
export const MAX_GROUPS = 256
export const MAX_GROUP_MEMBERS = 256
export const MAX_GROUPS_PER_PEER = 32
/** Operations of one group that wait for others which they follow, and messages that wait for operations or a key; for so long. */
export const MAX_WAITING_OPS = 256
export const MAX_HELD_POSTS = 256
export const MAX_HELD_POSTS_PER_MEMBER = 64
export const MAX_HELD_POSTS_OF_OTHERS = 128
export const HELD_POST_MS: number = 24 * 60 * 60_000
/** Keys of one group that are kept; the oldest are forgotten. */
export const MAX_GROUP_EPOCHS = 64
/** Operations in one update of somebody who is not known as a member (yet). */
export const MAX_STRANGER_OPS = 128
/** Removals of somebody who did something meanwhile: each costs another look at all operations, and honest groups have few. */
export const MAX_CONTESTED_REMOVALS = 16
/** Operations that are folded for what one peer sends, in a second and at once, and for all peers. Who gets none asks again with the next message. */
export const FOLDED_OPS_PER_SECOND = 256
export const FOLDED_OPS_BURST = 8192
export const ALL_FOLDED_OPS_PER_SECOND: number = 2 * FOLDED_OPS_PER_SECOND
/** Keys of a group in one answer. */
export const EPOCHS_TOLD = 8
/** Messages of one group that are kept. */
export const MAX_GROUP_POSTS = 10_000
/** Questions and answers about operations that one member lacks: in a minute, and at once. */
export const GROUP_SYNCS_PER_MINUTE = 20
export const GROUP_SYNCS_BURST = 20
/** Wait before messages that the messenger could not take are given to it again. */
export const GROUP_RETRY_MS = 30_000
/** How often it is looked whether the prekey is a week old. */
export const PREKEY_CHECK_MS: number = 60 * 60_000
