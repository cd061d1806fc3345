-- tasks.db as Kith wrote it before what is in it was encrypted (schema 1)
CREATE TABLE tasks (key INTEGER PRIMARY KEY AUTOINCREMENT, role TEXT NOT NULL, id TEXT NOT NULL, peer TEXT NOT NULL, skill TEXT NOT NULL,
     idem TEXT NOT NULL, hash TEXT NOT NULL, description TEXT NOT NULL, request TEXT NOT NULL, priority TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL,
     progress REAL NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL, deadline INTEGER NOT NULL,
     due INTEGER NOT NULL, finished INTEGER, outcome TEXT, attempts INTEGER NOT NULL, candidates TEXT NOT NULL, attempt_ms INTEGER,
     offer TEXT);
CREATE UNIQUE INDEX given_ids ON tasks (id) WHERE role = 'given';
CREATE UNIQUE INDEX given_keys ON tasks (idem) WHERE role = 'given';
CREATE UNIQUE INDEX received_ids ON tasks (peer, id) WHERE role = 'received';
CREATE UNIQUE INDEX received_keys ON tasks (peer, idem) WHERE role = 'received';
CREATE INDEX tasks_by_id ON tasks (id);
CREATE INDEX tasks_due ON tasks (due) WHERE finished IS NULL;
CREATE INDEX tasks_finished ON tasks (finished) WHERE finished IS NOT NULL;
CREATE TABLE offers (message TEXT PRIMARY KEY, task INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE, peer TEXT NOT NULL,
     state TEXT NOT NULL);
CREATE INDEX offers_by_task ON offers (task);
CREATE TABLE owed (message TEXT PRIMARY KEY, recipient TEXT NOT NULL, type TEXT NOT NULL,
     task INTEGER REFERENCES tasks ON DELETE CASCADE, body TEXT NOT NULL, until INTEGER NOT NULL);
CREATE INDEX owed_by_task ON owed (task);
CREATE TABLE skills (name TEXT PRIMARY KEY);
CREATE TABLE tombstones (n INTEGER PRIMARY KEY, giver TEXT NOT NULL, offer TEXT NOT NULL, time INTEGER NOT NULL);
CREATE UNIQUE INDEX tombstones_by_offer ON tombstones (giver, offer);
INSERT INTO tasks VALUES (1, 'given', '2f1c0a2e-6b0e-4b52-9a57-1d3c8f3c7a10', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', 'summarise', 'key', 'abababababababababababababababababababababababababababababababab', 'secret description', '{"input":"secret input"}', 'normal', '["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"]', 'COMPLETED', 0, 'secret note', 1000, 9000, 5000, 2000, '{"output":"secret output"}', 0, '["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"]', NULL, NULL);
INSERT INTO tasks VALUES (2, 'received', '3f1c0a2e-6b0e-4b52-9a57-1d3c8f3c7a10', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', 'summarise', 'key2', 'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 'another secret', '{"input":null}', 'high', '["did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"]', 'IN_PROGRESS', 0, '', 1000, 9000, 5000, NULL, NULL, 1, '[]', NULL, 'm1');
INSERT INTO offers VALUES ('m0', 1, 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', 'open');
INSERT INTO owed VALUES ('m2', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', 'task_cancel', NULL, '{"secret":"body"}', 9000);
INSERT INTO owed VALUES ('m3', 'did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd', 'task_result', 2, '', 9000);
PRAGMA user_version=1;
