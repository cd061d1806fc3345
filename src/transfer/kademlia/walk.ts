/**
 * The walk towards an id (Kademlia §2.3): asks the closest known nodes for closer ones, several at a time, until the closest of all have
 * answered. Pure.
 */
import { compareDistance } from './distance.ts'

export interface WalkRules<C extends { readonly id: Uint8Array }, A extends object> {
  /** How many of the closest must have answered. */
  readonly width: number
  readonly parallel: number
  /** Nodes that are remembered; the closest stay. */
  readonly maxCandidates: number
  readonly maxQuestions: number
  /** What a node is known by: one that shares any of it with another is not asked too. */
  keysOf(contact: C): readonly string[]
  /** Asks one node; rejects when it does not answer. */
  ask(contact: C): Promise<A>
  /** The nodes that an answer names. */
  namedIn(answer: A): Iterable<C>
  /** Whether a node that others name may be asked at all. */
  mayContact(contact: C): boolean
}

export interface Answered<C, A> {
  readonly contact: C
  readonly answer: A
}

interface Candidate<C, A> {
  readonly contact: C
  state: 'new' | 'asked' | 'failed' | A
}

/** @param start nodes that have answered us before @returns all that answered now, nearest first */
export async function walk<C extends { readonly id: Uint8Array }, A extends object>(
  rules: WalkRules<C, A>,
  target: Uint8Array,
  start: Iterable<C>,
  signal: AbortSignal
): Promise<Answered<C, A>[]> {
  const candidates: Candidate<C, A>[] = []
  const seen = new Set<string>()
  const add = (contact: C): void => {
    const keys = rules.keysOf(contact)
    if (keys.some(key => seen.has(key))) return
    for (const key of keys) seen.add(key)
    const at = candidates.findIndex(c => compareDistance(target, contact.id, c.contact.id) < 0)
    candidates.splice(at === -1 ? candidates.length : at, 0, { contact, state: 'new' })
    if (candidates.length > rules.maxCandidates) candidates.pop()
  }
  const visit = async (c: Candidate<C, A>): Promise<void> => {
    try {
      const answer = await rules.ask(c.contact)
      c.state = answer
      for (const node of rules.namedIn(answer)) if (rules.mayContact(node)) add(node)
    } catch {
      c.state = 'failed'
    }
  }
  for (const contact of start) add(contact)
  const running = new Set<Promise<void>>()
  const next = (): Candidate<C, A> | undefined => nextOf(candidates, rules.width)
  let asked = 0
  while (!signal.aborted) {
    for (let c = next(); c && running.size < rules.parallel && asked < rules.maxQuestions; c = next()) {
      c.state = 'asked'
      asked++
      const task: Promise<void> = visit(c).finally(() => running.delete(task))
      running.add(task)
    }
    if (running.size === 0) break
    await Promise.race(running)
  }
  await Promise.all(running)
  return candidates.flatMap(({ contact, state }) => (typeof state === 'object' ? [{ contact, answer: state }] : []))
}

/** The nearest that was not asked, as long as it is among the `width` nearest that have not failed. */
function nextOf<C, A>(candidates: readonly Candidate<C, A>[], width: number): Candidate<C, A> | undefined {
  let alive = 0
  for (const c of candidates) {
    if (c.state === 'failed') continue
    if (++alive > width) return undefined
    if (c.state === 'new') return c
  }
  return undefined
}
