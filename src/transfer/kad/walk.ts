/** The walk towards an id: three nodes at a time, until the ten closest have answered. Pure. */
import { bytesToHex } from '../../base/bytes.ts'
import { walk as walkTowards } from '../kademlia/walk.ts'
import { addressKey } from '../mainline/table.ts'
import { BUCKET_NODES, MAX_WALK_CANDIDATES, MAX_WALK_QUESTIONS, WALK_PARALLEL } from './limits.ts'
import type { Contact } from './messages.ts'

export interface WalkDeps {
  /** Asks one node for nodes closer to the target; rejects when it does not answer. */
  ask(contact: Contact): Promise<readonly Contact[]>
  /** Whether a node that others name may be asked at all. */
  mayContact(contact: Contact): boolean
}

/** @param start nodes that have answered us before @returns those of the closest nodes that answered, nearest first */
export async function walk(deps: WalkDeps, target: Uint8Array, start: Iterable<Contact>, signal: AbortSignal): Promise<Contact[]> {
  const answered = await walkTowards<Contact, readonly Contact[]>(
    {
      width: BUCKET_NODES,
      parallel: WALK_PARALLEL,
      maxCandidates: MAX_WALK_CANDIDATES,
      maxQuestions: MAX_WALK_QUESTIONS,
      keysOf: contact => [addressKey(contact), bytesToHex(contact.id)],
      ask: contact => deps.ask(contact),
      namedIn: contacts => contacts,
      mayContact: contact => deps.mayContact(contact)
    },
    target,
    start,
    signal
  )
  return answered.map(({ contact }) => contact).slice(0, BUCKET_NODES)
}
