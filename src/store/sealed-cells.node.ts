/**
 * What a database says about people, encrypted at rest with a key of this home: cells of nonce (12) ‖ AES-256-GCM ciphertext, each bound to
 * its place, so that a copy of the file alone tells who and when, and not what. `sealDatabase` brings one from before that form into it.
 */
import { randomFillSync } from 'node:crypto'
import { openAead } from '#crypto'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { hasCode, KithError } from '../base/errors.ts'
import type { Sqlite } from './sqlite.node.ts'

const NONCE_BYTES = 12

/** The migration that a database needs before `sealDatabase`. */
export const SEALED_SCHEMA = 'CREATE TABLE sealed (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID'

export class SealedCells {
  readonly #aead: ReturnType<typeof openAead>
  readonly #path: string
  /** Random nonces, made many at a time. */
  readonly #pool = new Uint8Array(NONCE_BYTES * 64)
  #at = this.#pool.length

  /** @param key 32 bytes of this home, for one database alone @param path of the database, for errors */
  constructor(key: Uint8Array, path: string) {
    this.#aead = openAead(key)
    this.#path = path
  }

  /** @param place of the cell, for which nothing else is ever sealed but its other values */
  seal(plain: Uint8Array | string, place: string): Uint8Array {
    if (this.#at === this.#pool.length) {
      randomFillSync(this.#pool)
      this.#at = 0
    }
    const nonce = this.#pool.slice(this.#at, (this.#at += NONCE_BYTES))
    return concatBytes(nonce, this.#aead.seal(nonce, typeof plain === 'string' ? utf8(plain) : plain, utf8(place)))
  }
  /** @throws STORE_CORRUPT */
  open(cell: unknown, place: string): Uint8Array {
    const plain =
      cell instanceof Uint8Array ? this.#aead.open(cell.subarray(0, NONCE_BYTES), cell.subarray(NONCE_BYTES), utf8(place)) : undefined
    if (plain) return plain
    const hint = 'restore the identity it belongs to, or move the file away'
    throw new KithError('STORE_CORRUPT', `${this.#path} was written with another key, or changed`, { path: this.#path }, { hint })
  }
  /** @throws STORE_CORRUPT */
  text(cell: unknown, place: string): string {
    return fromUtf8(this.open(cell, place))
  }
}

/**
 * Checks that the key is that of the database, or seals what is in it, all or nothing; then its free pages and its log are made anew, so that
 * nothing that was deleted or replaced can be read in them.
 * @param sealRows seals what is there, and says how many rows that were
 * @throws STORE_CORRUPT (another key), DISK_FULL, STORE_READ_ONLY
 */
export function sealDatabase(db: Sqlite, cells: SealedCells, sealRows: () => number): void {
  const stored = db.get<{ value: Uint8Array }>("SELECT value FROM sealed WHERE key = 'check'")
  if (stored) cells.open(stored.value, 'check')
  else
    db.transaction(() => {
      const isClean = sealRows() === 0
      db.run("INSERT INTO sealed (key, value) VALUES ('check', ?)", cells.seal('', 'check'))
      if (!isClean) db.run("INSERT INTO sealed (key, value) VALUES ('unclean', x'')")
    })
  if (!db.get("SELECT 1 FROM sealed WHERE key = 'unclean'")) return
  try {
    db.run('VACUUM')
    db.get('PRAGMA wal_checkpoint(TRUNCATE)')
    db.run("DELETE FROM sealed WHERE key = 'unclean'")
  } catch (error) {
    // It needs room for a copy; the next start tries again.
    if (!hasCode(error, 'DISK_FULL')) throw error
  }
}
