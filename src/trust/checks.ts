/** What may be an id, a name and a grant. */
import { utf8 } from '../base/bytes.ts'
import { KithError } from '../base/errors.ts'
import { MAX_ALIAS_CHARS, MAX_GRANT_LIMITS_BYTES, MAX_GRANT_WHAT_CHARS } from './limits.ts'

/** multicodec 0xed01 and 32 bytes in base58btc are always these 48 characters. */
const DID = /^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/

/** @throws BAD_ENTITY */
export function checkEntity(id: string): void {
  if (!DID.test(id)) throw new KithError('BAD_ENTITY', 'not an id of a peer: did:key of an Ed25519 key is expected')
}

/** The name in its one spelling (NFC, no space around it). Nothing that hides, breaks a line, or could be taken for an id. @throws BAD_ALIAS */
export function checkAlias(text: string): string {
  const name = text.normalize('NFC').trim()
  const isName =
    name.length > 0 && name.length <= MAX_ALIAS_CHARS && name.isWellFormed() && !/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u.test(name)
  if (!isName || /^(?:did:|12D3|Qm|\*|@)/.test(name)) {
    throw new KithError('BAD_ALIAS', `a name has 1 to ${MAX_ALIAS_CHARS} visible characters and does not look like an id`)
  }
  return name
}

/** What two names must differ in: `Bob` and `bob` are one. */
export const aliasKey = (name: string): string => name.normalize('NFKC').toLowerCase()

/** @throws BAD_GRANT */
export function checkGrant(what: string, limits: Readonly<Record<string, number>>): void {
  const known = /^(?:relay|mailbox|stats|task:[^\s\p{Cc}\p{Cf}\p{Cs}]+)$/u.test(what) && what.length <= MAX_GRANT_WHAT_CHARS
  if (!known) throw new KithError('BAD_GRANT', 'what can be granted: task:<skill>, task:*, relay, mailbox, stats')
  const numbers = Object.values(limits).every(n => Number.isFinite(n) && n >= 0)
  if (!numbers || utf8(JSON.stringify(limits)).length > MAX_GRANT_LIMITS_BYTES) {
    throw new KithError('BAD_GRANT', 'limits of a grant are a few numbers, none of them negative')
  }
}
