/**
 * What customers may take before they pay (DESIGN §7), and what they took.
 *
 * An account is a (PeerId, wallet). What it has earned by paying is its own; beyond that it draws on what its address is allowed and
 * on what all strangers of a day are allowed together, so new identities at one address gain nothing. Draws are reserved durably in
 * steps before bytes are served: a crash forgets no served byte and costs a customer at most one step.
 */
import { bytesToHex } from '../base/bytes.ts'
import type { Sqlite } from '../store/sqlite.node.ts'
import {
  ADDRESS_MEMORY_MS,
  CREDIT_BYTES,
  CREDIT_STEP_BYTES,
  DAILY_STRANGER_CREDIT_BYTES,
  MAX_CREDIT_BYTES,
  MAX_CREDIT_STEP_BYTES,
  MAX_LIVE_ACCOUNTS
} from './limits.ts'
import type { Customer } from './types.ts'

export interface CreditLimits {
  /** Per stranger and per address. */
  readonly creditBytes: number
  /** All strangers of a day. */
  readonly dailyStrangerBytes: number
  /** What an account may grow to. */
  readonly maxCreditBytes: number
}
export const creditDefaults: CreditLimits = {
  creditBytes: CREDIT_BYTES,
  dailyStrangerBytes: DAILY_STRANGER_CREDIT_BYTES,
  maxCreditBytes: MAX_CREDIT_BYTES
}

/** `used` is exact; `reserved` ≥ `used` is what the database says. */
interface Account {
  readonly key: string
  used: number
  reserved: number
  earned: number
  address: string
}
interface Charge {
  used: number
  reserved: number
  price: bigint
}
type Who = Pick<Customer, 'peerId' | 'wallet' | 'address'>

/** One payment reaches this little further than its receipts, because raced and broken-off chunks are served but never owed. */
const FORGIVEN = 16
/** Who may take more waits for the disk less often: a crash costs a customer at most this part of its credit (or the smallest step). */
const STEPS = 64
const stepOf = (allowance: number): number => Math.min(MAX_CREDIT_STEP_BYTES, Math.max(CREDIT_STEP_BYTES, Math.floor(allowance / STEPS)))
const DAY_MS = 24 * 60 * 60 * 1000

export const accountKey = (who: Pick<Customer, 'peerId' | 'wallet'>): string => `${who.peerId}|${bytesToHex(who.wallet)}`

/** Addresses that one household or host has by the million count as one: an IPv6 address as its /64. */
export function addressGroup(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped) return mapped[1]!
  const [head = '', tail] = address.toLowerCase().split('%')[0]!.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail ? tail.split(':') : []
  const full = tail === undefined ? left : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  return (
    full
      .slice(0, 4)
      .map(g => g.replace(/^0+(?=.)/, ''))
      .join(':') + '::/64'
  )
}

export class CreditBook implements Disposable {
  readonly #db: Sqlite
  readonly #now: () => number
  readonly #limits: CreditLimits
  readonly #accounts = new Map<string, Account>()
  readonly #charges = new Map<string, Charge>()

  constructor(db: Sqlite, now: () => number, limits: CreditLimits) {
    this.#db = db
    this.#now = now
    this.#limits = limits
  }

  /** Bytes this customer may still take. */
  left(who: Who, creditBytes: number = this.#limits.creditBytes): number {
    const address = addressGroup(who.address)
    return this.#leftOf(this.#look(accountKey(who), address), address, creditBytes)
  }
  /** The same by account, at the address it last came from. */
  leftOf(key: string): number {
    const a = this.#look(key, '')
    return this.#leftOf(a, a.address, this.#limits.creditBytes)
  }
  #leftOf(a: Account, address: string, creditBytes: number): number {
    const own = Math.max(0, a.earned - a.used)
    const unusedDraw = drawn(a.reserved, a.earned) - drawn(a.used, a.earned)
    const fromPools = Math.min(creditBytes - drawn(a.used, a.earned), this.#poolLeft(address, creditBytes) + unusedDraw)
    return own + Math.max(0, fromPools)
  }

  /** Takes credit for bytes about to be served; durable when it returns true. */
  take(who: Customer, fileId: Uint8Array, price: bigint, bytes: number, creditBytes: number = this.#limits.creditBytes): boolean {
    const address = addressGroup(who.address)
    const a = this.#look(accountKey(who), address)
    const c = this.#charge(who.instance, fileId, price)
    if (a.used + bytes > a.reserved || c.used + bytes > c.reserved || price < c.price) {
      if (!this.#reserve(who, a, c, fileId, price, bytes, address, creditBytes)) return false
    }
    a.used += bytes
    c.used += bytes
    this.#keep(a)
    this.#keepCharge(who.instance, fileId, c)
    return true
  }

  /** What was served to this instance of a file, rounded up to a step, and the lowest price it was told. */
  served(instance: string, fileId: Uint8Array): { readonly account: string; readonly bytes: number; readonly price: bigint } | undefined {
    const sql = 'SELECT account, bytes, price FROM charges WHERE instance = ? AND file_id = ?'
    const row = this.#db.get<{ account: string; bytes: number; price: string }>(sql, instance, fileId)
    return row && { account: row.account, bytes: row.bytes, price: BigInt(row.price) }
  }

  /** Gives credit back for paid bytes and lets it grow. Part of the caller's transaction. @returns what `withdraw` needs to undo it */
  restore(account: string, bytes: number): { readonly restored: number; readonly grown: number } {
    const a = this.#keep(this.#look(account, ''))
    const restored = Math.min(a.used, bytes + Math.floor(bytes / FORGIVEN))
    // doubles, but never beyond twice what was paid: tiny payments do not buy a large default
    const allowance = this.#limits.creditBytes + a.earned
    const grown = Math.max(0, Math.min(this.#limits.maxCreditBytes, 2 * allowance, allowance + 2 * bytes) - allowance)
    this.#change(a, a.used - restored, a.earned + grown)
    return { restored, grown }
  }

  /** Undoes `restore`: its payment left the chain. */
  withdraw(account: string, restored: number, grown: number): void {
    const a = this.#keep(this.#look(account, ''))
    this.#change(a, a.used + restored, a.earned - grown)
  }

  /** After a transaction that changed this account failed: what the database says is true again. */
  forget(account: string): void {
    this.#accounts.delete(account)
  }

  /** Writes the exact use, so that a clean stop costs customers nothing. */
  [Symbol.dispose](): void {
    this.#db.transaction(() => {
      for (const a of this.#accounts.values()) this.#change(a, a.used, a.earned)
    })
  }

  #reserve(
    who: Customer,
    a: Account,
    c: Charge,
    fileId: Uint8Array,
    price: bigint,
    bytes: number,
    address: string,
    creditBytes: number
  ): boolean {
    const left = this.left(who, creditBytes)
    if (bytes > left) return false
    const step = Math.max(bytes, stepOf(creditBytes + a.earned))
    const reserved = Math.max(a.reserved, a.used + Math.min(left, step))
    const charged = Math.max(c.reserved, c.used + step)
    this.#db.transaction(() => {
      this.#draw(address, drawn(reserved, a.earned) - drawn(a.reserved, a.earned))
      const lowest = c.price < price ? c.price : price
      this.#db.run(
        `INSERT INTO charges (instance, file_id, account, price, bytes) VALUES (?, ?, ?, ?, ?) ON CONFLICT (instance, file_id)
         DO UPDATE SET account = excluded.account, price = excluded.price, bytes = excluded.bytes`,
        ...[who.instance, fileId, a.key, lowest.toString(), charged]
      )
      this.#store({ ...a, reserved, address })
    })
    Object.assign(a, { reserved, address })
    Object.assign(c, { reserved: charged, price: c.price < price ? c.price : price })
    return true
  }

  /** Sets an account's exact use and earnings; what it reserved beyond goes back to the pools. */
  #change(a: Account, used: number, earned: number): void {
    this.#draw(a.address, drawn(used, earned) - drawn(a.reserved, a.earned))
    Object.assign(a, { used, reserved: used, earned })
    this.#store(a)
  }
  #store(a: Account): void {
    const sql = 'INSERT OR REPLACE INTO accounts (key, used, earned, address) VALUES (?, ?, ?, ?)'
    this.#db.run(sql, a.key, a.reserved, a.earned, a.address)
  }
  /** Moves an amount into (or back out of) what strangers have drawn at this address and today. */
  #draw(address: string, bytes: number): void {
    if (bytes === 0) return
    const now = this.#now()
    const upsert = 'ON CONFLICT DO UPDATE SET used = max(0, used + ?)'
    this.#db.run(
      `INSERT INTO addresses (address, used, time) VALUES (?, max(0, ?), ?) ${upsert}, time = ?`,
      address,
      bytes,
      now,
      bytes,
      now
    )
    this.#db.run(`INSERT INTO strangers (day, used) VALUES (?, max(0, ?)) ${upsert}`, Math.floor(now / DAY_MS), bytes, bytes)
    this.#db.run('DELETE FROM addresses WHERE time < ? OR used = 0', now - ADDRESS_MEMORY_MS)
    this.#db.run('DELETE FROM strangers WHERE day < ?', Math.floor(now / DAY_MS) - 1)
  }
  #poolLeft(address: string, creditBytes: number): number {
    const here = this.#db.get<{ used: number }>('SELECT used FROM addresses WHERE address = ?', address)?.used ?? 0
    const today = this.#db.get<{ used: number }>('SELECT used FROM strangers WHERE day = ?', Math.floor(this.#now() / DAY_MS))?.used ?? 0
    return Math.min(creditBytes - here, Math.max(this.#limits.dailyStrangerBytes, creditBytes) - today)
  }

  /** Leaves no trace: whoever only asks must not push out the exact use of a customer. */
  #look(key: string, address: string): Account {
    const known = this.#accounts.get(key)
    if (known) return known
    const sql = 'SELECT used, earned, address FROM accounts WHERE key = ?'
    const row = this.#db.get<{ used: number; earned: number; address: string }>(sql, key)
    return { key, used: row?.used ?? 0, reserved: row?.used ?? 0, earned: row?.earned ?? 0, address: row?.address ?? address }
  }
  /** The map's order is that of last use. */
  #keep(a: Account): Account {
    this.#accounts.delete(a.key)
    this.#accounts.set(a.key, a)
    if (this.#accounts.size > MAX_LIVE_ACCOUNTS) this.#accounts.delete(this.#accounts.keys().next().value!) // its row says `reserved`
    return a
  }
  #charge(instance: string, fileId: Uint8Array, price: bigint): Charge {
    const known = this.#charges.get(`${instance}|${bytesToHex(fileId)}`)
    if (known) return known
    const row = this.served(instance, fileId)
    return { used: row?.bytes ?? 0, reserved: row?.bytes ?? 0, price: row?.price ?? price }
  }
  #keepCharge(instance: string, fileId: Uint8Array, c: Charge): void {
    const key = `${instance}|${bytesToHex(fileId)}`
    this.#charges.delete(key)
    this.#charges.set(key, c)
    if (this.#charges.size > MAX_LIVE_ACCOUNTS) this.#charges.delete(this.#charges.keys().next().value!)
  }
}

/** What an account takes from the pools: its use beyond what it earned. */
const drawn = (used: number, earned: number): number => Math.max(0, used - earned)
