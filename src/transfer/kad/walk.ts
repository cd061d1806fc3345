/**
 * The walk towards an id: asks the closest known nodes for closer ones, three at a time, until the ten closest have answered. Pure.
 */
import { equalBytes } from '../../base/bytes.ts'
import { addressKey } from '../mainline/table.ts'
import { compareDistance } from './kad-id.ts'
import { BUCKET_NODES, MAX_WALK_CANDIDATES, MAX_WALK_QUESTIONS, WALK_PARALLEL } from './limits.ts'
import type { Contact } from './messages.ts'

export interface WalkDeps {
  /** Asks one node for nodes closer to the target; rejects when it does not answer. */
  ask(contact: Contact): Promise<readonly Contact[]>
  /** Whether a node that others name may be asked at all. */
  mayContact(contact: Contact): boolean
}

interface Candidate {
  readonly contact: Contact
  state: 'new' | 'asked' | 'failed' | 'answered'
}

/** @param start nodes that have answered us before @returns those of the closest nodes that answered, nearest first */
export async function walk(deps: WalkDeps, target: Uint8Array, start: Iterable<Contact>, signal: AbortSignal): Promise<Contact[]> {
  const candidates: Candidate[] = []
  const seen = new Set<string>()
  const add = (contact: Contact): void => {
    const key = addressKey(contact)
    if (seen.has(key) || candidates.some(c => equalBytes(c.contact.id, contact.id))) return
    seen.add(key)
    const at = candidates.findIndex(c => compareDistance(target, contact.id, c.contact.id) < 0)
    candidates.splice(at === -1 ? candidates.length : at, 0, { contact, state: 'new' })
    if (candidates.length > MAX_WALK_CANDIDATES) candidates.pop()
  }
  const visit = async (c: Candidate): Promise<void> => {
    try {
      const named = await deps.ask(c.contact)
      c.state = 'answered'
      for (const contact of named) if (deps.mayContact(contact)) add(contact)
    } catch {
      c.state = 'failed'
    }
  }
  for (const contact of start) add(contact)
  const running = new Set<Promise<void>>()
  let asked = 0
  while (!signal.aborted) {
    for (let next = nextOf(candidates); next && running.size < WALK_PARALLEL && asked < MAX_WALK_QUESTIONS; next = nextOf(candidates)) {
      next.state = 'asked'
      asked++
      const task: Promise<void> = visit(next).finally(() => running.delete(task))
      running.add(task)
    }
    if (running.size === 0) break
    await Promise.race(running)
  }
  await Promise.all(running)
  return candidates.flatMap(c => (c.state === 'answered' ? [c.contact] : [])).slice(0, BUCKET_NODES)
}

/** The nearest that was not asked, as long as it is among the ten nearest that have not failed. */
function nextOf(candidates: readonly Candidate[]): Candidate | undefined {
  let alive = 0
  for (const c of candidates) {
    if (c.state === 'failed') continue
    if (++alive > BUCKET_NODES) return undefined
    if (c.state === 'new') return c
  }
  return undefined
}
