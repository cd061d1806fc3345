/**
 * The walk towards an id (BEP 5): four nodes at a time, until the eight closest have answered. Nodes whose id is not that of their address
 * (BEP 42) may show the way but are not asked to keep anything (threats BT9). Pure.
 */
import { equalBytes } from '../../base/bytes.ts'
import { type Answered as AnsweredBy, walk as walkTowards } from '../kademlia/walk.ts'
import type { Answer, Contact } from './krpc.ts'
import { BUCKET_NODES, LOOKUP_PARALLEL, MAX_LOOKUP_CANDIDATES, MAX_LOOKUP_QUERIES } from './limits.ts'
import { isIdOfAddress } from './node-id.ts'
import { addressKey } from './table.ts'

export interface WalkDeps {
  /** Asks one node; rejects when it does not answer. */
  ask(contact: Contact): Promise<{ readonly id: Uint8Array; readonly answer: Answer }>
  /** Whether an address that others name may be asked at all. */
  mayContact(contact: Contact): boolean
  /** Each answer as it comes. */
  onAnswer?(contact: Contact, answer: Answer): void
}

export type Answered = AnsweredBy<Contact, Answer>

/** @param start nodes that have answered us before @returns those of the closest nodes that answered and whose ids are their own, nearest first */
export async function walk(deps: WalkDeps, target: Uint8Array, start: Iterable<Contact>, signal: AbortSignal): Promise<Answered[]> {
  const answered = await walkTowards<Contact, Answer>(
    {
      width: BUCKET_NODES,
      parallel: LOOKUP_PARALLEL,
      maxCandidates: MAX_LOOKUP_CANDIDATES,
      maxQuestions: MAX_LOOKUP_QUERIES,
      keysOf: contact => [addressKey(contact)],
      ask: async contact => {
        const { id, answer } = await deps.ask(contact)
        if (!equalBytes(id, contact.id)) throw new Error('another node')
        deps.onAnswer?.(contact, answer)
        return answer
      },
      namedIn: answer => answer.nodes,
      mayContact: contact => deps.mayContact(contact)
    },
    target,
    start,
    signal
  )
  return answered.filter(({ contact }) => isIdOfAddress(contact.id, contact.host)).slice(0, BUCKET_NODES)
}
