/** Who may do what with us: rows that are durable before the call returns. */
import { KithError } from '../base/errors.ts'
import type { Sqlite } from '../store/sqlite.node.ts'
import { checkEntity, checkGrant } from './checks.ts'
import { MAX_GRANTS } from './limits.ts'
import type { Grant } from './types.ts'

interface GrantRow {
  readonly who: string
  readonly what: string
  readonly limits: string
  readonly created_at: number
}

const toGrant = (r: GrantRow): Grant => ({
  to: r.who,
  what: r.what,
  limits: JSON.parse(r.limits) as Record<string, number>,
  createdAt: r.created_at
})

export class GrantBook {
  readonly #db: Sqlite
  readonly #now: () => number

  constructor(db: Sqlite, now: () => number) {
    this.#db = db
    this.#now = now
  }

  put(to: string, what: string, limits: Readonly<Record<string, number>>): Grant {
    if (to !== '*') checkEntity(to)
    checkGrant(what, limits)
    return this.#db.transaction(() => {
      const had = this.#find(to, what)
      const count = this.#db.get<{ n: number }>('SELECT count(*) AS n FROM grants')!.n
      if (!had && count >= MAX_GRANTS) throw new KithError('TOO_MANY_GRANTS', `there are ${count} grants already`)
      const createdAt = had?.createdAt ?? this.#now()
      this.#db.run('REPLACE INTO grants VALUES (?, ?, ?, ?)', to, what, JSON.stringify(limits), createdAt)
      return { to, what, limits: { ...limits }, createdAt }
    })
  }

  remove(to: string, what: string): boolean {
    return this.#db.run('DELETE FROM grants WHERE who = ? AND what = ?', to, what).changes > 0
  }

  list(to?: string): Grant[] {
    const sql = 'SELECT * FROM grants WHERE ? IS NULL OR who = ? ORDER BY created_at, who, what'
    return this.#db.all<GrantRow>(sql, to ?? null, to ?? null).map(toGrant)
  }

  /** The first of these that holds `what`, or its `task:*`. */
  first(whos: readonly string[], what: string): Grant | undefined {
    for (const who of whos) {
      const grant = this.#find(who, what) ?? (what.startsWith('task:') ? this.#find(who, 'task:*') : undefined)
      if (grant) return grant
    }
    return undefined
  }

  #find(to: string, what: string): Grant | undefined {
    const row = this.#db.get<GrantRow>('SELECT * FROM grants WHERE who = ? AND what = ?', to, what)
    return row && toGrant(row)
  }
}
