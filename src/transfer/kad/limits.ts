/** Every number that a node of eDonkey's Kad could otherwise choose. Listed in docs/limits.md. */

/** Longest datagram that is looked at, what a packed one may inflate to, and the longest that is sent. */
export const MAX_DATAGRAM_BYTES = 8_192
export const MAX_INFLATED_BYTES: number = 16 * 1024
export const MAX_SENT_BYTES = 1_400
/** Nodes in one answer: aMule gives eleven at most, twenty to who begins. */
export const MAX_CONTACTS_PER_ANSWER = 31
export const MAX_FIRST_CONTACTS = 20
/** Datagrams of one address that are read a second, and at once; the same for everybody together. Answers that were asked for are not counted. */
export const DATAGRAMS_PER_SECOND = 5
export const DATAGRAMS_BURST = 50
export const ALL_DATAGRAMS_PER_SECOND = 500
export const ALL_DATAGRAMS_BURST = 1_000
/** Questions of each kind that one address may ask in a minute: aMule's numbers. Beyond it they are ignored (threats ED6). */
export const FIRST_PER_MINUTE = 2
export const HELLOS_PER_MINUTE = 3
export const FINDS_PER_MINUTE = 10
export const SEARCHES_PER_MINUTE = 3
export const PUBLICATIONS_PER_MINUTE = 3
export const CHECKS_PER_MINUTE = 2
export const PINGS_PER_MINUTE = 2
/** Questions a minute that walks towards a file ask of one node, when looking and when publishing: together less than it answers. */
export const SEARCH_FINDS_PER_MINUTE = 6
export const PUBLISH_FINDS_PER_MINUTE = 3
/** Nodes whose rates are remembered, theirs and ours towards them; the least recently used go first. */
export const MAX_PACED = 2_000

/** Nodes of one bucket of the routing table, and those that are asked to keep something. */
export const BUCKET_NODES = 10
/** Nodes of one bucket whose public addresses are alike in their first 24 bits. */
export const MAX_SAME_NETWORK = 2
/** Times that a node may fail to answer before it is dropped. */
export const MAX_FAILURES = 2
/** A node that was silent for so long is asked whether it is there. */
export const QUESTIONABLE_MS: number = 30 * 60_000
/** How often the table is looked over, and nodes asked then. */
export const CARE_MS = 60_000
export const MAX_CARE_HELLOS = 8
/** Nodes that are said hello to at once, because they came or were named. */
export const MAX_PENDING_HELLOS = 32

/** Time for one answer. Results of a search come in several datagrams, within the same time. */
export const ANSWER_MS = 2_500
/** Our questions that wait for an answer, all together. */
export const MAX_QUESTIONS = 512
/** Questions of one walk at once, and in all. */
export const WALK_PARALLEL = 3
export const MAX_WALK_QUESTIONS = 64
/** Candidates that a walk remembers: the closest stay. */
export const MAX_WALK_CANDIDATES = 100
/** Walks at once that look for a file, and that publish; further ones wait. */
export const MAX_SEARCHES = 16
export const MAX_PUBLISHERS = 4
/** Sources that are taken of one node in one search, and of one search in all (threats ED6). */
export const MAX_RESULTS_PER_NODE = 300
export const MAX_RESULTS = 1_000
/** A node keeps and finds only what has its first 8 bits in common with it, except in the user's own network (aMule's tolerance). */
export const TOLERANCE_BITS = 8

/** Sources kept for others in all, of one file, and of one address; the oldest of a file makes room, else new ones are left out (threats ED6). */
export const MAX_STORED_SOURCES = 20_000
export const MAX_STORED_PER_FILE = 1_000
export const MAX_STORED_PER_ADDRESS = 1_000
/** How long a source is kept, and after how long ours are published again. */
export const STORED_MS: number = 5 * 60 * 60_000
export const REPUBLISH_MS: number = 5 * 60 * 60_000
/** Tags of a publication that are kept, and the longest text in one. */
export const MAX_KEPT_TAGS = 8
export const MAX_TAG_TEXT = 64
/** Sources in the answer to a search; who has not proved its address gets one datagram until it has. */
export const MAX_ANSWERED_SOURCES = 300
/** Answers held back until their address has answered a ping. */
export const MAX_HELD_ANSWERS = 64

/** A publication that nobody kept is tried again after so long; the pause doubles. */
export const PUBLISH_RETRY_MS = 5_000
export const MAX_PUBLISH_RETRY_MS: number = 15 * 60_000
/** A search that goes on looks again after so long, doubled each time, and when nodes come while there are few. */
export const SEARCH_MS = 10_000
export const MAX_SEARCH_MS: number = 10 * 60_000
/** A node that has just come is given so long to settle before searches and publications turn to it. */
export const SETTLE_MS = 100
/** Hosts asked for the first nodes, and the pause before they are asked again while the table is empty; it doubles. */
export const MAX_BOOTSTRAP = 100
export const BOOTSTRAP_RETRY_MS = 5_000
export const MAX_BOOTSTRAP_RETRY_MS: number = 5 * 60_000
/** Nodes that are asked whether our TCP port can be reached, and how often. */
export const CHECKERS = 4
export const CHECK_MS: number = 60 * 60_000
/** Clients that we connect to at once to tell them that they can be reached. */
export const MAX_PROBES = 8
/** Nodes that are handed over at the end, for the next start. */
export const MAX_SAVED_NODES = 100
/** Nodes in a nodes.dat. */
export const MAX_NODES_IN_FILE = 10_000
