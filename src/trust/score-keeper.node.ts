/**
 * Scores that survive a restart: those of identities, and of PeerIds, are written behind, within FLUSH_MS; those of addresses stay in memory,
 * since what nobody signed must not change what is on disk. After a restart time has gone on by the wall clock.
 */
import type { Clock } from '../base/clock.ts'
import { Emitter } from '../base/events.ts'
import type { Sqlite } from '../store/sqlite.node.ts'
import { BAN_HOLD_MS, MAX_SCORES } from './limits.ts'
import { PENALTIES, type Penalty, Scores, type ScoreView, USER_BAN } from './scores.ts'
import type { ScoreKeeper, Subject } from './types.ts'

interface ScoreRow {
  readonly entity_id: string
  readonly score: number
  readonly at: number
  readonly code: string
}

export class StoredScores implements ScoreKeeper {
  readonly #db: Sqlite
  readonly #clock: Pick<Clock, 'now' | 'monotonic'>
  readonly #identities: Scores
  readonly #addresses: Scores
  /** Apart, so that PeerIds, which cost nothing, push out no identity. */
  readonly #peers: Scores
  readonly #dirty = new Set<string>()
  readonly #events = new Emitter<{ banned: { readonly who: Subject } }>()

  /** @param due is called when there is something to write */
  constructor(db: Sqlite, clock: Pick<Clock, 'now' | 'monotonic'>, due: () => void) {
    this.#db = db
    this.#clock = clock
    this.#addresses = new Scores({ clock })
    const changed = (key: string): void => {
      this.#dirty.add(key)
      due()
    }
    this.#identities = new Scores({ clock }, changed)
    this.#peers = new Scores({ clock }, changed)
    for (const row of db.all<ScoreRow>('SELECT * FROM scores ORDER BY abs(score) DESC LIMIT ?', 2 * MAX_SCORES)) this.#restore(row)
    this.#dirty.clear()
  }

  penalise(who: Subject, penalty: Penalty, code: string): ScoreView {
    const was = this.isBanned(who)
    const view = this.#of(who).add(keyOf(who), PENALTIES[penalty], code)
    if (!was && view.standing === 'banned') this.#events.emit('banned', { who })
    return view
  }
  reward(who: Subject, points: number): ScoreView {
    return this.#of(who).add(keyOf(who), Math.max(0, points), '')
  }
  view(who: Subject): ScoreView {
    return this.#of(who).view(keyOf(who))
  }
  isBanned(who: Subject): boolean {
    return this.view(who).standing === 'banned'
  }
  ban(entityId: string): void {
    this.#identities.ban(entityId)
    this.#events.emit('banned', { who: { entityId } })
  }
  onBanned(listener: (who: Subject) => void, signal?: AbortSignal): void {
    this.#events.on('banned', ({ who }) => listener(who), signal)
  }
  pardon(entityId: string): void {
    this.#identities.remove(entityId)
  }
  list(): { entityId: string; score: number; bannedUntil: number | undefined; code: string }[] {
    const all = this.#identities.keys().flatMap(entityId => {
      const { score, bannedForMs } = this.#identities.view(entityId)
      const bannedUntil = bannedForMs > 0 ? Math.round(this.#clock.now() + bannedForMs) : undefined
      return score === 0 ? [] : [{ entityId, score, bannedUntil, code: this.#identities.entry(entityId)?.code ?? '' }]
    })
    return all.sort((a, b) => a.score - b.score)
  }

  get isDirty(): boolean {
    return this.#dirty.size > 0
  }
  /** Writes what has changed; called inside a transaction. */
  write(): void {
    const shift = this.#clock.now() - this.#clock.monotonic()
    for (const key of this.#dirty) {
      const entry = this.#named(key).entry(key)
      if (!entry) this.#db.run('DELETE FROM scores WHERE entity_id = ?', key)
      else this.#db.run('REPLACE INTO scores VALUES (?, ?, ?, ?)', key, entry.score, Math.round(entry.at + shift), entry.code)
    }
  }
  /** After the transaction: it is on disk. */
  written(): void {
    this.#dirty.clear()
  }

  #of(who: Subject): Scores {
    if ('entityId' in who) return this.#identities
    return who.addressKey.startsWith(PEER) ? this.#peers : this.#addresses
  }
  /** By the key of a row. */
  #named(key: string): Scores {
    return key.startsWith(PEER) ? this.#peers : this.#identities
  }
  #restore(row: ScoreRow): void {
    if (row.code === USER_BAN) {
      this.#identities.ban(row.entity_id)
      return
    }
    // A wall clock that went back must not make a ban longer than it was.
    const ahead = Math.min(row.at - this.#clock.now(), BAN_HOLD_MS)
    this.#named(row.entity_id).set(row.entity_id, { score: row.score, at: this.#clock.monotonic() + ahead, code: row.code })
  }
}

/** What the keys of PeerIds begin with. */
const PEER = 'peer '

const keyOf = (who: Subject): string => ('entityId' in who ? who.entityId : who.addressKey)
