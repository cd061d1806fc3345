/**
 * The walk towards an id (BEP 5): asks the closest known nodes for closer ones, four at a time, until the eight closest have answered.
 * Nodes whose id is not that of their address (BEP 42) may show the way but are not asked to keep anything (threats BT9). Pure.
 */
import { equalBytes } from '../../base/bytes.ts'
import type { Answer, Contact } from './krpc.ts'
import { BUCKET_NODES, LOOKUP_PARALLEL, MAX_LOOKUP_CANDIDATES, MAX_LOOKUP_QUERIES } from './limits.ts'
import { compareDistance, isIdOfAddress } from './node-id.ts'
import { addressKey } from './table.ts'

export interface WalkDeps {
  /** Asks one node; rejects when it does not answer. */
  ask(contact: Contact): Promise<{ readonly id: Uint8Array; readonly answer: Answer }>
  /** Whether an address that others name may be asked at all. */
  mayContact(contact: Contact): boolean
  /** Each answer as it comes. */
  onAnswer?(contact: Contact, answer: Answer): void
}

export interface Answered {
  readonly contact: Contact
  readonly answer: Answer
}

interface Candidate {
  readonly contact: Contact
  state: 'new' | 'asked' | 'failed' | Answer
}

/** @param start nodes that have answered us before @returns those of the closest nodes that answered and whose ids are their own, nearest first */
export async function walk(deps: WalkDeps, target: Uint8Array, start: Iterable<Contact>, signal: AbortSignal): Promise<Answered[]> {
  const candidates: Candidate[] = []
  const seen = new Set<string>()
  const add = (contact: Contact): void => {
    const key = addressKey(contact)
    if (seen.has(key)) return
    seen.add(key)
    const at = candidates.findIndex(c => compareDistance(target, contact.id, c.contact.id) < 0)
    candidates.splice(at === -1 ? candidates.length : at, 0, { contact, state: 'new' })
    if (candidates.length > MAX_LOOKUP_CANDIDATES) candidates.pop()
  }
  const visit = async (c: Candidate): Promise<void> => {
    try {
      const { id, answer } = await deps.ask(c.contact)
      if (!equalBytes(id, c.contact.id)) throw new Error('another node')
      c.state = answer
      deps.onAnswer?.(c.contact, answer)
      for (const node of answer.nodes) if (deps.mayContact(node)) add(node)
    } catch {
      c.state = 'failed'
    }
  }
  for (const contact of start) add(contact)
  const running = new Set<Promise<void>>()
  let asked = 0
  while (!signal.aborted) {
    for (let next = nextOf(candidates); next && running.size < LOOKUP_PARALLEL && asked < MAX_LOOKUP_QUERIES; next = nextOf(candidates)) {
      next.state = 'asked'
      asked++
      const task: Promise<void> = visit(next).finally(() => running.delete(task))
      running.add(task)
    }
    if (running.size === 0) break
    await Promise.race(running)
  }
  await Promise.all(running)
  return candidates
    .flatMap(({ contact, state }) =>
      typeof state === 'object' && isIdOfAddress(contact.id, contact.host) ? [{ contact, answer: state }] : []
    )
    .slice(0, BUCKET_NODES)
}

/** The nearest that was not asked, as long as it is among the eight nearest that have not failed. */
function nextOf(candidates: readonly Candidate[]): Candidate | undefined {
  let alive = 0
  for (const c of candidates) {
    if (c.state === 'failed') continue
    if (++alive > BUCKET_NODES) return undefined
    if (c.state === 'new') return c
  }
  return undefined
}
