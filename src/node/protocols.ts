/** Which protocols a share is offered over: what the user says, else what fits how this node can be reached (spec 004). */
import { KithError } from '../base/errors.ts'
import { defaultSeedingProtocols } from '../transfer/seeding-policy.ts'

/** Every protocol a node speaks, in no order. */
export const PROTOCOLS: readonly string[] = ['http', 'https', 'bittorrent', 'webtorrent', 'ed2k', 'kith']
/** Those in which nobody says who is asking: they serve free files only. */
export const FREE_ONLY: ReadonlySet<string> = new Set(['ed2k', 'kith'])

export interface Circumstances {
  readonly reachability: 'public' | 'private' | 'unknown'
  readonly isPaid: boolean
}

/** @throws UNKNOWN_PROTOCOL, FREE_ONLY */
export function chooseProtocols(wanted: readonly string[] | undefined, { reachability, isPaid }: Circumstances): readonly string[] {
  if (!wanted || wanted.length === 0) {
    const fitting = defaultSeedingProtocols({ reachability, environment: 'node' })
    return isPaid ? fitting.filter(p => !FREE_ONLY.has(p)) : fitting
  }
  for (const name of wanted) checkProtocol(name)
  const unpaid = isPaid ? wanted.find(p => FREE_ONLY.has(p)) : undefined
  if (unpaid !== undefined)
    throw new KithError(
      'FREE_ONLY',
      `files with a price cannot be served over ${unpaid}`,
      {},
      { hint: 'use http, https, bittorrent or webtorrent' }
    )
  return [...new Set(wanted)]
}

/** @throws UNKNOWN_PROTOCOL */
export function checkProtocol(name: string): void {
  if (PROTOCOLS.includes(name)) return
  const shown = JSON.stringify(name.slice(0, 32))
  throw new KithError('UNKNOWN_PROTOCOL', `there is no protocol ${shown}`, {}, { hint: `choose from ${PROTOCOLS.join(', ')}` })
}
