/** Peers in peers.db: schema and rows. */
import type { Row } from '../store/sqlite.node.ts'
import { aliasKey } from './checks.ts'
import { USER_BAN } from './scores.ts'
import type { PeerRecord } from './types.ts'

export const MIGRATIONS = [
  `CREATE TABLE peers (
     entity_id TEXT PRIMARY KEY, name TEXT, name_key TEXT UNIQUE, person_id TEXT, peer_ids TEXT NOT NULL, addresses TEXT NOT NULL,
     first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, verified INTEGER NOT NULL, allows_legacy INTEGER NOT NULL,
     allows_relay INTEGER NOT NULL, is_mailbox INTEGER NOT NULL, capabilities TEXT NOT NULL, status TEXT
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX peers_by_last_seen ON peers (last_seen);
   CREATE TABLE peer_ids (peer_id TEXT PRIMARY KEY, entity_id TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE INDEX peer_ids_by_entity ON peer_ids (entity_id);
   CREATE TABLE grants (
     who TEXT NOT NULL, what TEXT NOT NULL, limits TEXT NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (who, what)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE scores (entity_id TEXT PRIMARY KEY, score REAL NOT NULL, at INTEGER NOT NULL, code TEXT NOT NULL) STRICT, WITHOUT ROWID`
] as const

/** Peers that only we ever noticed, nobody chose or banned. */
export const UNMARKED: string = `name IS NULL AND verified = 0 AND allows_legacy = 0 AND allows_relay = 0 AND is_mailbox = 0
  AND NOT EXISTS (SELECT 1 FROM grants WHERE who = entity_id)
  AND NOT EXISTS (SELECT 1 FROM scores WHERE scores.entity_id = peers.entity_id AND scores.code = '${USER_BAN}')`

export const PUT_PEER = 'REPLACE INTO peers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'

export const peerToRow = (p: PeerRecord): (string | number | null)[] => [
  p.entityId,
  p.name ?? null,
  p.name === undefined ? null : aliasKey(p.name),
  p.personId ?? null,
  JSON.stringify(p.peerIds),
  JSON.stringify(p.addresses),
  p.firstSeen,
  p.lastSeen,
  Number(p.verified),
  Number(p.allowsLegacy),
  Number(p.allowsRelay),
  Number(p.isMailbox),
  JSON.stringify(p.capabilities),
  p.status ? JSON.stringify(p.status) : null
]

const text = (v: unknown): string | undefined => (typeof v === 'string' ? v : undefined)
const list = (v: unknown): string[] => JSON.parse(v as string) as string[]

export const rowToPeer = (r: Row): PeerRecord => ({
  entityId: r.entity_id as string,
  name: text(r.name),
  personId: text(r.person_id),
  peerIds: list(r.peer_ids),
  addresses: list(r.addresses),
  firstSeen: Number(r.first_seen),
  lastSeen: Number(r.last_seen),
  verified: r.verified === 1,
  allowsLegacy: r.allows_legacy === 1,
  allowsRelay: r.allows_relay === 1,
  isMailbox: r.is_mailbox === 1,
  capabilities: list(r.capabilities),
  status: typeof r.status === 'string' ? (JSON.parse(r.status) as Record<string, unknown>) : undefined
})
