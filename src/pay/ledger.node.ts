/**
 * The ledger: pay.db. Money that was promised, sent or received is here before anybody else hears of it (DESIGN §2.7). This file
 * is the schema; payer-book, payee-book and credit-book are its three users.
 */
import { join } from 'node:path'
import { openSqlite, type Sqlite } from '../store/sqlite.node.ts'

const V1 = `
-- payer: one bill per download of a file
CREATE TABLE bills (id INTEGER PRIMARY KEY, file_id BLOB NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0, time INTEGER NOT NULL);
CREATE INDEX bills_by_file ON bills (file_id);
-- what a seeder asked for and we agreed to; an amount due is computed from this, never from what a seeder asks later
CREATE TABLE terms (id INTEGER PRIMARY KEY, bill INTEGER NOT NULL REFERENCES bills, seeder TEXT NOT NULL, offer_hash BLOB NOT NULL,
  price TEXT NOT NULL, wallet BLOB NOT NULL, chain_id INTEGER NOT NULL, peer_id TEXT NOT NULL, addresses TEXT NOT NULL,
  UNIQUE (bill, seeder, price, wallet, chain_id));
-- the primary key makes a chunk count once
CREATE TABLE deliveries (bill INTEGER NOT NULL, chunk INTEGER NOT NULL, terms INTEGER NOT NULL, protocol TEXT NOT NULL, receipt BLOB,
  PRIMARY KEY (bill, chunk)) WITHOUT ROWID;
CREATE INDEX open_deliveries ON deliveries (bill, terms) WHERE receipt IS NULL;
-- receipts of both roles; body and signature as they were signed
CREATE TABLE receipts (id BLOB PRIMARY KEY, role TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, file_id BLOB NOT NULL, bill INTEGER, terms INTEGER,
  invoice BLOB, body BLOB NOT NULL, signer BLOB NOT NULL, signature BLOB NOT NULL, countersignature BLOB, seeder TEXT NOT NULL,
  payer TEXT NOT NULL, bytes INTEGER NOT NULL, amount TEXT NOT NULL, state TEXT NOT NULL, tx TEXT, time INTEGER NOT NULL);
CREATE INDEX receipts_by_invoice ON receipts (invoice);
CREATE INDEX receipts_by_payer ON receipts (role, payer, file_id);
-- state: open (no transaction yet), signed, confirmed, held (a person must decide)
CREATE TABLE invoices (id BLOB PRIMARY KEY, bill INTEGER NOT NULL, chain_id INTEGER NOT NULL, salt BLOB NOT NULL, total TEXT NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, reason TEXT, tx TEXT, gas_used TEXT, final INTEGER NOT NULL DEFAULT 0,
  time INTEGER NOT NULL);
CREATE INDEX invoices_open ON invoices (state, final);
CREATE TABLE payees (invoice BLOB NOT NULL REFERENCES invoices ON DELETE CASCADE, seeder TEXT NOT NULL, wallet BLOB NOT NULL,
  amount TEXT NOT NULL, bytes INTEGER NOT NULL, peer_id TEXT NOT NULL, addresses TEXT NOT NULL, told TEXT,
  PRIMARY KEY (invoice, seeder));
-- raw is what may be sent for this nonce, and nothing else ever is. A nonce is used once, an invoice has one live transaction.
CREATE TABLE transactions (hash TEXT PRIMARY KEY, invoice BLOB, wallet BLOB NOT NULL, chain_id INTEGER NOT NULL, nonce INTEGER NOT NULL,
  raw BLOB NOT NULL, kind TEXT NOT NULL, cost TEXT NOT NULL, state TEXT NOT NULL, time INTEGER NOT NULL,
  UNIQUE (wallet, chain_id, nonce));
CREATE UNIQUE INDEX one_live_transaction ON transactions (invoice) WHERE state != 'dead' AND invoice IS NOT NULL;
-- payee: what reached us. The key makes a payment count once.
CREATE TABLE incoming (tx TEXT NOT NULL, log_index INTEGER NOT NULL, invoice BLOB NOT NULL, payer TEXT NOT NULL, wallet BLOB NOT NULL,
  amount TEXT NOT NULL, bytes INTEGER NOT NULL, block_hash TEXT NOT NULL, state TEXT NOT NULL, account TEXT NOT NULL,
  restored INTEGER NOT NULL, grown INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (tx, log_index));
CREATE INDEX incoming_open ON incoming (state);
-- payee: what was served against credit. Amounts are reserved in steps before the bytes leave.
CREATE TABLE charges (instance TEXT NOT NULL, file_id BLOB NOT NULL, account TEXT NOT NULL, price TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (instance, file_id));
CREATE TABLE accounts (key TEXT PRIMARY KEY, used INTEGER NOT NULL, earned INTEGER NOT NULL, address TEXT NOT NULL);
CREATE TABLE addresses (address TEXT PRIMARY KEY, used INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE strangers (day INTEGER PRIMARY KEY, used INTEGER NOT NULL);
`

/** Opens pay.db in a folder. @throws STORE_CORRUPT, STORE_NEWER, STORE_READ_ONLY, DISK_FULL */
export function openLedger(folder: string): Sqlite {
  const db = openSqlite(join(folder, 'pay.db'), { migrations: [V1] })
  // The log grows to 16 MiB before it is written back: each time the process waits for the disk, which a download keeps busy.
  db.get('PRAGMA wal_autocheckpoint=4000')
  return db
}
