-- groups.db as Kith wrote it before what is in it was encrypted (schema 1)
CREATE TABLE ops (seq INTEGER PRIMARY KEY, group_id TEXT NOT NULL, hash TEXT NOT NULL, bytes BLOB NOT NULL, UNIQUE (group_id, hash));
CREATE TABLE epochs (seq INTEGER PRIMARY KEY, group_id TEXT NOT NULL, id TEXT NOT NULL, key BLOB NOT NULL, heads TEXT NOT NULL, UNIQUE (group_id, id));
CREATE TABLE posts (
  seq INTEGER PRIMARY KEY,
  group_id TEXT NOT NULL,
  id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body TEXT NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL,
  UNIQUE (group_id, id, sender)
);
CREATE TABLE deliveries (
  out_id TEXT PRIMARY KEY,
  group_id TEXT NOT NULL,
  post_id TEXT NOT NULL,
  recipient TEXT NOT NULL,
  state TEXT NOT NULL,
  code TEXT,
  changed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_post ON deliveries (group_id, post_id);
CREATE INDEX deliveries_open ON deliveries (state) WHERE state NOT IN ('delivered', 'failed');
CREATE TABLE held (
  seq INTEGER PRIMARY KEY,
  group_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  body TEXT NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL
);
CREATE INDEX held_group ON held (group_id, sender);
CREATE TABLE outgoing (seq INTEGER PRIMARY KEY, out_id TEXT NOT NULL UNIQUE, recipient TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL);
INSERT INTO ops VALUES (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', x'736563726574206e616d65206f6620612067726f7570');
INSERT INTO epochs VALUES (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'e1', x'7365637265742067726f7570206b65792c203332206279746573206c6f6e672e', 'h1 h2');
INSERT INTO posts VALUES (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'p1', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', '{"text":"secret post"}', 1, 2);
INSERT INTO held VALUES (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', '{"text":"secret held"}', 1, 2);
INSERT INTO outgoing VALUES (1, 'o1', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', 'group_message', '{"text":"secret copy"}');
PRAGMA user_version=1;
